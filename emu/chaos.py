"""Actions and probes for the Chaos Toolkit (`chaos run`), over the control socket of a running emu.

Every verb (emu/model/vocabulary.py) is an action of the same name with the same fields; the probes
below say how the cluster is. Nothing of the toolkit is needed: `pip install emu[chaos]` brings it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

from emu import state
from emu.control.client import ControlClient
from emu.model.faults import Fault
from emu.model.vocabulary import verbs
from emu.observe.facts import leads

EVERYONE: Final = "all"


class ClusterNotFound(Exception):
    """No running cluster is meant; the message says which there are."""


def ask(cluster: str, method: str, *params: Any) -> Any:
    """One call of the control API. Raises ClusterNotFound, ControlError or RpcError."""
    running = [each for each in state.running() if cluster in ("", each["name"])]
    if len(running) != 1:
        names = ", ".join(each["name"] for each in state.running()) or "none"
        raise ClusterNotFound(f"name one running cluster with `cluster`; there are: {names}")
    with ControlClient(Path(running[0]["folder"]) / state.SOCKET) as client:
        return client.call(method, *params)


# --- probes ----------------------------------------------------------------------------------


def node_states(target: str = EVERYONE, cluster: str = "") -> dict[str, str]:
    """Name → state (up, killed, paused ...) of the nodes that `target` means."""
    return {row["name"]: row["state"] for row in ask(cluster, "ps", target)}


def all_up(target: str = EVERYONE, cluster: str = "") -> bool:
    """Whether each of them is up."""
    return all(each == "up" for each in node_states(target, cluster).values())


def primaries(tier: str, cluster: str = "") -> list[str]:
    """The members of a tier that say they are primary: one, when all is well."""
    rows, kinds = ask(cluster, "ps", tier), ask(cluster, "kinds")
    return [row["name"] for row in rows if leads(kinds, row) and row["state"] == "up"]


def has_one_primary(tier: str, cluster: str = "") -> bool:
    """Whether a tier has exactly one primary."""
    return len(primaries(tier, cluster)) == 1


def error_ratio(tier: str = "", cluster: str = "") -> float:
    """The share of requests that failed in the last seconds; of the users', if no tier is named."""
    tiers = [each for each in ask(cluster, "status")["tiers"] if _is_meant(each, tier)]
    rate = sum(each["rate_per_s"] for each in tiers)
    return float(sum(each["errors_per_s"] for each in tiers) / rate) if rate else 0.0


def request_rate(tier: str = "", cluster: str = "") -> float:
    """Requests per second in the last seconds; of the users, if no tier is named."""
    tiers = [each for each in ask(cluster, "status")["tiers"] if _is_meant(each, tier)]
    return float(sum(each["rate_per_s"] for each in tiers))


def latency_p99_s(tier: str = "", cluster: str = "") -> float:
    """The slowest percent's latency in the last seconds: of the slowest tier that is meant."""
    tiers = [each for each in ask(cluster, "status")["tiers"] if _is_meant(each, tier)]
    return max((float(each["p99_s"]) for each in tiers if each["p99_s"] is not None), default=0.0)


def expectations_hold(cluster: str = "") -> bool:
    """Whether no line of the topology's `expect:` has failed so far."""
    judged = ask(cluster, "summary")["expectations"]
    return all(each["held"] is not False for each in judged)


def _is_meant(tier: dict[str, Any], name: str) -> bool:
    return bool(tier["name"] == name if name else tier["clients"])


# --- actions: one for each verb --------------------------------------------------------------


def _action(kind: type[Fault]) -> Callable[..., Any]:
    own = fields(kind)  # type: ignore[arg-type]

    def act(for_s: float | None = None, cluster: str = "", **values: Any) -> Any:
        return ask(cluster, "inject", {"verb": kind.verb, **values}, for_s)

    def parameter(name: str, default: Any) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)

    required = inspect.Parameter.empty
    act.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            *(parameter(each.name, required if each.default is MISSING else each.default)
              for each in own),
            parameter("for_s", None),
            parameter("cluster", ""),
        ]
    )  # fmt: skip
    act.__name__ = act.__qualname__ = kind.verb
    act.__doc__ = f"{inspect.getdoc(kind)}\n\n`for_s`: undo it after so long."
    return act


globals().update({verb: _action(kind) for verb, kind in verbs().items()})
