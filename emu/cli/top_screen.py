"""What `emu top` draws: a status (emu/observe/status.py) in so many columns and lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from emu.cli import lines, output
from emu.cli.columns import Cell, Column, fitted
from emu.observe import facts
from emu.observe.shown import EFFECTS, duration, number, shedding

BARS: Final = "▁▂▃▄▅▆▇█"
BAD_RATIO: Final = 0.01
"""Above this share of errors a rate is red; below it, yellow."""
EVENT_LINES: Final = 5
FAULT_LINES: Final = 3
LEAST_NODE_LINES: Final = 2
NODE_LINES: Final = 8
"""So many nodes are more important than a tier's second line."""
GAP_LINES: Final = 4
"""Between the parts, titles of nodes, foot."""
AROUND_LINES: Final = 2
"""The blank line above tiers, and the foot."""
HINT: Final = "q quit   space hold   ↑↓ scroll nodes"


TIER_COLUMNS: Final = (
    Column("TIER", 20, right=False), Column("KIND", 14, right=False, rank=3), Column("UP", 7),
    Column("RATE/S", 8), Column("ERR/S", 7), Column("P50", 8, rank=1), Column("P99", 8),
    Column("WAIT", 5, rank=2),
)  # fmt: skip
NODE_COLUMNS: Final = (
    Column("NODE", 20, right=False), Column("STATE", 9, right=False),
    Column("ROLE", 13, right=False), Column("RATE/S", 8), Column("ERR/S", 7),
    Column("P99", 8, rank=1), Column("CPU", 5, rank=2),
)  # fmt: skip


def draw(
    status: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    width: int,
    height: int,
    *,
    skip_nodes: int = 0,
    held: bool = False,
    trouble: str = "",
) -> list[Text]:
    """Exactly `height` lines of at most `width` cells. Nodes that are not well come first."""
    head = [_head(status, width), *_troubles(status)]
    tiers = _tiers(status, width)
    rest = min(len(status["nodes"]), NODE_LINES) + EVENT_LINES + GAP_LINES
    if len(head) + len(tiers) + rest > height:
        tiers = _tiers(status, width, apart=False)
    if len(head) + len(tiers) + AROUND_LINES > height:
        head = [_head(status, width), *_troubles(status, most=1)]
        tiers = _some_tiers(status, width, height - len(head) - AROUND_LINES)
    below = _events(events, min(EVENT_LINES, height - len(head) - len(tiers) - 9))
    foot = [Text("held; space goes on" if held else HINT, style="reverse" if held else "dim")]
    if trouble:
        foot = [Text(f"no news: {trouble}", style="bold red")]
    room = height - len(head) - len(tiers) - len(below) - len(foot) - 3
    body = [*head, Text(), *tiers]
    if room >= LEAST_NODE_LINES:
        body += [Text(), *_nodes(status, room, skip_nodes, width)]
    body = body[: max(0, height - len(below) - len(foot))]
    gap = height - len(body) - len(below) - len(foot)
    if gap > 1:
        below = _events(events, len(below) + gap - 1)
        gap = height - len(body) - len(below) - len(foot)
    drawn = [*body, *[Text()] * gap, *below, *foot]
    for line in drawn:
        line.truncate(width, overflow="ellipsis")
    return drawn


def plain(status: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> list[Text]:
    """All of it, for a pipe: no bars, no limits."""
    found = [_head(status, 200), *_troubles(status, most=1000), Text()]
    found += [*_tiers(status), Text(), *_node_lines(status, status["nodes"])]
    shown = _events(events, 10)
    return [*found, *([Text(), *shown] if shown else [])]


def _head(status: Mapping[str, Any], width: int) -> Text:
    up = sum(tier["up"] for tier in status["tiers"])
    count = sum(tier["nodes"] for tier in status["tiers"])
    line = Text()
    line.append(str(status["name"]), style="bold")
    line.append(f"  {duration(status['time_s'])}  ")
    line.append(f"{up}/{count} nodes up", style="green" if up == count else "bold red")
    lag_s = status["loop_lag_s"]["p99"]
    if status["trustworthy"]:
        line.append(f"  loop lag p99 {duration(lag_s)}", style="dim")
    else:
        line.append("  not trustworthy: ", style="bold yellow")
        line.append("; ".join(status["reasons"]), style="yellow")
    return line


def _troubles(status: Mapping[str, Any], most: int = FAULT_LINES) -> list[Text]:
    """What is broken, and who is led by nobody."""
    found = [Text(f"✗ {each}", style="bold red") for each in status["leaderless"][:most]]
    for fault in status["faults"][:most]:
        line = Text(style="red")
        line.append(f"✗ {fault['text']}")
        since_s = status["time_s"] - fault["since_s"]
        line.append(f"  for {duration(since_s)}", style="dim")
        if fault["until_s"] is not None:
            left_s = max(0.0, fault["until_s"] - status["time_s"])
            line.append(f", {duration(left_s)} left", style="dim")
        found.append(line)
    found += _alerts(status, most)
    more = len(status["faults"]) - most
    if more > 0:
        found.append(Text(f"✗ and {more} more faults", style="red"))
    return found


def _alerts(status: Mapping[str, Any], most: int) -> list[Text]:
    """What fires, and for how long."""
    found = []
    for each in status["alerts"][:most]:
        line = Text(f"! {each['summary']}", style="bold yellow")
        since_s = status["time_s"] - each["fired_s"]
        line.append(f"  {each['alert']} for {duration(since_s)}", style="not bold dim")
        found.append(line)
    more = len(status["alerts"]) + status["alerts_left_out"] - most
    return [*found, Text(f"! and {more} more: emu alerts", style="yellow")] if more > 0 else found


# --- rows ------------------------------------------------------------------------------------


def _some_tiers(status: Mapping[str, Any], width: int, most: int) -> list[Text]:
    """As many lines: if not all have room, those that are not well, whoever asks, and who is asked
    the most; the last line says how many others there are."""
    tiers = status["tiers"]
    if len(tiers) < most:
        return _tiers(status, width, apart=False)
    ranked = sorted(tiers, key=_weight, reverse=True)
    kept = [each["name"] for each in ranked[: max(0, most - 2)]]
    shown = [each for each in tiers if each["name"] in kept]
    left = [each for each in tiers if each["name"] not in kept]
    well = ", all up" if all(each["up"] == each["nodes"] for each in left) else ""
    more = Text(f"… {len(left)} more tiers{well}", style="dim")
    return [*_tiers({**status, "tiers": shown}, width, apart=False), more]


def _weight(tier: Mapping[str, Any]) -> tuple[bool, bool, float, float]:
    unwell = tier["up"] < tier["nodes"]
    return unwell, bool(tier["clients"]), tier["errors_per_s"], tier["rate_per_s"]


def _tiers(status: Mapping[str, Any], width: int = 0, *, apart: bool = True) -> list[Text]:
    """The titles, and a line for each tier; `apart`: of clients that read and write one more for
    each of both."""
    rows: list[list[Cell]] = []
    drawn: list[Mapping[str, Any] | None] = [None]
    for tier in status["tiers"]:
        rows.append(_tier(tier))
        drawn.append(tier)
        for effect, rates in tier["effects"].items() if len(tier["effects"]) > 1 and apart else ():
            rows.append(
                [(f"  {EFFECTS[effect]}", ""), ("", ""), ("", ""), *_rates(rates), ("", "")]
            )
            drawn.append(None)
    lines = fitted(TIER_COLUMNS, rows, width)
    for line, of in zip(lines, drawn, strict=True):
        room = width - len(line) - 2
        if of is not None and room >= len(BARS):
            line.append("  ").append_text(_bars(of, min(room, 60)))
    return lines


def _tier(tier: Mapping[str, Any]) -> list[Cell]:
    whole = tier["up"] == tier["nodes"]
    return [
        (tier["name"], "cyan"),
        (tier["kind"].rpartition(":")[2], "dim"),
        (f"{tier['up']}/{tier['nodes']}", "green" if whole else "bold red"),
        *_rates(tier),
        (str(tier["waiting"]) if tier["waiting"] else "-", ""),
    ]


def _rates(row: Mapping[str, Any]) -> list[Cell]:
    return [
        (_number(row["rate_per_s"]), ""),
        (_number(row["errors_per_s"]), _error_style(row)),
        (duration(row["p50_s"]), ""),
        (duration(row["p99_s"]), ""),
    ]


def _bars(tier: Mapping[str, Any], width: int) -> Text:
    """The rate over the last minute; red where there were errors."""
    rates, errors = tier["history"][-width:], tier["error_history"][-width:]
    top = max(rates, default=0.0) or 1.0
    line = Text()
    for rate, failed in zip(rates, errors, strict=True):
        bar = BARS[min(len(BARS) - 1, int(rate / top * (len(BARS) - 1) + 0.5))]
        line.append(bar, style="red" if failed else "green")
    return line


def _nodes(status: Mapping[str, Any], room: int, skip: int, width: int) -> list[Text]:
    """The title and as many nodes as there is room for; a last line says what is not seen."""
    nodes = sorted(status["nodes"], key=lambda node: node["state"] == "up")
    skip = max(0, min(skip, len(nodes) - room))
    shown, more = nodes[skip : skip + room], 0
    left_out = status["nodes_left_out"]
    if skip + room < len(nodes) or left_out:
        shown = shown[:-1]
        more = len(nodes) - skip - len(shown) + left_out
    found = _node_lines(status, shown, width)
    if more:
        well = all(node["state"] == "up" for node in nodes[skip + len(shown) :])
        found.append(Text(f"… {more} more{', all up' if well else ''}", style="dim"))
    return found


def _node_lines(
    status: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], width: int = 0
) -> list[Text]:
    """The titles, and a line for each node; what it says of itself comes last."""
    told = facts.columns(status["kinds"], status["nodes"], "top")
    found = fitted(NODE_COLUMNS, [_node(status["kinds"], each) for each in nodes], width)
    for line, node in zip(found[1:], nodes, strict=True):
        sheds = shedding(node)
        if sheds and (not width or len(line) + len(sheds) + 2 <= width):
            line.append(f"  {sheds}", style="yellow")
        for fact in told:
            value = facts.text(status["kinds"], node, fact)
            known = f"  {facts.title(fact)} {value}" if value else ""
            if not width or len(line) + len(known) <= width:
                line.append(known, style="dim")
    return found


def _node(kinds: facts.Kinds, node: Mapping[str, Any]) -> list[Cell]:
    state = node["state"]
    busy = node["cpu_busy_ratio"] if state == "up" else None
    rate, errors, _, p99 = _rates(node)
    return [
        (node["name"], "cyan"),
        (state, output.STATE_STYLES.get(state, "")),
        (node["role"] or "-", "bold" if facts.leads(kinds, node) else ""),
        rate,
        errors,
        p99,
        ("-" if busy is None else f"{busy:.0%}", "yellow" if (busy or 0) > 0.9 else ""),
    ]


def _events(events: Sequence[Mapping[str, Any]], most: int) -> list[Text]:
    return [lines.as_text(event) for event in events[-most:]] if most > 0 else []


def _error_style(row: Mapping[str, Any]) -> str:
    errors, rate = row["errors_per_s"], row["rate_per_s"]
    if not errors:
        return "dim"
    return "bold red" if errors > rate * BAD_RATIO else "yellow"


def _number(value: float) -> str:
    return number(value) if value else "-"
