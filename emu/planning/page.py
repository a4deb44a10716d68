"""What a site bears as a picture: throughput and response against users, with the knee. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from emu.observe.charts import step_of
from emu.observe.page import document
from emu.observe.shown import duration, number
from emu.planning.checking import ANSWERED, MEAN, WORKED_OFF, Check
from emu.planning.plan import AT_MOST, Model

WIDTH: Final = 1080
HEIGHT: Final = 280
LEFT: Final = 110
RIGHT: Final = 16
TOP: Final = 30
BOTTOM: Final = 46
BEYOND: Final = 1.3
"""Times the ceiling: how far the picture goes."""
ALMOST: Final = 0.95
"""Of the ceiling: the response there is the top of the picture."""
POINTS: Final = 160
TICKS: Final = 5
ROOM: Final = 0.98
"""Of the axis: the words of the last tick need some."""
SHEETS: Final = ("theme.css", "report.css", "capacity.css")
FOOTER: Final = (
    "Made by emu plan: demands were measured in simulations; the curves are queueing formulas, the "
    "dots (--check) simulations again. The figures are in this page, as JSON."
)

Point = tuple[float, float]
"""(requests a second that are asked for, value)."""


@dataclass(frozen=True, slots=True)
class _Chart:
    title: str
    shown: Callable[[float], str]
    """A value, for people."""
    lines: Sequence[tuple[str, Sequence[Point]]]
    """CSS class and points."""
    dots: Sequence[Point]
    top: float


def render(name: str, found: Model, checks: Sequence[Check], each_per_s: float) -> str:
    """The whole HTML document. `each_per_s`: what one person asks in a second. The model must have
    a ceiling."""
    ceiling = found.ceiling_per_s
    rates = [ceiling * BEYOND * step / POINTS for step in range(1, POINTS + 1)]
    charts = (_throughput(found, rates, checks), _response(found, rates, checks))
    data = {
        "ceiling_per_s": ceiling,
        "knee_per_s": found.knee_per_s,
        "asked_per_s_each": each_per_s,
        "curve": [
            {"asked_per_s": rate, "answered_per_s": min(rate, ceiling),
             "mean_s": found.mean_s(rate) if rate < ceiling else None}
            for rate in rates
        ],
        "checks": [{"share": each.share, "what": each.what, "predicted": each.predicted,
                    "seen": each.seen, "held": each.held} for each in checks],
    }  # fmt: skip
    body = "".join(_body(name, found, charts, checks, each_per_s))
    return document(f"{escape(name)}: what it bears", SHEETS, body, FOOTER, "plan", data)


def _throughput(found: Model, rates: Sequence[float], checks: Sequence[Check]) -> _Chart:
    ceiling = found.ceiling_per_s
    dots = [(each.predicted, each.seen) for each in checks if each.what == ANSWERED]
    dots += [(each.share * ceiling, each.seen) for each in checks if each.what == WORKED_OFF]
    asked = [(rate, rate) for rate in rates]
    answered = [(rate, min(rate, ceiling)) for rate in rates]
    return _Chart(
        "Requests/s answered", number, (("asked", asked), ("answered", answered)), dots,
        ceiling * BEYOND,
    )  # fmt: skip


def _response(found: Model, rates: Sequence[float], checks: Sequence[Check]) -> _Chart:
    ceiling = found.ceiling_per_s
    top = 1.15 * found.mean_s(ALMOST * ceiling)
    asked = {each.share: each.predicted for each in checks if each.what == ANSWERED}
    dots = [(asked[each.share], each.seen) for each in checks if each.what == MEAN]
    points = [(rate, found.mean_s(rate)) for rate in rates]
    points = [each for each in points if each[1] < top]
    return _Chart("Mean response", duration, (("answered", points),), dots, top)


def _body(
    name: str, found: Model, charts: Sequence[_Chart], checks: Sequence[Check], each_per_s: float
) -> Iterable[str]:
    assert found.bottleneck is not None
    ceiling, knee = found.ceiling_per_s, found.knee_per_s
    yield f'<div class="verdict"><h1>{escape(name)}: what it bears</h1></div>'
    yield (
        f'<p class="lead">{_people(ceiling / each_per_s)} users ask {number(ceiling)} requests/s: '
        f"there {escape(found.bottleneck.tier)} has no core free. The knee is at "
        f"{_people(knee / each_per_s)} users ({number(knee)} requests/s), where an answer takes "
        f"{duration(found.mean_s(knee))}; alone it takes {duration(found.unloaded_s)}.</p>"
    )
    for chart in charts:
        yield f'<h2>{chart.title}</h2><div class="card">{_drawn(chart, found, each_per_s)}</div>'
    if checks:
        yield '<h2>Held to what runs</h2><div class="card"><table><thead><tr>'
        yield '<th>of the ceiling</th><th></th><th class="num">predicted</th>'
        yield '<th class="num">seen</th><th></th></tr></thead><tbody>'
        yield from map(_checked, checks)
        yield "</tbody></table></div>"


def _checked(check: Check) -> str:
    word, style = ("held", "good") if check.held else ("not held", "bad")
    return (
        f'<tr><td>{check.share:.0%}</td><td>{escape(check.what)}</td><td class="num">'
        f'{check.predicted:.4g}</td><td class="num">{check.seen:.4g}</td>'
        f'<td class="{style}">{word}</td></tr>'
    )


def _drawn(chart: _Chart, found: Model, each_per_s: float) -> str:
    most, top = found.ceiling_per_s * BEYOND, step_of(chart.top / TICKS) * TICKS

    def x(rate: float) -> float:
        return LEFT + rate / most * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - min(1.0, value / top) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in range(TICKS + 1):
        value = step_of(chart.top / TICKS) * tick
        parts.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y(value) + 4:.1f}">{chart.shown(value)}</text>'
        )
    for people in _ticks(most / each_per_s):
        rate = people * each_per_s
        parts.append(
            f'<text class="time" x="{x(rate):.1f}" y="{HEIGHT - 26}">{_people(people)}</text>'
            f'<text class="time rate" x="{x(rate):.1f}" y="{HEIGHT - 10}">{number(rate)}/s</text>'
        )
    for word, rate in (
        ("knee", found.knee_per_s),
        (f"planned: {AT_MOST:.0%} busy", AT_MOST * found.ceiling_per_s),
        ("ceiling", found.ceiling_per_s),
    ):
        style = word.partition(":")[0]
        parts.append(f'<path class="mark {style}" d="M{x(rate):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        anchor, aside = ("end", -4) if style == "knee" else ("start", 4)
        parts.append(
            f'<text class="mark {style}" text-anchor="{anchor}" x="{x(rate) + aside:.1f}" '
            f'y="{TOP - 6}">{word}</text>'
        )
    for style, points in chart.lines:
        places = "L".join(f"{x(rate):.1f} {y(value):.1f}" for rate, value in points)
        parts.append(f'<path class="line {style}" d="M{places}"/>')
    parts += [
        f'<circle class="seen" cx="{x(rate):.1f}" cy="{y(value):.1f}" r="5">'
        f"<title>simulated: {chart.shown(value)} at {number(rate)}/s</title></circle>"
        for rate, value in chart.dots
    ]
    return (
        f'<svg class="chart capacity" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{chart.title} against users">{"".join(parts)}</svg>'
    )


def _ticks(most: float) -> Iterable[float]:
    step = step_of(most / TICKS)
    return (step * tick for tick in range(1, int(most * ROOM / step) + 1))


def _people(count: float) -> str:
    """`43.2k`: so many users."""
    for word, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{word}"
    return f"{count:.0f}"
