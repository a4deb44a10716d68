"""`emu up`: begin a run, change one that runs, or begin one in the background."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from emu import state
from emu.children import PYTHON
from emu.cli import output
from emu.cli.attach import JsonOption, ask, one_of_these
from emu.cli.files import (
    FileArgument,
    SetOption,
    condition_of,
    default_file,
    duration_s,
    read_topology,
    tell_warnings,
)
from emu.cli.joining import JoinAtOption, JoinedOption, joined_of, own_address_of
from emu.cli.observing import need_prometheus
from emu.cli.reporting import JunitOption, write_junit, write_report
from emu.machine.levels import LEVELS
from protocols.numerals import whole

if TYPE_CHECKING:
    from emu.model.topology import Topology
    from emu.observe.outbox import Address
    from emu.session import Session

FORMATS: Final = ("text", "json")
DETACH_WAIT_S: Final = 90.0
MOST_WORKERS: Final = 64
REPORT_HELP: Final = "At the end, write the run as one HTML page."
FAULTS_HELP: Final = "timeline: what the file says breaks by itself. none: nothing does."
PLAYED: Final = ("timeline", "none")
NO_FAULTS: Final = "faults=[]"
"""As a setting, so that all that a run hands on (to the background, to a record) has it, too."""
STRICT_HELP: Final = "Exit 4 unless it passed: also where it cannot be believed, or told."
PROMETHEUS_HELP: Final = "Let the system's Prometheus scrape it."
DISTURBING: Final = ("remove", "restart")
"""Changes that end nodes: a person is asked before."""

ForOption = Annotated[str, typer.Option("--for", help="End by itself after this long (10s, 2m).")]
UntilOption = Annotated[
    str | None,
    typer.Option("--until", metavar="CONDITION", help="End when it is met: 'db.lag > 2s'."),
]
WorkersOption = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that run the nodes, for more than one core; auto: one for each core.",
    ),
]
WebhookOption = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook",
        metavar="URL",
        help="Post each alert there, as Alertmanager does (several: say it again).",
    ),
]
OtlpOption = Annotated[
    str,
    typer.Option(
        "--otlp",
        metavar="URL",
        help="Post what nodes tell of requests there, as OpenTelemetry spans "
        "(which requests: `logs: {sample: 10%}` of a tier).",
    ),
]
DetachOption = Annotated[bool, typer.Option("--detach", "-d", help="Run in the background.")]
RecordOption = Annotated[
    str,
    typer.Option(
        "--record",
        metavar="FILE",
        help="At the end, write this topology with what was done to it, for `emu sim`.",
    ),
]
LogLevelOption = Annotated[
    str, typer.Option("--log-level", help=", ".join(LEVELS), autocompletion=one_of_these(*LEVELS))
]
LogFormatOption = Annotated[
    str, typer.Option("--log-format", help="text or json.", autocompletion=one_of_these(*FORMATS))
]
FaultsOption = Annotated[
    str, typer.Option("--faults", help=FAULTS_HELP, autocompletion=one_of_these(*PLAYED))
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Change a running one unasked.")]


def up(
    file: FileArgument = "",
    for_text: ForOption = "",
    until: UntilOption = None,
    detach: DetachOption = False,
    yes: YesOption = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin with empty disks.")] = False,
    name: Annotated[str, typer.Option("--name", help="Another name than the file's.")] = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Not the file's seed.")] = None,
    settings: SetOption = None,
    faults: FaultsOption = PLAYED[0],
    log_level: LogLevelOption = "info",
    log_format: LogFormatOption = "text",
    prometheus: Annotated[bool, typer.Option("--prometheus", help=PROMETHEUS_HELP)] = False,
    webhook: WebhookOption = None,
    otlp: OtlpOption = "",
    workers: WorkersOption = "1",
    join_at: JoinAtOption = "",
    joined: JoinedOption = "",
    record: RecordOption = "",
    report: Annotated[str, typer.Option("--report", help=REPORT_HELP)] = "",
    junit: JunitOption = "",
    strict: Annotated[bool, typer.Option("--strict", help=STRICT_HELP)] = False,
    no_aliases: Annotated[bool, typer.Option("--no-aliases", hidden=True)] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring up the website of a topology file, and keep it until Ctrl-C.

    While it runs, `up` with the changed file changes it.
    """
    _check_log(log_level, log_format)
    processes = workers_of(workers, aliases=not no_aliases)
    for_s = duration_s("--for", for_text)
    condition = condition_of("--until", until)
    path = file or default_file()
    changed = _changed(settings or (), faults)
    topology = read_topology(path, name=name, seed=seed, settings=changed)
    door = _door(join_at, joined, aliases=not no_aliases, several=processes > 1)
    if for_s is None and state.is_locked(state.root() / topology.name):
        _change(topology, changed, yes, as_json, fresh=fresh)
        return
    if detach:
        given = _options(set=list(changed), webhook=webhook, otlp=otlp, fresh=fresh, name=name,
                         seed=seed, log_level=log_level, json=as_json, log_format=log_format,
                         no_aliases=no_aliases, prometheus=prometheus, report=report,
                         junit=junit, strict=strict, until=until, workers=workers,
                         join_at=join_at, joined=joined, **{"for": for_text})  # fmt: skip
        _begin_in_background(topology, [path, *given])
        return
    _warn(topology)
    from emu.cli.foreground import Foreground
    from emu.session import Session, SessionOptions

    if prometheus:
        need_prometheus()
    options = SessionOptions(
        for_s, log_level, condition, aliases=not no_aliases, workers=processes,
        prometheus=prometheus, webhooks=_webhooks(webhook or ()), spans=_collector(otlp, topology),
        join_at=door, joined=joined_of(topology, joined or "all", door[0]) if door else None,
    )  # fmt: skip
    folder = _claim(topology.name, temporary=for_s is not None, fresh=fresh)
    session = Session(topology, folder, options)
    try:
        code = Foreground(
            session, json_events=log_format == "json", as_json=as_json, strict=strict
        ).run()
        _keep(session, record, report, junit, changed, strict=strict)
    finally:
        folder.discard() if session.wipe_at_end else folder.release()
    raise typer.Exit(code)


def _check_log(level: str, form: str) -> None:
    one_of("--log-level", level, LEVELS)
    one_of("--log-format", form, FORMATS)


def _webhooks(urls: Sequence[str]) -> tuple[Address, ...]:
    from emu.observe.webhooks import MAX_WEBHOOKS

    if len(urls) > MAX_WEBHOOKS:
        output.fail(f"--webhook: at most {MAX_WEBHOOKS} addresses", output.USAGE)
    return tuple(_address("--webhook", each, "/", "http://127.0.0.1:9095/hook") for each in urls)


def _collector(url: str, topology: Topology) -> Address | None:
    """Where spans go to."""
    from emu.observe.spans import PATH

    if not url:
        return None
    address = _address("--otlp", url, PATH, "http://127.0.0.1:4318")
    if not any(each.spec.logs.sample_ratio for each in topology.placements()):
        tiers = ", ".join(each.name for each in topology.tiers)
        output.note(
            "--otlp: no tier says which requests it tells of, so only slow ones have spans: "
            f"--set TIER.logs.sample=10% (TIER: {tiers})"
        )
    return address


def _address(option: str, url: str, path: str, example: str) -> Address:
    from emu.observe.outbox import Address

    try:
        return Address.parse(url, path, example)
    except ValueError as error:
        output.fail(f"{option}: {error}", output.USAGE)


def _keep(
    session: Session, record: str, report: str, junit: str, settings: Sequence[str], *, strict: bool
) -> None:
    """Write the files that were asked for."""
    if record:
        _record(session, record, settings)
    if report:
        write_report(session.record, Path(report))
    if junit:
        _judged(session, junit, strict)


def _changed(settings: Sequence[str], faults: str) -> tuple[str, ...]:
    """What is otherwise than in the file."""
    one_of("--faults", faults, PLAYED)
    return (*settings, *(() if faults == PLAYED[0] else (NO_FAULTS,)))


def workers_of(text: str, *, aliases: bool) -> int:
    """What `--workers` says."""
    from emu.live.addresses import has_aliases

    if text == "auto":
        found = min(MOST_WORKERS, os.cpu_count() or 1)
        return found if aliases and has_aliases() else 1
    count = whole(text)
    if count is None or not 0 < count <= MOST_WORKERS:
        output.fail(f"--workers: `{text}` is neither 1 to {MOST_WORKERS} nor auto", output.USAGE)
    if count > 1 and not (aliases and has_aliases()):
        output.fail("--workers: more than one needs loopback addresses 127.N (Linux)", output.USAGE)
    return count


def _door(join_at: str, joined: str, *, aliases: bool, several: bool) -> tuple[str, int] | None:
    """What `--join-at` says."""
    from emu.live.addresses import has_aliases
    from emu.live.network import LOOPBACK

    if not join_at:
        if joined:
            output.fail("--joined: say where they join, by --join-at", output.USAGE)
        return None
    host, port = own_address_of(join_at)
    if not host.startswith(LOOPBACK):
        if several:
            output.fail("--workers are for one computer, --join-at is not", output.USAGE)
        output.note(f"--join-at {host}: others can reach it, and see what nodes say", "yellow")
    elif not (aliases and has_aliases()):
        output.fail("--join-at needs loopback addresses 127.N (Linux)", output.USAGE)
    return host, port


def _claim(name: str, *, temporary: bool, fresh: bool) -> state.StateFolder:
    try:
        return state.claim(name, temporary=temporary, fresh=fresh)
    except state.StateError as error:
        output.fail(str(error))


def _judged(session: Session, path: str, strict: bool) -> None:
    """The verdict, for CI."""
    from emu.verdict.junit import cases_of

    summary = session.summary
    if summary is not None:
        write_junit(path, summary["name"], cases_of(summary, strict=strict), summary["ran_s"])


def _record(session: Session, path: str, settings: Sequence[str]) -> None:
    """What was done to the cluster, as the `faults:` of a topology that simulations run."""
    from emu.model.vocabulary import verbs
    from emu.topology.writing import recorded, with_timeline

    began_s = session.cluster.ready_s
    if began_s is None:
        return  # it never came up
    items = recorded(session.cluster.timeline, began_s, verbs(session.cluster.topology))
    try:
        Path(path).write_text(with_timeline(session.topology.path, items), encoding="utf-8")
    except OSError as error:
        output.fail(f"cannot write {path}: {error.strerror}", output.USAGE)
    words = " ".join([path, *(f"--set={each}" for each in settings)])
    output.note(f"{path}: {len(items)} faults; run them again: emu sim {words} --faults timeline")


def _warn(topology: Topology) -> None:
    from emu.topology.lint import unaccepted

    tell_warnings([str(each) for each in unaccepted(topology)])


def one_of(option: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        output.fail(f"{option}: `{word}` is not one of {', '.join(known)}", output.USAGE)


# --- while it runs already --------------------------------------------------------------------


def _change(
    topology: Topology, settings: Sequence[str], yes: bool, as_json: bool, *, fresh: bool
) -> None:
    """Show what the changed file asks for, and do it."""
    if fresh:
        output.fail(f"`{topology.name}` is running: `emu down` ends it, then --fresh begins anew")
    path = str(Path(topology.path).resolve())
    plan = ask(topology.name, "plan", path, settings)
    if plan[0] == "no change":
        output.note(f"`{topology.name}` is running as the file says")
        for line in plan[1:]:
            output.note(f"  {line}")
    else:
        for line in plan:
            output.note(f"  {line}")
        _confirm(plan, yes)
        plan = ask(topology.name, "apply", path, settings, timeout_s=None)
        output.note(f"`{topology.name}` is changed")
    if as_json:
        output.result({"name": topology.name, "changed": plan})


def _confirm(plan: list[str], yes: bool) -> None:
    disturbing = any(line.startswith(DISTURBING) for line in plan)
    if yes or not disturbing:
        return
    output.err.print("Do it? [y/N] ", end="", markup=False)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        output.fail("nothing was changed; `y` or --yes does it")


# --- in the background ------------------------------------------------------------------------


def _options(**given: Any) -> list[str]:
    """The options of this command line, for the child's."""
    words = []
    for name, value in given.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif isinstance(value, list):
            words += [f"--{name}={each}" for each in value]
        elif value not in (False, "", None):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def _begin_in_background(topology: Topology, words: list[str]) -> None:
    """Start the same command in the background, and wait until it is ready or has failed."""
    from emu.cli.screen import old_disks

    log_path = state.log_of(topology.name)
    try:
        log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = open(log_path, "wb")  # noqa: SIM115 - closed below
    except OSError as error:
        output.fail(f"cannot write {log_path}: {error.strerror}; set EMU_STATE_DIR")
    with log:
        child = subprocess.Popen(
            [*PYTHON, "-m", "emu", "up", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        facts = _wait_ready(child)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    if facts is None and child.poll() is None:
        output.fail(f"not ready after {DETACH_WAIT_S:g} s; its log: {log_path}")
    if facts is None:
        output.note(log_path.read_text("utf-8", "replace").rstrip())
        raise typer.Exit(child.returncode if 0 < child.returncode < 128 else output.FAILURE)
    nodes = "1 node" if facts["nodes"] == 1 else f"{facts['nodes']} nodes"
    if facts["missing"]:
        output.note(f"`{topology.name}` waits in the background, pid {child.pid}, for its nodes:")
        output.note(f"  emu node {facts['missing'][0]} --join {facts['join']}")
    else:
        output.note(f"`{topology.name}` is up in the background: {nodes}, pid {child.pid}")
    for line in old_disks(facts["kept"]):
        output.note(f"  {line}")
    if facts["site"]:
        output.note(f"  the site:  {facts['site']}")
    output.note(f"  watch it:  {facts['page']}   emu ps   emu events -f")
    output.note(f"  its log:   {log_path}")
    output.note(f"  end it:    emu down -c {topology.name}")


def _wait_ready(child: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    give_up_s = time.monotonic() + DETACH_WAIT_S
    while child.poll() is None and time.monotonic() < give_up_s:
        for facts in state.running():
            if facts["pid"] == child.pid:
                return facts
        time.sleep(0.03)
    return None
