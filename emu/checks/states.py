"""Checks of states rather than histories: plain data that somebody has collected from the nodes.

What holds at any setting: replicas are equal once they have caught up, a slot has one owner at a
time, and logs agree as far as both go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from emu.checks.result import Anomaly, show
from emu.checks.values import freeze

MAX_SHOWN: Final = 5


class Claim(NamedTuple):
    """Somebody acted as the owner of a slot (or as the primary of a group) in an epoch."""

    slot: Any
    epoch: int
    owner: str


def check_replicas(states: Mapping[str, Mapping[Any, Any]]) -> Iterator[Anomaly]:
    """Each replica's whole state by its name: all must be equal. Call it after healing."""
    names = list(states)
    for name in names[1:]:
        first, other = states[names[0]], states[name]
        keys = dict.fromkeys([*first, *other])
        unlike = [key for key in keys if _field(first, key) != _field(other, key)]
        if unlike:
            shown = "; ".join(
                f"{show(key)} is {_shown(first, key)} at {names[0]} and {_shown(other, key)} "
                f"at {name}"
                for key in unlike[:MAX_SHOWN]
            )
            more = f" (and {len(unlike) - MAX_SHOWN} more)" if len(unlike) > MAX_SHOWN else ""
            yield Anomaly("replicas", None, f"{names[0]} and {name} differ: {shown}{more}")


def check_owners(claims: Iterable[Claim]) -> Iterator[Anomaly]:
    """In one epoch a slot belongs to one owner, and an owner in a later epoch may be another."""
    owners: dict[tuple[Any, int], str] = {}
    for claim in claims:
        owner = owners.setdefault((freeze(claim.slot), claim.epoch), claim.owner)
        if owner != claim.owner:
            text = f"both {owner} and {claim.owner} owned it in epoch {claim.epoch}"
            yield Anomaly("owners", claim.slot, text)


def check_logs(
    logs: Mapping[str, Sequence[Any]], *, committed: Mapping[str, int] | None = None
) -> Iterator[Anomaly]:
    """Logs agree as far as both are committed (default: as far as both go).

    `logs`: name → records from the first on; `committed`: name → how many of them count.
    """
    limits = committed or {}
    names = list(logs)
    longest = max(names, key=lambda name: limits.get(name, len(logs[name])), default="")
    for name in names:
        both = min(limits.get(each, len(logs[each])) for each in (name, longest))
        pairs = zip(logs[longest][:both], logs[name][:both], strict=False)
        place = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
        if place is not None:
            text = (
                f"{longest} and {name} differ at record {place}: "
                f"{show(logs[longest][place])} and {show(logs[name][place])}"
            )
            yield Anomaly("logs", None, text)


def _field(state: Mapping[Any, Any], key: Any) -> tuple[bool, Any]:
    return key in state, state.get(key)


def _shown(state: Mapping[Any, Any], key: Any) -> str:
    return show(state[key]) if key in state else "absent"
