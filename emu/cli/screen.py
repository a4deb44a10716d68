"""The screens of a run: what is up and what to do next, and what it came to in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from emu.cli.columns import Cell, Column, fitted
from emu.machine import units
from emu.model.faults import to_record
from emu.model.verdicts import FAILED, PASSED
from emu.observe.explaining import SHARED, shown_writes
from emu.observe.shown import EFFECTS, size
from emu.observe.shown import duration as seconds
from emu.observe.wording import fault_text
from emu.running import doors
from emu.topology.tiers import words_of

if TYPE_CHECKING:
    from emu.model.topology import FaultItem, Tier
    from emu.running.instance import Instance
    from emu.session import Session
    from nodes.kind import Kind

MAX_FAILED_SHOWN: Final = 5
MAX_DONE_SHOWN: Final = 10
MOST_TOLD: Final = 3
"""Of what followed a fault."""
MUCH_PER_S: Final = 1000
"""Rates from there on are told in whole numbers."""
MAX_PLANNED_SHOWN: Final = 10
CLIENTS_COLUMNS: Final = (
    Column("", 40, right=False), Column("", 8, right=False), Column("requests", 9),
    Column("failed", 7), Column("p50", 9), Column("p99", 9),
)  # fmt: skip
VERDICT_STYLES: Final = {
    "passed": "bold green",
    "failed": "bold red",
    "untrusted": "bold yellow",
    "unknown": "bold",
}


def welcome_screen(
    session: Session, took_s: float, *, emu: str = "emu", others: bool = False
) -> RenderableType:
    """The first screen: what runs, where to point what, what to type next."""
    instances = list(session.cluster.instances.values())
    up = sum(instance.state == "up" for instance in instances)
    head = Text()
    head.append(session.topology.name, style="bold")
    head.append(f" is up: {up} of {len(instances)} nodes in {seconds(took_s)}")
    parts: list[RenderableType] = ["", head]
    parts += [Text(f"  {line}", style="dim") for line in old_disks(session.folder.kept)]
    parts += [*_failed(instances), _tiers(session), ""]
    parts += [_headed("Look at it"), _two_columns(_look(session, instances)), ""]
    parts.append(_headed("Break it", "from a second terminal"))
    if others:
        parts.append(f"  export EMU_CLUSTER={session.topology.name}")
    commands = [*to_break(instances), ("ps", "who is up; more verbs: --help")]
    parts += [_two_columns([(f"{emu} {what}", why) for what, why in commands]), ""]
    ready_s = session.cluster.ready_s or 0.0
    parts += by_itself(session.topology.faults, session.options.for_s, ready_s)
    parts.append(Text(_how_it_ends(session), style="dim"))
    return Group(*parts)


def old_disks(kept: tuple[int, int] | None) -> Iterable[str]:
    """Whose disks a run goes on with: of how many runs before it (state.Kept), of what size."""
    if kept is not None:
        runs, size_bytes = kept
        of = {0: "earlier runs", 1: "an earlier run"}.get(runs, f"{runs:,} earlier runs")
        yield f"goes on with the disks of {of}, {size(size_bytes)}: --fresh begins with empty ones"


def by_itself(
    items: Sequence[FaultItem], for_s: float | None = None, ready_s: float = 0.0
) -> Iterable[RenderableType]:
    """The file's own timeline, whose 0 s is now, by the clock of all that is told from here on;
    what is due after `for_s` is marked."""
    if not items:
        return
    shift = f", whose 0 s is {ready_s:.1f} s here" if ready_s else ""
    yield _headed("It breaks by itself", f"as its file says{shift}; `--faults none`: it does not")
    rows = []
    for item in items[:MAX_PLANNED_SHOWN]:
        when = f"after {item.on}" if item.on else f"{ready_s + (item.at_s or 0.0):.1f} s"
        when += f" from {ready_s + item.since_s:.1f} s on" if item.since_s else ""
        lasts = "" if item.for_s is None else f", for {seconds(item.for_s)}"
        row = [Text(f"  {when}", "dim"), Text(fault_text(to_record(item.fault)) + lasts)]
        if for_s is not None and (item.at_s or 0.0) >= for_s:
            row.append(Text(f"not in {seconds(for_s)}", "yellow"))
        rows.append(row)
    yield _aligned(rows)
    if len(items) > MAX_PLANNED_SHOWN:
        yield Text(f"  and {len(items) - MAX_PLANNED_SHOWN} more", style="dim")
    yield ""


def _failed(instances: list[Instance]) -> Iterable[RenderableType]:
    failed = [instance for instance in instances if instance.state == "failed"]
    for instance in failed[:MAX_FAILED_SHOWN]:
        yield Text(f"  {instance.spec.name} failed: {instance.error}", style="bold red")
    if len(failed) > MAX_FAILED_SHOWN:
        yield Text(f"  and {len(failed) - MAX_FAILED_SHOWN} more: emu ps", style="bold red")


def _tiers(session: Session) -> Text:
    rows = []
    several = len(session.topology.regions) > 1
    for tier in session.topology.tiers:
        members = session.cluster.tier_instances(tier.name)
        row = [Text(f"  {tier.name}", style="cyan"), Text(f"{len(members)} × {tier.word}")]
        if several:
            row.append(Text(", ".join(dict.fromkeys(instance.spec.region for instance in members))))
        if tier.kind.demand is not None:
            row.append(Text(_visits(tier)))
        elif members:
            row.append(Text(_where(session, members[0]) + (" ..." if len(members) > 1 else "")))
            row.append(Text("public") if tier.public else Text("private", style="dim"))
        rows.append(row)
    return _aligned(rows)


def _visits(tier: Tier) -> str:
    """`80/s and 10 thinking → lb`."""
    assert tier.kind.demand is not None
    rate_per_s, waiting, least_per_s = tier.kind.demand(tier.config)
    rates = [rate_per_s] if least_per_s is None else [least_per_s, rate_per_s]
    whole = (round(each) if each >= MUCH_PER_S else each for each in rates)
    shown = " to ".join(units.format_value("rate_per_s", each) for each in whole)
    load = [shown] if rate_per_s else []
    load += [f"{waiting} thinking"] if waiting else []
    return f"{' and '.join(load)} → {', '.join(_passed_to(tier.kind, tier.config))}"


def _where(session: Session, instance: Instance) -> str:
    return session.world.endpoint(instance.spec.name, instance.spec.port)


def _look(session: Session, instances: list[Instance]) -> list[tuple[str, str]]:
    public = [instance for instance in instances if instance.spec.public and instance.state == "up"]
    lines: list[tuple[str, str]] = []
    for front in doors.fronts(public)[:1]:  # the outermost
        where = _where(session, front)
        lines.append((f"curl -i http://{where}/", f"the site, through {front.spec.tier}"))
        lines.append((f"http://{where}/", "the same in a browser"))
    for look, instance in {
        instance.placement.kind.look: instance for instance in reversed(public)
    }.items():
        if look is not None:
            address, _, port = _where(session, instance).rpartition(":")
            lines += look(instance.placement.config, address, int(port))
    lines.append((session.observe.page_url, "watch it and break it, on a page"))
    if session.prometheus is not None:
        lines.append((f"{session.prometheus.url}/alerts", "Prometheus, which scrapes it"))
        lines.append(("emu dashboards", "Grafana's dashboards for it"))
    else:
        lines.append((f"{session.observe.url}/sd", "for Prometheus: http_sd_configs"))
    return lines


def _passed_to(kind: Kind, config: Any) -> list[str]:
    """The tiers to which requests go on."""
    return [word for edge in kind.passes for word in words_of(getattr(config, edge))]


def to_break(instances: Sequence[Instance]) -> list[tuple[str, str]]:
    """What to try first: a command for `emu`, and what it does."""
    counts = Counter(instance.spec.tier for instance in instances)
    fronts = doors.fronts(instances)
    passing = [each for each in fronts if each.placement.kind.passes]
    server = next((each for each in fronts if each not in passing), instances[0]).spec.tier
    one = server if counts[server] == 1 else f"'one {server}'"
    lines = [(f"kill {one} --for 5s", "its process dies")]
    led = {
        instance.spec.tier: leader
        for instance in instances
        if (leader := instance.placement.kind.leader)
    }
    for tier, leader in list(led.items())[:1]:
        if counts[tier] == 1:
            lines.append((f"crash {tier} --for 3s", "a power cut"))
        else:
            lines.append((f"kill '{tier} {leader.role}' --for 10s", "a replica takes its place"))
    lines.append((f"slow {server} --latency 80ms --for 10s", "a longer way to it"))
    before = [
        each for each in passing if server in _passed_to(each.placement.kind, each.placement.config)
    ]
    if before:
        lines.append((f"partition {before[0].spec.tier} {server} --for 5s", "the cable is cut"))
        lines.append((f"scale {server}={counts[server] + 2}", "more machines, until `emu heal`"))
    else:
        lines.append((f"cpu {server} --cores 1", "a smaller machine"))
    return lines


def _how_it_ends(session: Session) -> str:
    if session.options.for_s is not None:
        return f"It ends by itself in {seconds(session.options.for_s)}, its disks with it."
    return "Ctrl-C ends it, and says what was lost; its disks are kept. What happens is told below."


def _headed(title: str, aside: str = "") -> Text:
    line = Text(title, style="bold")
    if aside:
        line.append(f"  {aside}", style="not bold dim")
    return line


def _two_columns(lines: list[tuple[str, str]]) -> Text:
    return _aligned([[Text(f"  {what}", "cyan"), Text(why, "dim")] for what, why in lines])


def _aligned(rows: list[list[Text]]) -> Text:
    """The rows in columns, without boxes or trailing blanks: easy to copy, plain in a pipe."""
    widths = [
        max(cell.cell_len for cell in column) for column in zip_longest(*rows, fillvalue=Text())
    ]
    lines = []
    for row in rows:
        line = Text()
        for cell, width in zip(row, widths, strict=False):
            line.append_text(cell)
            line.pad_right(width + 2 - cell.cell_len)
        line.rstrip()
        lines.append(line)
    return Text("\n").join(lines)


def summary_screen(summary: Mapping[str, Any]) -> RenderableType:
    """The end of a run, for people."""
    figures = [[Text(f"  {name}", "dim"), Text(value)] for name, value in _figures(summary)]
    head = Text(summary["name"], style="bold")
    head.append(f", {seconds(summary['ran_s'])}", style="not bold")
    parts: list[RenderableType] = ["", head, _aligned(figures)]
    if len(summary["by_clients"]) > 1:
        parts += ["", _headed("Who asked for what"), _by_clients(summary["by_clients"])]
    if summary.get("consequences"):
        parts += ["", _headed("What was done, and what users paid"), *_paid(summary)]
    parts += ["", *map(_expectation, summary["expectations"])] if summary["expectations"] else ()
    missed = any(each["held"] is False for each in summary["expectations"])
    if missed and summary.get("by_hand"):
        more = f"you did {summary['by_hand']} more"
        parts.append(Text(f"  (the file expects that of its own faults alone; {more})", "dim"))
    if not summary["trustworthy"]:
        warning = "  Do not trust these numbers: the laptop was too busy."
        parts.append(Text(warning, style="bold yellow"))
        parts += [Text(f"    {reason}", style="yellow") for reason in summary["reasons"]]
    verdict = Text(f"verdict: {summary['verdict']}", style=VERDICT_STYLES[summary["verdict"]])
    if summary["trustworthy"] and summary["verdict"] in (PASSED, FAILED):
        verdict.append(", trusted", style="not bold dim")
    parts.append(verdict)
    if summary["verdict"] != "untrusted":  # its reasons stand above
        parts += [Text(f"  because  {each}") for each in summary["why"]]
    not_run = summary.get("not_run", ())
    parts += [Text(f"  did not happen: {each}", style="yellow") for each in not_run]
    if summary.get("consequences"):
        parts.append(Text("The whole story as a page: emu report", style="dim"))
    return Group(*parts)


def _paid(summary: Mapping[str, Any]) -> Iterable[RenderableType]:
    """A line for each thing that was done, and below it what followed."""
    done = summary["consequences"]
    for each in done[:MAX_DONE_SHOWN]:
        line = Text(f"  {each['start_s']:7.1f} s  ")
        line.append(each["text"], style="cyan")
        if each["end_s"] is not None:
            line.append(f" for {seconds(each['end_s'] - each['start_s'])}")
        whose = f" of {', '.join(each['of'])}" if each["of"] else ""
        failed = f"{each['errors']:.0f} of {each['requests']:.0f} requests{whose} failed"
        if each.get("within_s"):
            failed += f" in the {seconds(each['within_s'])} after it began"
        line.append(f": {failed}", style="red" if each["errors"] else "green")
        if each["before"] is not None:
            requests, errors = each["before"]
            line.append(f", before it {errors:.0f} of {requests:.0f}", style="dim")
        if each["p99_s"] is not None:
            line.append(f", p99 {seconds(each['p99_s'])}", style="dim")
        yield line
        told = each["follow_ups"]
        more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD + 1 else []
        shown = [*told[:MOST_TOLD], *more] if more else told
        yield from (Text(f"             {line}", style="dim") for line in shown)
    if any(each["shared"] for each in done[:MAX_DONE_SHOWN]):
        yield Text(f"  ({SHARED})", style="dim")
    if len(done) > MAX_DONE_SHOWN:
        yield Text(f"  and {len(done) - MAX_DONE_SHOWN} more; the report has all", style="dim")


def _figures(summary: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "requests", f"{summary['requests']} ({summary['throughput_per_s']:g}/s)"
    if summary.get("sample", 1) < 1:
        sent = f"{summary['sample']:.3g} of all requests were sent"
        yield "sample", f"{sent}; the others were work for cpus, not for locks, disks and links"
    if summary["requests"]:
        codes = ", ".join(f"{code} {count}" for code, count in summary["errors_by_code"].items())
        yield "errors", f"{summary['errors']}" + (f" ({codes})" if codes else "")
        yield "availability", f"{summary['availability']:.4%}"
    latency = summary["latency_s"]
    if latency["p50"] is not None:
        yield "latency", f"p50 {seconds(latency['p50'])}, p99 {seconds(latency['p99'])}"
    lost = summary["lost_acknowledged_writes"]
    if lost is not None:
        yield "writes", f"{lost:,} of {summary['acknowledged_writes']:,} acknowledged writes lost"
    if summary["lost_writes"]:
        yield "lost", shown_writes(summary)
    if lost and summary.get("written_by_hand"):
        yield "by hand", ", ".join(summary["written_by_hand"]).replace(" by hand", "")
    counted = [each for each in summary["judged"] if each.get("acknowledged")]
    if lost and len(counted) > 1:
        for each in counted:
            yield each["clients"], f"{each['lost']:,} of {each['acknowledged']:,} of theirs lost"
    for judged in summary["judged"]:
        if judged["anomalies"] and judged["permitted"]:
            yield judged["clients"], f"{judged['anomalies']} anomalies: {judged['permitted']}"
        if judged.get("left"):
            when = "when their clients had left them, and not read again at the end"
            yield judged["clients"], f"{judged['left']:,} objects were judged {when}"
    lag = summary["loop_lag_s"]
    whose = f" ({lag['process']})" if "process" in lag else ""
    yield "loop lag", f"p99 {seconds(lag['p99'])}{whose}"


def _by_clients(rows: Sequence[Mapping[str, Any]]) -> Text:
    """Reads and writes of each population apart; its region, where there are several."""
    several = len({row["region"] for row in rows}) > 1
    cells: list[list[Cell]] = []
    for row in rows:
        latency, failed = row["latency_s"], row["errors"]
        where = f" in {row['region']}" if several else ""
        cells.append(
            [
                (f"  {row['clients']}{where}", "cyan"),
                (EFFECTS[row["effect"]], ""),
                (f"{row['requests']:,}", ""),
                (f"{failed:,}", "red" if failed else "dim"),
                (seconds(latency["p50"]), ""),
                (seconds(latency["p99"]), ""),
            ]
        )
    return Text("\n").join(fitted(CLIENTS_COLUMNS, cells))


def _expectation(judged: Mapping[str, Any]) -> Text:
    mark, style = {True: ("held", "green"), False: ("FAILED", "bold red")}.get(
        judged["held"], ("unknown", "yellow")
    )
    return Text(f"  {mark:<7} {judged['text']}  ({judged['told']})", style=style)
