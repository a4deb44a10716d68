"""The verbs about whole clusters on this computer: down, clusters, summary."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from emu import state
from emu.cli import output
from emu.cli.attach import ClusterOption, JsonOption, ask, attached, chosen, meant
from emu.control.client import ControlClient, ControlError

DOWN_TIMEOUT_S: Final = 15.0
QUIET_S: Final = 2.0
"""What the end waits for is told so often, if it is something else."""


def down(
    cluster: ClusterOption = "",
    volumes: Annotated[bool, typer.Option("--volumes", help="Also forget the disks.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait for what clients read back.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Every cluster that runs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """End a running cluster, and say what the run came to (its disks stay, unless --volumes).

    Faults are healed, clients stop and read back what they wrote, and that is judged.
    """
    if every:
        if cluster:
            output.fail("--all ends every cluster: leave --cluster out", output.USAGE)
        running = meant()
        for each in running:
            _end(each, volumes=volumes, now=now, as_json=as_json)
        if not running:
            output.note("no cluster is running")
        return
    if volumes and (cluster or not state.running()) and _wipe_stopped(cluster):
        return
    _end(chosen(cluster), volumes=volumes, now=now, as_json=as_json)


def _end(facts: Mapping[str, Any], *, volumes: bool, now: bool, as_json: bool) -> None:
    """End one, and say what its run came to."""
    from emu.cli.screen import summary_screen

    name = facts["name"]
    how = "at once" if now else "clients read back what they wrote (--now: do not wait)"
    output.note(f"ending `{name}`: {how}")
    with attached(str(facts["pid"]), timeout_s=None) as client:
        summary = _told_meanwhile(client, client.begin("down", volumes, now))
    give_up_s = time.monotonic() + DOWN_TIMEOUT_S
    while state.is_locked(Path(facts["folder"])):
        if time.monotonic() > give_up_s:
            output.fail(f"`{name}` (pid {facts['pid']}) has not ended after {DOWN_TIMEOUT_S:g} s")
        time.sleep(0.02)
    if as_json:
        output.result(summary)
    else:
        output.err.print(summary_screen(summary))
    output.note(f"`{name}` is down" + (", its disks wiped" if volumes else ""))


def _told_meanwhile(client: ControlClient, msgid: int) -> Any:
    """The answer to `down`; until it comes, what that waits for. Raises RpcError, ControlError."""
    told = ""
    while True:
        try:
            return client.wait(msgid, QUIET_S)
        except TimeoutError:
            try:
                waits = client.call("waits_for")
            except ControlError:
                continue  # it has ended: perhaps with the answer
            if waits != told:
                told = waits
                output.note(f"  waiting for {told}")


def _wipe_stopped(cluster: str) -> bool:
    """Wipe what a stopped cluster left; False if it runs."""
    if cluster and meant(cluster):
        return False
    left = state.stopped()
    if not cluster:
        names = ", ".join(left) or "none"
        output.fail(f"no cluster is running; with disks kept: {names} (say which: -c NAME)")
    try:
        existed = cluster in left and state.wipe(cluster)
    except state.StateError as error:
        output.fail(str(error))
    if not existed:
        output.fail(f"no cluster called `{cluster}` is running or has left disks")
    output.note(f"`{cluster}`: disks wiped")
    return True


def clusters(as_json: JsonOption = False) -> None:
    """List the clusters of this computer: those that run, and those that left their disks."""
    found = [{**each, "state": "running"} for each in state.running()]
    found += [{"name": name, "state": "stopped"} for name in state.stopped()]
    if as_json:
        output.result(found)
        return
    if not found:
        output.note("no cluster is running; start one with `emu up`")
        return
    columns = ["name", "state", "nodes", "pid", "observe", "file"]
    output.table(
        columns,
        [[each.get(column) for column in columns] for each in found],
        {},
        droppable=("observe", "pid"),
    )


def summary(cluster: ClusterOption = "", as_json: JsonOption = False) -> None:
    """The run so far: requests, errors, latency, faults, expectations."""
    from emu.cli.screen import summary_screen

    found = ask(cluster, "summary")
    if as_json:
        output.result(found)
    else:
        output.out.print(summary_screen(found))
