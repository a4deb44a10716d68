"""Where the parts of a drawn message diagram stand: lanes across, time downward, labels apart.

Pure geometry, in pixels. Time is stretched so that everything can be read: a moment in which
something happens gets a row, a silence only a little more.
"""

from __future__ import annotations

from bisect import bisect_right
from math import atan, degrees, log10
from typing import Final, NamedTuple

from emu.observe.diagram import Arrow, Diagram, Mark, took

AXIS_PX: Final = 92
WIDE_LANE_PX: Final = 250
NARROW_LANE_PX: Final = 178
WIDE_LANES: Final = 4
"""So many lanes may be wide."""
HEAD_PX: Final = 58
TOP_PX: Final = 22
BOTTOM_PX: Final = 30
ROW_PX: Final = 24
ARRIVAL_PX: Final = 5
STRETCH_PX: Final = 9
STRETCH_UNIT_S: Final = 1e-4
MOST_STRETCH_PX: Final = 34
GAP_S: Final = 0.5
"""A silence this long is told in words."""
GAP_PX: Final = 40
CHAR_PX: Final = 6.65
LABEL_PX: Final = 13
LONG_PX: Final = 150
"""An arrow that falls deeper than this is drawn in two parts."""
STUB_SHARE: Final = 0.78
LOST_SHARE: Final = 0.72
ARRIVES: Final = "arrives"
LEAVES: Final = "leaves"
THREAD: Final = "thread"
LOST: Final = "lost"
LABEL_PLACES: Final = (0.5, 0.36, 0.64, 0.24, 0.76)
"""Where along an arrow its label may stand, the best first."""


class Label(NamedTuple):
    """A text with its middle, along a line of that slope."""

    x: float
    y: float
    degrees: float
    text: str


class Stroke(NamedTuple):
    """A straight line of an arrow. `kind`: arrives (with a head), leaves, thread or lost."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str
    label: Label | None


class Gap(NamedTuple):
    y: float
    seconds: float


class Layout:
    """Positions of everything in one diagram."""

    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        few = len(diagram.lanes) <= WIDE_LANES
        self.lane_px = WIDE_LANE_PX if few else NARROW_LANE_PX
        self.place = {lane.name: number for number, lane in enumerate(diagram.lanes)}
        self.gaps: list[Gap] = []
        self._times: list[float] = []
        self._heights: list[float] = []
        self._set_rows()
        self._boxes: list[tuple[float, float, float, float]] = []

    @property
    def width_px(self) -> float:
        return AXIS_PX + self.lane_px * len(self.diagram.lanes) + 40

    @property
    def height_px(self) -> float:
        return self._heights[-1] + BOTTOM_PX

    def x(self, lane: str) -> float:
        return AXIS_PX + self.lane_px * (self.place[lane] + 0.5)

    def y(self, time_s: float) -> float:
        """Straight lines between the moments that have a row; beyond them the ends."""
        place = bisect_right(self._times, time_s) - 1
        if place < 0:
            return self._heights[0] - TOP_PX / 2
        if place + 1 >= len(self._times):
            return self._heights[-1] + (BOTTOM_PX / 2 if time_s > self._times[-1] else 0)
        begin_s, end_s = self._times[place], self._times[place + 1]
        share = (time_s - begin_s) / (end_s - begin_s)
        begin, end = self._heights[place], self._heights[place + 1]
        return begin + share * (end - begin)

    def rows(self) -> list[tuple[float, float]]:
        """(time, y) of the moments that the axis shall name."""
        named = sorted({arrow.first.sent_s for arrow in self.diagram.arrows})
        found: list[tuple[float, float]] = []
        for time_s in named:
            y = self.y(time_s)
            if not found or y - found[-1][1] >= LABEL_PX + 2:
                found.append((time_s, y))
        return found

    def _set_rows(self) -> None:
        begins = {arrow.first.sent_s for arrow in self.diagram.arrows}
        begins |= {mark.time_s for mark in self.diagram.marks}
        ends = {
            arrow.first.arrived_s
            for arrow in self.diagram.arrows
            if arrow.first.arrived_s is not None
        }
        height = float(TOP_PX)
        for time_s in sorted(begins | ends):
            if self._times:
                silence_s = time_s - self._times[-1]
                step: float = ROW_PX if time_s in begins else ARRIVAL_PX
                step += min(MOST_STRETCH_PX, STRETCH_PX * log10(1 + silence_s / STRETCH_UNIT_S))
                if silence_s >= GAP_S:
                    self.gaps.append(Gap(height + GAP_PX, silence_s))
                    step = 2 * GAP_PX
                height += step
            self._times.append(time_s)
            self._heights.append(height)

    # --- arrows and labels -------------------------------------------------------------------

    def strokes(self, arrow: Arrow) -> list[Stroke]:
        """The lines that make an arrow. One that is long under way leaves and arrives in two short
        ones, with a thread between them; one that got lost ends on its way."""
        message, text = arrow.first, arrow.label
        x1, y1, x2 = self.x(message.source), self.y(message.sent_s), self.x(message.target)
        if message.arrived_s is None:
            end = x1 + (x2 - x1) * LOST_SHARE, y1 + ROW_PX * 0.6
            return [self._stroke(x1, y1, *end, LOST, text)]
        y2 = self.y(message.arrived_s)
        if y2 - y1 <= LONG_PX:
            return [self._stroke(x1, y1, x2, y2, ARRIVES, text)]
        reach = (x2 - x1) * STUB_SHARE
        late = f" ({took(message.arrived_s - message.sent_s)})"
        leaves = self._stroke(x1, y1, x1 + reach, y1 + ROW_PX * 0.6, LEAVES, text, late)
        arrives = self._stroke(x2 - reach, y2 - ROW_PX * 0.6, x2, y2, ARRIVES, text)
        thread = Stroke(leaves.x2, leaves.y2, arrives.x1, arrives.y1, THREAD, None)
        return [leaves, thread, arrives]

    def _stroke(
        self, x1: float, y1: float, x2: float, y2: float, kind: str, text: str, more: str = ""
    ) -> Stroke:
        """With its label along the line, if there is a place where it covers no other."""
        most_chars = int((min(abs(x2 - x1), 2 * self.lane_px) - 30) / CHAR_PX) - len(more)
        if len(text) > most_chars:
            text = f"{text[: max(most_chars - 1, 1)]}…"
        text += more
        half = len(text) * CHAR_PX / 2
        for share in LABEL_PLACES:
            x, y = x1 + (x2 - x1) * share, y1 + (y2 - y1) * share
            if self._is_free(x - half, y - LABEL_PX, x + half, y - 1):
                label = Label(x, y, degrees(atan((y2 - y1) / (x2 - x1))), text)
                return Stroke(x1, y1, x2, y2, kind, label)
        return Stroke(x1, y1, x2, y2, kind, None)

    def reserve(self, mark: Mark) -> tuple[float, float]:
        """Where a lane's mark stands; no label will be put over its words."""
        x, y = self.x(mark.lane), self.y(mark.time_s)
        self._is_free(x - 8, y - 8, x + 14 + len(mark.text) * CHAR_PX, y + 8)
        return x, y

    def _is_free(self, left: float, top: float, right: float, bottom: float) -> bool:
        """Take the box if nothing is there yet."""
        for box in self._boxes:
            if left < box[2] and box[0] < right and top < box[3] and box[1] < bottom:
                return False
        self._boxes.append((left, top, right, bottom))
        return True
