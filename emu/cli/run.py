"""The verbs that begin and end a run: up, down, config, clusters. The
run itself is emu/session.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import trio
import typer

from emu import state
from emu.cli import output
from emu.cli.attach import ClusterOption, JsonOption, ask
from emu.cli.screen import print_summary, print_welcome
from emu.live.addresses import SlotError
from emu.observe.events import as_text, json_printer
from emu.session import Session, SessionOptions
from emu.topology import units
from emu.topology.jsonschema import json_schema
from emu.topology.lint import lint
from emu.topology.loading import load
from emu.topology.model import Topology
from emu.topology.problems import TopologyError

FULL = "full.yaml"
LEVELS_HELP = "debug, info, warning or error."
DETACH_WAIT_S = 60.0

File = Annotated[str, typer.Argument(metavar="[FILE]", help="A topology file; none: the full one.")]
ForText = Annotated[str, typer.Option("--for", help="End by itself after this long (10s, 2m).")]


def up(
    file: File = "",
    for_text: ForText = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin with empty disks.")] = False,
    name: Annotated[str, typer.Option("--name", help="Another name than the file's.")] = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Not the file's seed.")] = None,
    log_level: Annotated[str, typer.Option("--log-level", help=LEVELS_HELP)] = "info",
    log_format: Annotated[str, typer.Option("--log-format", help="text or json.")] = "text",
    no_aliases: Annotated[bool, typer.Option("--no-aliases", hidden=True)] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring up the website of a topology file, and keep it until Ctrl-C."""
    topology = _read(file or default_file())
    topology = _renamed(topology, name, seed)
    for_s = _seconds(for_text)
    if for_s is None and _is_running(topology.name):
        _change(topology, as_json)
        return
    for warning in lint(topology):
        output.note(f"warning: {warning}", style="yellow")
    if detach:
        _detach(topology)
        return
    try:
        folder = state.claim(topology.name, temporary=for_s is not None, fresh=fresh)
    except state.StateError as error:
        output.fail(str(error))
    json_events = log_format == "json"
    printer = json_printer() if json_events else lambda event: output.note(as_text(event))
    options = SessionOptions(for_s, log_level, printer, aliases=not no_aliases)
    session = Session(topology, folder, options)
    interrupted = False
    began_s = time.monotonic()
    try:
        interrupted = trio.run(_until_signal, session, began_s, as_json)
    except* SlotError as group:
        output.fail(str(group.exceptions[0]))
    finally:
        if session.wipe_at_end:
            folder.wipe()
        folder.release()
    _finish(session, interrupted, as_json)


async def _until_signal(session: Session, began_s: float, as_json: bool) -> bool:
    """Run the session; SIGINT, SIGTERM and SIGHUP end it. Returns whether one came."""
    interrupted = False

    async def watch(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        nonlocal interrupted
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                if interrupted:
                    os._exit(output.INTERRUPTED)  # asked twice: at once
                interrupted = True
                session.end()
                if session.summary is None and not hasattr(session, "observe"):
                    nursery.cancel_scope.cancel()

    async def welcome(ready: Session) -> None:
        if not as_json:
            print_welcome(ready, time.monotonic() - began_s)

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        with trio.CancelScope() as scope:
            nursery.start_soon(_limit_the_end, session, scope)
            await session.run(welcome)
        nursery.cancel_scope.cancel()
    return interrupted


async def _limit_the_end(session: Session, scope: trio.CancelScope) -> None:
    """After an interrupt the end takes at most a second and a half."""
    await session.ending.wait()
    if session.options.for_s is None:
        await trio.sleep(1.0)
        scope.cancel()


def _finish(session: Session, interrupted: bool, as_json: bool) -> None:
    summary = session.summary
    if summary is not None:
        if as_json:
            output.result(summary)
        else:
            print_summary(summary)
    if interrupted:
        raise typer.Exit(output.INTERRUPTED)
    if summary is not None and summary["verdict"] == "failed":
        raise typer.Exit(output.VERDICT_FAILED)


def _read(file: str) -> Topology:
    try:
        return load(file)
    except TopologyError as error:
        for problem in error.problems:
            output.note(str(problem), style="red")
        count = len(error.problems)
        output.fail(
            f"{count} {'mistakes' if count > 1 else 'mistake'} in {file}", output.INVALID_TOPOLOGY
        )
    except OSError as error:
        output.fail(f"cannot read {file}: {error.strerror}", output.USAGE)


def default_file() -> str:
    """The full topology, from beside the package."""
    folder = Path(__file__).resolve().parents[2] / "topologies"
    found = folder / FULL
    return str(found if found.exists() else sorted(folder.glob("*.yaml"))[-1])


def _renamed(topology: Topology, name: str, seed: int | None) -> Topology:
    if name:
        topology = replace(topology, name=name)
    return topology if seed is None else replace(topology, seed=seed)


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        return units.parse_value("for_s", text)
    except ValueError as error:
        output.fail(f"--for: {error}", output.USAGE)


def _is_running(name: str) -> bool:
    return state.is_locked(state.root() / name)


def _change(topology: Topology, as_json: bool) -> None:
    """`up` again while it runs: show what the changed file asks for, and do it."""
    path = str(Path(topology.path).resolve())
    plan = ask(topology.name, "plan", path)
    for line in plan:
        output.note(line)
    if plan == ["no change"]:
        output.note(f"`{topology.name}` is running as the file says")
        return
    done = ask(topology.name, "apply", path, timeout_s=None)
    if as_json:
        output.result(done)
    else:
        output.note("done")


def _detach(topology: Topology) -> None:
    """Start the same command in the background, and wait until it is ready."""
    arguments = [each for each in sys.argv[1:] if each not in ("-d", "--detach")]
    log_path = state.root() / f"{topology.name}.log"
    log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(log_path, "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "emu", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline_s = time.monotonic() + DETACH_WAIT_S
    ready = state.root() / topology.name / "run.json"
    while time.monotonic() < deadline_s:
        if child.poll() is not None:
            output.err.print(log_path.read_text(), markup=False)
            raise typer.Exit(child.returncode or output.FAILURE)
        if ready.exists() and json.loads(ready.read_text()).get("pid") == child.pid:
            output.note(f"`{topology.name}` is up in the background (pid {child.pid})")
            output.note(f"its log: {log_path}; end it with: emu down")
            return
        time.sleep(0.05)
    output.fail(f"not ready after {DETACH_WAIT_S:g} s; see {log_path}")


def down(
    cluster: ClusterOption = "",
    volumes: Annotated[bool, typer.Option("--volumes", help="Also forget the disks.")] = False,
) -> None:
    """End a running cluster (its disks stay, unless --volumes)."""
    running = state.running()
    if volumes and cluster and not any(each["name"] == cluster for each in running):
        try:
            existed = state.wipe(cluster)
        except state.StateError as error:
            output.fail(str(error))
        output.note(f"`{cluster}`: disks wiped" if existed else f"`{cluster}` has left nothing")
        return
    ask(cluster, "down", volumes)
    for each in running:
        if cluster in ("", each["name"]):
            _wait_gone(Path(each["folder"]))
            output.note(f"`{each['name']}` is down{', its disks wiped' if volumes else ''}")


def _wait_gone(folder: Path) -> None:
    deadline_s = time.monotonic() + 10
    while state.is_locked(folder) and time.monotonic() < deadline_s:
        time.sleep(0.02)


def config(
    file: File = "",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a topology file: every mistake at once, warnings, and what it comes to."""
    if schema:
        output.result(json_schema())
        return
    topology = _read(file or default_file())
    found = [str(each) for each in lint(topology)]
    nodes = [
        {"name": each.spec.name, "kind": each.spec.kind, "region": each.spec.region}
        for each in topology.placements()
    ]
    if as_json:
        output.result({"name": topology.name, "nodes": nodes, "warnings": found})
        return
    rows: list[list[Any]] = [
        [
            tier.name,
            tier.word,
            len(tier.members),
            ", ".join(dict.fromkeys(tier.members)),
            tier.public,
        ]
        for tier in topology.tiers
    ]
    output.table(["tier", "kind", "nodes", "regions", "public"], rows, {})
    for warning in found:
        output.note(f"warning: {warning}", style="yellow")


def clusters(as_json: JsonOption = False) -> None:
    """List the clusters that run on this computer."""
    found = state.running()
    if as_json:
        output.result(found)
        return
    rows = [
        [each["name"], each["nodes"], each["pid"], each["observe"], each["file"]] for each in found
    ]
    output.table(["name", "nodes", "pid", "observe", "file"], rows, {})


def summary(cluster: ClusterOption = "", as_json: JsonOption = False) -> None:
    """The run so far: requests, errors, latency, faults, expectations."""
    found = ask(cluster, "summary")
    if as_json:
        output.result(found)
    else:
        print_summary(found)
