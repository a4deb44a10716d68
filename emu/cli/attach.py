"""Finding the running cluster that a verb means, and asking it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from emu import state
from emu.cli import output
from emu.control.client import ControlClient, ControlError
from protocols.errors import RpcError

COMPLETION_S: Final = 1.0
CHOICES: Final = ("all", "one", "two", "half", "minority", "majority")


def complete_cluster(incomplete: str) -> list[str]:
    """For the shell: the clusters that run."""
    return [each["name"] for each in state.running() if each["name"].startswith(incomplete)]


def one_of_these(*words: str) -> Callable[[str], list[str]]:
    """For the shell: an option that takes one of a few words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word and word.startswith(incomplete)]

    return complete


def complete_fault(incomplete: str) -> list[str]:
    """For the shell: the numbers of the faults that are active."""
    numbers = [str(each["number"]) for each in _asked("active")]
    return [word for word in (*numbers, "all") if word.startswith(incomplete)]


def _asked(method: str) -> Any:
    """What the one cluster that runs answers; nothing if it does not at once."""
    wanted = os.environ.get("EMU_CLUSTER", "")
    running = [each for each in state.running() if wanted in ("", each["name"])]
    if len(running) != 1:
        return []
    try:
        with ControlClient(
            Path(running[0]["folder"]) / state.SOCKET, timeout_s=COMPLETION_S
        ) as client:
            return client.call(method)
    except (ControlError, RpcError):
        return []


def complete_target(incomplete: str) -> list[str]:
    """For the shell: the nodes, tiers, regions and roles of the cluster that runs, and the words
    that choose among them."""
    rows = _asked("ps")
    words = dict.fromkeys(row[key] for key in ("tier", "region", "role", "name") for row in rows)
    found = [word for word in (*words, *CHOICES) if word.startswith(incomplete)]
    return [word for word in found if word]


ClusterOption = Annotated[
    str,
    typer.Option(
        "--cluster",
        "-c",
        help="Which running cluster, by name or pid (needed when several run).",
        envvar="EMU_CLUSTER",
        autocompletion=complete_cluster,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@contextmanager
def attached(cluster: str = "", *, timeout_s: float | None = 60.0) -> Iterator[ControlClient]:
    """A control connection to the cluster of that name, or to the only one that runs.

    Refusals and lost connections end the command with a clear message and exit code 1.
    """
    try:
        with ControlClient(_socket_of(cluster), timeout_s=timeout_s) as client:
            yield client
    except ControlError as error:
        output.fail(str(error))
    except RpcError as error:
        output.fail(error.message or error.code)


def ask(cluster: str, method: str, *params: Any, timeout_s: float | None = 60.0) -> Any:
    """One question to a running cluster."""
    with attached(cluster, timeout_s=timeout_s) as client:
        return client.call(method, *params)


def meant(cluster: str = "") -> list[dict[str, Any]]:
    """The facts of the running clusters of that name or pid, or of all."""
    running = state.running()
    return [each for each in running if cluster in ("", each["name"], str(each["pid"]))]


def chosen(cluster: str = "") -> dict[str, Any]:
    """The facts of the running cluster of that name or pid, or of the only one there is."""
    running = meant(cluster)
    if cluster and not running:
        if state.is_locked(state.root() / cluster):
            output.fail(f"`{cluster}` is just starting or ending; try again in a moment")
        output.fail(f"no cluster called `{cluster}` is running; `emu up FILE` starts one")
    if not running:
        output.fail("no cluster is running; start one with `emu up`")
    if len(running) > 1:
        names = ", ".join(f"{each['name']} (pid {each['pid']})" for each in running)
        output.fail(f"several clusters are running: {names}; say which: --cluster NAME, or its pid")
    return running[0]


def _socket_of(cluster: str) -> Path:
    return Path(chosen(cluster)["folder"]) / state.SOCKET
