"""A message diagram as a picture: SVG, or a page around it. Self-contained, for dark and light.

Pure: a Diagram in, text out. Where things stand is diagram_layout.py's, what a reader may do on the
page (point at a message, see its request) is diagram.js's beside this file.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Final

from emu.observe.diagram import Arrow, Diagram, Lane, Mark, took
from emu.observe.diagram_layout import (
    ARRIVES,
    AXIS_PX,
    GAP_PX,
    HEAD_PX,
    LOST,
    THREAD,
    Layout,
    Stroke,
)

SYMBOLS: Final = {
    "kill": "✖", "crash": "⚡", "pause": "‖", "unpause": "▶", "boot": "▲", "synced": "▪",
}  # fmt: skip
LEGEND: Final = (
    ("request", "request"), ("response", "answer"), ("failed", "refusal or error"),
    ("lost", "never arrived"), ("faint", "beside the request"),
)  # fmt: skip


def as_svg(diagram: Diagram) -> str:
    """One picture."""
    painter = _Painter(diagram)
    width, height = painter.layout.width_px, HEAD_PX + painter.layout.height_px
    body = f'<g transform="translate(0 {HEAD_PX})">{painter.body()}</g>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(diagram.title)}">'
        f"<style>{_asset('diagram.css')}</style>{_ARROW_HEADS}"
        f'<rect class="paper" width="100%" height="100%"/>{painter.head()}{body}</svg>\n'
    )


def as_html(diagram: Diagram) -> str:
    """A page: the lanes' names stay in sight, and whoever points at a message sees all of it."""
    painter = _Painter(diagram)
    layout = painter.layout
    body = painter.body()
    keys = "".join(
        f'<span class="key"><svg width="34" height="10">{_sample(word)}</svg>{text}</span>'
        for word, text in LEGEND
    )
    more = f"{diagram.left_out} more messages are not shown" if diagram.left_out else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(diagram.title)}</title>
<style>{_asset("diagram.css")}</style></head>
<body>
<header><h1>{escape(diagram.title)}</h1><p>{keys}<span class="more">{more}</span></p></header>
<div class="names"><svg width="{layout.width_px:g}" height="{HEAD_PX}">{painter.head()}</svg></div>
<svg class="diagram" width="{layout.width_px:g}" height="{layout.height_px:g}" role="img"
 aria-label="{escape(diagram.title)}">{_ARROW_HEADS}{body}</svg>
<pre class="told" hidden></pre>
<script>{_asset("diagram.js")}</script>
</body></html>
"""


def _asset(name: str) -> str:
    return (files("emu.observe") / name).read_text(encoding="utf-8")


_ARROW_HEADS: Final = "<defs>{}</defs>".format(
    "".join(
        f'<marker id="head-{tone}" viewBox="0 0 9 8" refX="9" refY="4" markerWidth="9" '
        f'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="fill-{tone}" d="M0 0 L9 4 L0 8 z"/></marker>'
        for tone in ("request", "response", "failed", "notice", "bytes")
    )
)


def _sample(word: str) -> str:
    tone = "request" if word == "faint" else word
    return f'<g class="arrow {word} {tone}"><line class="line" x1="2" y1="5" x2="32" y2="5"/></g>'


class _Painter:
    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        self.layout = Layout(diagram)

    def head(self) -> str:
        """The lanes' names."""
        width = self.layout.lane_px - 26
        boxes = [f'<text class="time" x="{AXIS_PX - 14}" y="33">seconds</text>']
        tiers = list(dict.fromkeys(lane.tier for lane in self.diagram.lanes))
        for lane in self.diagram.lanes:
            x, hue = self.layout.x(lane.name), tiers.index(lane.tier) % 6
            boxes.append(
                f'<g class="name hue{hue}"><rect x="{x - width / 2:g}" y="14" width="{width:g}" '
                f'height="30" rx="6"/><text x="{x:g}" y="33">{escape(lane.name)}</text></g>'
            )
        return "".join(boxes)

    def body(self) -> str:
        layout, diagram = self.layout, self.diagram
        parts = [self._post(lane) for lane in diagram.lanes]
        parts += [self._busy(arrow) for arrow in diagram.arrows if not arrow.faint]
        parts += [self._spans(lane) for lane in diagram.lanes]
        parts += [
            f'<text class="time" x="{AXIS_PX - 14}" y="{y + 4:.1f}">{time_s:.6f}</text>'
            for time_s, y in layout.rows()
        ]
        parts += [
            f'<rect class="gap" x="0" y="{gap.y - GAP_PX / 2:.1f}" width="{layout.width_px:g}" '
            f'height="{GAP_PX}"/><text class="gap-text" x="{AXIS_PX - 14}" y="{gap.y + 4:.1f}">'
            f"… {gap.seconds:.3g} s</text>"
            for gap in layout.gaps
        ]
        parts += [self._mark(mark) for mark in diagram.marks]
        parts += [self._arrow(arrow) for arrow in diagram.arrows]
        return "".join(parts)

    def _post(self, lane: Lane) -> str:
        x, bottom = self.layout.x(lane.name), self.layout.height_px
        return f'<line class="post" x1="{x:g}" y1="0" x2="{x:g}" y2="{bottom:.1f}"/>'

    def _spans(self, lane: Lane) -> str:
        """When it was down or paused."""
        layout, x, parts = self.layout, self.layout.x(lane.name), []
        for span in lane.spans:
            top, end = layout.y(span.begin_s), layout.y(span.end_s)
            if end > top:
                parts.append(
                    f'<rect class="{span.state}" x="{x - 7:g}" y="{top:.1f}" width="14" '
                    f'height="{end - top:.1f}"><title>{lane.name} {span.state} from '
                    f"{span.begin_s:.6g} s</title></rect>"
                )
        return "".join(parts)

    def _busy(self, arrow: Arrow) -> str:
        """The node works on a request: from its arrival until the answer leaves."""
        first, layout = arrow.first, self.layout
        if first.arrived_s is None or first.answered_s is None:
            return ""
        top, end = layout.y(first.arrived_s), layout.y(first.answered_s)
        return (
            f'<rect class="busy" x="{layout.x(first.target) - 4:g}" y="{top:.1f}" width="8" '
            f'height="{max(end - top, 1):.1f}"/>'
        )

    def _arrow(self, arrow: Arrow) -> str:
        tone, trace = tone_of(arrow), arrow.first.trace
        classes = f"arrow {tone}" + (" faint" if arrow.faint else "")
        strokes = "".join(_stroke(stroke, tone) for stroke in self.layout.strokes(arrow))
        return (
            f'<g class="{classes}" data-trace="{"" if trace is None else f"{trace:x}"}">'
            f"<title>{escape(told(arrow))}</title>{strokes}</g>"
        )

    def _mark(self, mark: Mark) -> str:
        layout = self.layout
        if mark.lane == "":
            y, right = layout.y(mark.time_s), layout.width_px
            return (
                f'<g class="mark {mark.kind}"><line x1="{AXIS_PX - 8}" y1="{y:.1f}" '
                f'x2="{right:g}" y2="{y:.1f}"/><text x="{AXIS_PX - 4}" y="{y - 5:.1f}">'
                f"{escape(mark.text)}</text></g>"
            )
        x, y = layout.reserve(mark)
        symbol = SYMBOLS.get(mark.kind, "•")
        ring = f'<circle cx="{x:g}" cy="{y:.1f}" r="8"/>' if mark.kind != "synced" else ""
        return (
            f'<g class="mark {mark.kind}"><title>{mark.lane} {escape(mark.text)} at '
            f"{mark.time_s:.6f} s</title>{ring}"
            f'<text class="symbol" x="{x:g}" y="{y + 4:.1f}">{symbol}</text>'
            f'<text x="{x + 13:g}" y="{y + 4:.1f}">{escape(mark.text)}</text></g>'
        )


def _stroke(stroke: Stroke, tone: str) -> str:
    line = f'x1="{stroke.x1:.1f}" y1="{stroke.y1:.1f}" x2="{stroke.x2:.1f}" y2="{stroke.y2:.1f}"'
    if stroke.kind == THREAD:
        return f'<line class="thread" {line}/>'
    end = f' marker-end="url(#head-{tone})"' if stroke.kind == ARRIVES else ""
    words = f'<line class="touch" {line}/><line class="line" {line}{end}/>'
    label = stroke.label
    if label is not None:
        turn = f"translate({label.x:.1f} {label.y:.1f}) rotate({label.degrees:.1f})"
        words += f'<text transform="{turn}" y="-4">{escape(label.text)}</text>'
    if stroke.kind == LOST:
        words += f'<text class="cross" x="{stroke.x2:.1f}" y="{stroke.y2 + 5:.1f}">✕</text>'
    return words


def tone_of(arrow: Arrow) -> str:
    """Its class: lost, failed, or the message's kind."""
    if arrow.lost:
        return "lost"
    return "failed" if arrow.failed else arrow.first.kind


def told(arrow: Arrow) -> str:
    """All there is to say of an arrow."""
    first = arrow.first
    if first.arrived_s is None:
        times = f"sent at {first.sent_s:.6f} s, never arrived"
    else:
        later = took(first.arrived_s - first.sent_s)
        times = f"sent at {first.sent_s:.6f} s, arrived {later} later"
    lines = [f"{first.source} → {first.target}, connection {first.connection}", times]
    if arrow.request:
        lines.append(f"of request {arrow.request} (--request {arrow.request} shows it alone)")
    for each in arrow.messages:
        lines += ["", each.label, each.detail] if each.detail else ["", each.label]
    return "\n".join(lines)
