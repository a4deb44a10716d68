"""The tiers as a drawing: who asks whom, from left to right, with states and numbers. Pure.

One SVG for the live page and the report; its colours are the page's (assets/theme.css). It is drawn
from a status (status.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from emu.observe.grouping import grouped
from emu.observe.shown import duration, number

BOX_WIDTH: Final = 190
BOX_HEIGHT: Final = 112
COLUMN_GAP: Final = 64
ROW_GAP: Final = 26
MARGIN: Final = 8
DOT_GAP: Final = 13
MAX_DOTS: Final = 12
MOST_TITLE: Final = 20
"""With more letters the kind is left out: the name says it, mostly."""
SPARK_HEIGHT: Final = 24
OVER: Final = 44
"""How high an edge goes that passes over a column."""
FAR_S: Final = 0.001
"""An edge with at least this latency says so."""

Place = tuple[int, int]
"""(column, row), from 0."""


def arrange(tiers: Sequence[str], edges: Sequence[Sequence[str]]) -> dict[str, Place]:
    """A column for each tier: one farther than whoever asks it; rows by who asks first."""
    targets = {name: [b for a, b in edges if a == name and b in tiers] for name in tiers}
    finished: dict[str, None] = {}
    forward: list[tuple[str, str]] = []
    """Edges without those that close a circle."""

    def visit(name: str, way: tuple[str, ...]) -> None:
        for target in targets[name]:
            if target in (*way, name):
                continue
            forward.append((name, target))
            if target not in finished:
                visit(target, (*way, name))
        finished[name] = None

    for name in tiers:
        if name not in finished:
            visit(name, ())
    columns = dict.fromkeys(tiers, 0)
    for name in reversed(finished):
        for source, target in forward:
            if source == name:
                columns[target] = max(columns[target], columns[name] + 1)
    return _rows(tiers, forward, columns)


def _rows(
    tiers: Sequence[str], edges: Sequence[Sequence[str]], columns: Mapping[str, int]
) -> dict[str, Place]:
    """Inside a column, tiers stand in the order of whoever asks them."""
    places: dict[str, Place] = {}
    for column in range(max(columns.values(), default=-1) + 1):
        here = [name for name in tiers if columns[name] == column]

        def height(name: str) -> float:
            rows = [places[a][1] for a, b in edges if b == name and a in places]
            return sum(rows) / len(rows) if rows else 0.0

        for row, name in enumerate(sorted(here, key=height)):
            places[name] = (column, row)
    return places


def draw(status: Mapping[str, Any]) -> str:
    """The SVG element, as wide as what holds it."""
    status = grouped(status)
    tiers = status["tiers"]
    places = arrange([tier["name"] for tier in tiers], status["edges"])
    columns = max((column for column, _ in places.values()), default=0) + 1
    tallest = max((row for _, row in places.values()), default=0) + 1
    width = columns * (BOX_WIDTH + COLUMN_GAP) - COLUMN_GAP + 2 * MARGIN
    edges = [each for each in status["edges"] if each[0] in places and each[1] in places]
    above = OVER if any(places[b][0] - places[a][0] > 1 for a, b in edges) else 0
    height = tallest * (BOX_HEIGHT + ROW_GAP) - ROW_GAP + 2 * MARGIN + above
    corners = {name: _corner(place, places, height, above) for name, place in places.items()}
    parts = [_edge(each, corners, status) for each in edges]
    parts += [_tier(tier, corners[tier["name"]], status["nodes"]) for tier in tiers]
    return (
        f'<svg class="drawing" width="{width}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="The tiers and who asks whom">{"".join(parts)}</svg>'
    )


def _corner(
    place: Place, places: Mapping[str, Place], height: int, above: int
) -> tuple[float, float]:
    """The upper left corner; columns are centred below `above`."""
    column, row = place
    rows = sum(other == column for other, _ in places.values())
    used = rows * (BOX_HEIGHT + ROW_GAP) - ROW_GAP
    x = MARGIN + column * (BOX_WIDTH + COLUMN_GAP)
    return x, above + (height - above - used) / 2 + row * (BOX_HEIGHT + ROW_GAP)


# --- edges -----------------------------------------------------------------------------------


def _edge(
    edge: Sequence[str], corners: Mapping[str, tuple[float, float]], status: Mapping[str, Any]
) -> str:
    (x1, y1), (x2, y2) = corners[edge[0]], corners[edge[1]]
    y1, y2 = y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2
    over = 0.0
    if x2 - x1 > BOX_WIDTH + COLUMN_GAP:  # past a column: over the top of it
        x1, x2, over = x1 + BOX_WIDTH / 2, x2 + BOX_WIDTH / 2, -OVER
        y1, y2 = y1 - BOX_HEIGHT / 2, y2 - BOX_HEIGHT / 2
        curve = f"M{x1:g} {y1:g}C{x1:g} {y1 + over:g} {x2:g} {y2 + over:g} {x2:g} {y2:g}"
    elif x2 > x1:
        x1 += BOX_WIDTH
        bend = (x2 - x1) / 2
        curve = f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
    else:  # inside a column, or back
        x1, x2 = x1 + BOX_WIDTH / 2, x2 + BOX_WIDTH / 2
        y1 += BOX_HEIGHT / 2 if y2 > y1 else -BOX_HEIGHT / 2
        y2 += -BOX_HEIGHT / 2 if y2 > y1 else BOX_HEIGHT / 2
        curve = f"M{x1:g} {y1:g}L{x2:g} {y2:g}"
    link = next((each for each in status["links"] if each["ends"] == list(edge)), None)
    is_cut = link is not None and link["cut"]
    far = link["latency_s"] if link is not None and link["latency_s"] >= FAR_S else None
    label = "cut" if is_cut else duration(far) if far is not None else ""
    drawn = f'<path class="edge{" cut" if is_cut else ""}" d="{curve}"/>'
    if label:
        x, y = (x1 + x2) / 2, (y1 + y2) / 2 + 0.75 * over - 6
        drawn += f'<text class="edge-label{" cut" if is_cut else ""}" x="{x:g}" y="{y:g}">'
        drawn += f"{label}</text>"
    return drawn


# --- tiers -----------------------------------------------------------------------------------


def _tier(
    tier: Mapping[str, Any], corner: tuple[float, float], nodes: Sequence[Mapping[str, Any]]
) -> str:
    x, y = corner
    well = "well" if tier["up"] == tier["nodes"] else "ill"
    name, kind = escape(tier["name"]), escape(tier["kind"].rpartition(":")[2])
    members = escape(" ".join(tier["members"]))
    if len(tier["members"]) > 1:
        kind = f"× {len(tier['members'])}"
    elif len(name) + len(kind) > MOST_TITLE:
        kind = ""
    bad = tier["errors_per_s"] > 0
    errors = f"{number(tier['errors_per_s'])} err/s" if bad else f"{tier['up']}/{tier['nodes']} up"
    own = [node for node in nodes if node["tier"] == tier["name"]]
    p99 = f"p99 {duration(tier['p99_s'])}" if tier["p99_s"] is not None else ""
    return (
        f'<g class="tier {well}" data-tier="{members}" transform="translate({x:g} {y:g})">'
        f'<rect class="box" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="10"/>'
        f'<text class="name" x="12" y="23">{name}</text>'
        f'<text class="kind" x="{BOX_WIDTH - 12}" y="23">{kind if kind != name else ""}</text>'
        f"{_dots(own, tier['nodes'])}"
        f'<text class="rate" x="12" y="64">{number(tier["rate_per_s"])}/s</text>'
        f'<text class="late" x="{BOX_WIDTH - 12}" y="64">{p99}</text>'
        f'<text class="errors {"bad" if bad else ""}" x="{BOX_WIDTH - 12}" y="44">{errors}</text>'
        f"{_spark(tier)}</g>"
    )


def _dots(nodes: Sequence[Mapping[str, Any]], count: int) -> str:
    """A dot for each node: those that are not well first where there are too many."""
    shown = list(nodes)
    if len(shown) > MAX_DOTS:
        shown = sorted(shown, key=lambda node: node["state"] == "up")[: MAX_DOTS - 3]
    drawn = ""
    for place, node in enumerate(shown):
        x = 17 + place * DOT_GAP
        role = f" {node['role']}" if node["role"] else ""
        drawn += (
            f'<circle class="dot {escape(node["state"])}{escape(role)}" cx="{x}" cy="40" r="4.5">'
            f"<title>{escape(node['name'])}: {escape(node['state'])}{escape(role)}</title></circle>"
        )
    if count > len(shown):
        x = 13 + len(shown) * DOT_GAP
        drawn += f'<text class="more" x="{x}" y="44">+{count - len(shown)}</text>'
    return drawn


def _spark(tier: Mapping[str, Any]) -> str:
    """The rate as an area, and a red tick where there were errors."""
    rates, errors = tier["history"], tier["error_history"]
    if len(rates) < 2:
        return ""
    top = max(rates) or 1.0
    step = (BOX_WIDTH - 24) / (len(rates) - 1)
    base = BOX_HEIGHT - 12
    points = [
        f"{12 + place * step:.1f} {base - rate / top * SPARK_HEIGHT:.1f}"
        for place, rate in enumerate(rates)
    ]
    area = f"M12 {base}L{'L'.join(points)}L{BOX_WIDTH - 12} {base}Z"
    ticks = "".join(
        f"M{12 + place * step:.1f} {base + 2}v4" for place, failed in enumerate(errors) if failed
    )
    return f'<path class="spark" d="{area}"/><path class="ticks" d="{ticks}"/>'
