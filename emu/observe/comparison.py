"""Two sides compared, as a page that needs nothing else. Pure; the figures are comparing.py's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from emu.observe.comparing import Row
from emu.observe.page import document

WIDTH: Final = 240
HEIGHT: Final = 30
MARGIN: Final = 8


SHEETS: Final = ("theme.css", "report.css", "comparison.css")
FOOTER: Final = (
    "Made by emu: both sides had the same seeds, load and faults. "
    "The figures are in this page, as JSON."
)


def render(names: tuple[str, str], rows: Sequence[Row], seeds: int, faults: str) -> str:
    """The whole HTML document."""
    title = f"{escape(names[0])} or {escape(names[1])}?"
    body = "".join(_body(names, rows, seeds, faults))
    return document(title, SHEETS, body, FOOTER, "rows", [row.record() for row in rows])


def _body(names: tuple[str, str], rows: Sequence[Row], seeds: int, faults: str) -> Iterable[str]:
    yield f'<div class="verdict"><h1>{escape(names[0])} or {escape(names[1])}?</h1></div>'
    yield f'<p class="lead">{escape(lead(rows))}</p>'
    yield f'<p class="soft">A: {escape(names[0])}<br>B: {escape(names[1])}</p>'
    yield '<h2>What differs</h2><div class="card"><table class="compared"><thead><tr><th></th>'
    yield '<th class="num">A</th><th class="num">B</th><th class="num">B &minus; A</th>'
    yield "<th>each seed, and their mean</th>"
    yield "<th></th></tr></thead><tbody>"
    for row in rows:
        a, b, difference, between = row.cells
        style = "good" if row.better == "b" else "bad" if row.better == "a" else "soft"
        yield f"<tr><td>{escape(row.measure.text)}</td>"
        yield f'<td class="num" data-of="A">{a}</td><td class="num" data-of="B">{b}</td>'
        yield f'<td class="num" data-of="B &minus; A">{difference}</td>'
        yield f'<td>{_strip(row, style)}<span class="soft between">{between}</span></td>'
        yield f'<td class="{style}">{row.says}</td></tr>'
    yield "</tbody></table></div>"
    yield f'<p class="soft">{seeds} seeds, each run twice; faults: {escape(faults)}. A dot is a '
    yield "seed's own difference; the bar holds the mean with 95% confidence (bootstrap of pairs). "
    yield "Where the bar crosses zero the seeds do not tell.</p>"


def lead(rows: Sequence[Row]) -> str:
    """What is sure, in a sentence or two."""
    parts = []
    for side in ("a", "b"):
        won = [each.measure.text for each in rows if each.better == side]
        if won:
            parts.append(f"{side.upper()} is better in {_listed(won)}.")
    return " ".join(parts) or "The seeds do not tell them apart: take more, or other faults."


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _strip(row: Row, style: str) -> str:
    """The seeds' differences and the interval on one axis, zero in its middle."""
    most = max((abs(value) for value in row.pairs), default=0.0) or 1.0
    half = WIDTH / 2 - MARGIN

    def x(value: float) -> float:
        return WIDTH / 2 + value / most * half

    dots = "".join(
        f'<circle cx="{x(value):.1f}" cy="{HEIGHT / 2}" r="2.5"/>' for value in row.pairs
    )
    bar = ""
    if row.low is not None and row.high is not None:
        left, width = x(row.low), max(2.0, x(row.high) - x(row.low))
        top = HEIGHT / 2 - 6
        bar = f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="12" rx="3"/>'
    label = escape(f"{row.measure.text}: {row.cells[3]}")
    return (
        f'<svg class="strip {style}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{label}"><line x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="2" y2="{HEIGHT - 2}"/>'
        f"{bar}{dots}</svg>"
    )
