"""Lines over time as inline SVG, with what happened drawn behind them. Pure.

Colours are CSS classes (assets/theme.css, assets/report.css): the same picture is dark or light.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

WIDTH: Final = 1080
HEIGHT: Final = 170
LEFT: Final = 64
RIGHT: Final = 12
TOP: Final = 12
BOTTOM: Final = 24
VALUE_TICKS: Final = 4
TIME_TICKS: Final = 10
LETTER: Final = 6.5
"""How wide one is, about, of the words above a band."""
STEPS: Final = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)

Point = tuple[float, float | None]
"""(seconds, value); None: nothing was measured, and the line has a gap."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series. `style` is its CSS class; `filled`: the area below it, too."""

    name: str
    style: str
    points: Sequence[Point]
    filled: bool = False


def draw(
    lines: Sequence[Line],
    spans: Sequence[Mapping[str, Any]],
    start_s: float,
    end_s: float,
    shown: Callable[[float], str],
) -> str:
    """The SVG element. `shown` formats a value; spans are those of annotations.py."""
    end_s = max(end_s, start_s + 1)
    top = _top(max((value or 0.0 for line in lines for _, value in line.points), default=0.0))
    frame = _Frame(start_s, end_s, top)
    parts = [_bands(spans, frame), _grid(frame, shown)]
    parts += [_line(line, frame) for line in lines]
    label = escape(", ".join(line.name for line in lines))
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{label} over time">{"".join(parts)}</svg>'
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a time and a value stand in the picture."""

    start_s: float
    end_s: float
    top: float

    def x(self, time_s: float) -> float:
        share = (time_s - self.start_s) / (self.end_s - self.start_s)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - min(1.0, value / self.top) * (HEIGHT - TOP - BOTTOM)


def _top(value: float) -> float:
    """The next round number: where the axis ends."""
    return step_of(value / VALUE_TICKS) * VALUE_TICKS if value > 0 else 1.0


def step_of(least: float) -> float:
    """The least round number that is no smaller."""
    scale = 10.0 ** math.floor(math.log10(least))
    return next(step * scale for step in STEPS if step * scale >= least * (1 - 1e-9))


def _grid(frame: _Frame, shown: Callable[[float], str]) -> str:
    parts = []
    for tick in range(VALUE_TICKS + 1):
        value = frame.top * tick / VALUE_TICKS
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}">{shown(value)}</text>')
    step_s = step_of((frame.end_s - frame.start_s) / TIME_TICKS)
    time_s = math.ceil(frame.start_s / step_s) * step_s
    while time_s <= frame.end_s:
        parts.append(
            f'<text class="time" x="{frame.x(time_s):.1f}" y="{HEIGHT - 6}">{time_s:g} s</text>'
        )
        time_s += step_s
    return "".join(parts)


def _bands(spans: Sequence[Mapping[str, Any]], frame: _Frame) -> str:
    """Faults as bands, moments as lines; a browser shows their text under the pointer."""
    parts = []
    ends: list[float] = []
    """Where the words of each row end: the next of them begins after it, or in another row."""
    for span in spans:
        x = frame.x(span["start_s"])
        end_s = frame.end_s if span["active"] else span["end_s"]
        title = f"<title>{span['start_s']:.1f} s: {escape(span['text'])}</title>"
        if end_s is not None:
            width = max(2.0, frame.x(end_s) - x)
            parts.append(
                f'<rect class="band {span["kind"]}" x="{x:.1f}" y="{TOP}" width="{width:.1f}" '
                f'height="{HEIGHT - TOP - BOTTOM}">{title}</rect>'
            )
            fault = span["kind"] in ("fault", "operation")
            word = span["text"].partition(" ")[0] if fault else span["kind"]
            row = next((row for row, end in enumerate(ends) if end <= x), len(ends))
            ends[row : row + 1] = [x + LETTER * (len(word) + 2)]
            parts.append(
                f'<text class="cause {span["kind"]}" x="{x + 4:.1f}" y="{TOP + 11 * (row + 1)}">'
                f"{escape(word)}</text>"
            )
        else:
            parts.append(
                f'<path class="moment {span["kind"]}" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}">'
                f"{title}</path>"
            )
    return "".join(parts)


def _line(line: Line, frame: _Frame) -> str:
    parts = []
    for run in _unbroken(line.points):
        places = [f"{frame.x(time_s):.1f} {frame.y(value):.1f}" for time_s, value in run]
        if line.filled:
            first, last, base = frame.x(run[0][0]), frame.x(run[-1][0]), HEIGHT - BOTTOM
            area = f"M{first:.1f} {base}L{'L'.join(places)}L{last:.1f} {base}Z"
            parts.append(f'<path class="area {line.style}" d="{area}"/>')
        if len(places) == 1:
            places.append(places[0])
        parts.append(f'<path class="line {line.style}" d="M{"L".join(places)}"/>')
    return "".join(parts)


def _unbroken(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    """Stretches without a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for time_s, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((time_s, value))
    return [run for run in runs if run]


def legend(lines: Sequence[Line]) -> str:
    """The names of the lines, in their colours."""
    return '<p class="legend">' + "".join(
        f'<span class="key {line.style}"></span>{escape(line.name)}' for line in lines
    ) + "</p>"  # fmt: skip
