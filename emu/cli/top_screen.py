"""What `emu top` draws: a status (emu/observe/status.py) in so many columns and lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from emu.cli import lines, output
from emu.observe import facts
from emu.observe.shown import duration, number

BARS: Final = "▁▂▃▄▅▆▇█"
BAD_RATIO: Final = 0.01
"""Above this share of errors a rate is red; below it, yellow."""
EVENT_LINES: Final = 5
FAULT_LINES: Final = 3
LEAST_NODE_LINES: Final = 2
HINT: Final = "q quit   space hold   ↑↓ scroll nodes"


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    right: bool = True


TIER_COLUMNS: Final = (
    _Column("TIER", 14, right=False), _Column("KIND", 9, right=False), _Column("UP", 7),
    _Column("RATE/S", 8), _Column("ERR/S", 7), _Column("P50", 8), _Column("P99", 8),
    _Column("WAIT", 5),
)  # fmt: skip
NODE_COLUMNS: Final = (
    _Column("NODE", 16, right=False), _Column("STATE", 9, right=False),
    _Column("ROLE", 9, right=False), _Column("RATE/S", 8), _Column("ERR/S", 7),
    _Column("P99", 8), _Column("CPU", 5),
)  # fmt: skip
FACT_WIDTH: Final = 8


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
    head = [_head(status, width), *_faults(status)]
    tiers = [_titles(TIER_COLUMNS), *(_tier(each, width) for each in status["tiers"])]
    below = _events(events, min(EVENT_LINES, height - len(head) - len(tiers) - 9))
    foot = [Text("held; space goes on" if held else HINT, style="reverse" if held else "dim")]
    if trouble:
        foot = [Text(f"no news: {trouble}", style="bold red")]
    room = height - len(head) - len(tiers) - len(below) - len(foot) - 3
    body = [*head, Text(), *tiers]
    if room >= LEAST_NODE_LINES:
        body += [Text(), *_nodes(status, room, skip_nodes)]
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
    found = [_head(status, 200), *_faults(status, most=1000), Text()]
    found += [_titles(TIER_COLUMNS), *(_tier(each, 0) for each in status["tiers"]), Text()]
    told = _facts(status)
    found += [_node_titles(told), *(_node(status, each, told) for each in status["nodes"])]
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


def _faults(status: Mapping[str, Any], most: int = FAULT_LINES) -> list[Text]:
    found = []
    for fault in status["faults"][:most]:
        line = Text(style="red")
        line.append(f"✗ {fault['text']}")
        since_s = status["time_s"] - fault["since_s"]
        line.append(f"  for {duration(since_s)}", style="dim")
        if fault["until_s"] is not None:
            left_s = max(0.0, fault["until_s"] - status["time_s"])
            line.append(f", {duration(left_s)} left", style="dim")
        found.append(line)
    more = len(status["faults"]) - most
    if more > 0:
        found.append(Text(f"✗ and {more} more faults", style="red"))
    return found


# --- rows ------------------------------------------------------------------------------------


def _titles(columns: Sequence[_Column]) -> Text:
    return Text(" ".join(_fit(each.title, each) for each in columns), style="bold dim")


def _fit(text: str, column: _Column) -> str:
    if len(text) > column.width:
        text = text[: column.width - 1] + "…"
    return text.rjust(column.width) if column.right else text.ljust(column.width)


def _row(columns: Sequence[_Column], cells: Sequence[tuple[str, str]]) -> Text:
    line = Text()
    for column, (text, style) in zip(columns, cells, strict=True):
        line.append(_fit(text, column), style=style)
        line.append(" ")
    return line


def _tier(tier: Mapping[str, Any], width: int) -> Text:
    whole = tier["up"] == tier["nodes"]
    line = _row(
        TIER_COLUMNS,
        [
            (tier["name"], "cyan"),
            (tier["kind"].rpartition(":")[2], "dim"),
            (f"{tier['up']}/{tier['nodes']}", "green" if whole else "bold red"),
            (_number(tier["rate_per_s"]), ""),
            (_number(tier["errors_per_s"]), _error_style(tier)),
            (duration(tier["p50_s"]), ""),
            (duration(tier["p99_s"]), ""),
            (str(tier["waiting"]) if tier["waiting"] else "-", ""),
        ],
    )
    room = width - len(line) - 1
    if room >= len(BARS):
        line.append_text(_bars(tier, min(room, 60)))
    return line


def _bars(tier: Mapping[str, Any], width: int) -> Text:
    """The rate over the last minute; red where there were errors."""
    rates, errors = tier["history"][-width:], tier["error_history"][-width:]
    top = max(rates, default=0.0) or 1.0
    line = Text()
    for rate, failed in zip(rates, errors, strict=True):
        bar = BARS[min(len(BARS) - 1, int(rate / top * (len(BARS) - 1) + 0.5))]
        line.append(bar, style="red" if failed else "green")
    return line


def _nodes(status: Mapping[str, Any], room: int, skip: int) -> list[Text]:
    """The title and as many nodes as there is room for; a last line says what is not seen."""
    nodes = sorted(status["nodes"], key=lambda node: node["state"] == "up")
    skip = max(0, min(skip, len(nodes) - room))
    shown, more = nodes[skip : skip + room], 0
    left_out = status["nodes_left_out"]
    if skip + room < len(nodes) or left_out:
        shown = shown[:-1]
        more = len(nodes) - skip - len(shown) + left_out
    told = _facts(status)
    found = [_node_titles(told), *(_node(status, each, told) for each in shown)]
    if more:
        well = all(node["state"] == "up" for node in nodes[skip + len(shown) :])
        found.append(Text(f"… {more} more{', all up' if well else ''}", style="dim"))
    return found


def _facts(status: Mapping[str, Any]) -> list[facts.Fact]:
    return facts.columns(status["kinds"], status["nodes"], "top")


def _node_titles(told: Sequence[facts.Fact]) -> Text:
    return _titles([*NODE_COLUMNS, *map(_column, told)])


def _column(fact: facts.Fact) -> _Column:
    return _Column(facts.title(fact).upper(), FACT_WIDTH)


def _node(status: Mapping[str, Any], node: Mapping[str, Any], told: Sequence[facts.Fact]) -> Text:
    state, kinds = node["state"], status["kinds"]
    busy = node["cpu_busy_ratio"] if state == "up" else None
    return _row(
        [*NODE_COLUMNS, *map(_column, told)],
        [
            (node["name"], "cyan"),
            (state, output.STATE_STYLES.get(state, "")),
            (node["role"] or "-", "bold" if facts.leads(kinds, node) else ""),
            (_number(node["rate_per_s"]), ""),
            (_number(node["errors_per_s"]), _error_style(node)),
            (duration(node["p99_s"]), ""),
            ("-" if busy is None else f"{busy:.0%}", "yellow" if (busy or 0) > 0.9 else ""),
            *((facts.text(kinds, node, fact) or "-", "") for fact in told),
        ],
    )


def _events(events: Sequence[Mapping[str, Any]], most: int) -> list[Text]:
    return [lines.as_text(event) for event in events[-most:]] if most > 0 else []


def _error_style(row: Mapping[str, Any]) -> str:
    errors, rate = row["errors_per_s"], row["rate_per_s"]
    if not errors:
        return "dim"
    return "bold red" if errors > rate * BAD_RATIO else "yellow"


def _number(value: float) -> str:
    return number(value) if value else "-"
