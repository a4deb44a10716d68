"""Finding the running cluster that a verb means, and asking it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from emu import state
from emu.cli import output
from emu.control.client import ControlClient, ControlError
from protocols.errors import RpcError

ClusterOption = Annotated[
    str,
    typer.Option("--cluster", "-c", help="Which running cluster (needed when several run).",
    envvar="EMU_CLUSTER"),
]  # fmt: skip
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


def _socket_of(cluster: str) -> Path:
    running = state.running()
    if cluster:
        running = [each for each in running if each.get("name") == cluster]
        if not running:
            output.fail(f"no cluster called `{cluster}` is running; `emu up FILE` starts one")
    if not running:
        output.fail("no cluster is running; start one with `emu up`")
    if len(running) > 1:
        names = ", ".join(each["name"] for each in running)
        output.fail(f"several clusters are running ({names}): say which with --cluster NAME")
    return Path(running[0]["folder"]) / "control.sock"
