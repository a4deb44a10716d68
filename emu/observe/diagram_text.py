"""A message diagram for a terminal: a column for each node, a line for each message, time downward.

Pure: a Diagram in, lines out. Colour is for whoever prints them (each line has a word for it).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from emu.observe.diagram import DOWN, PAUSED, Arrow, Diagram, Mark, took

TIME_CHARS: Final = 12
DELAY_CHARS: Final = 10
NUMBER_CHARS: Final = 8
LEAST_LANE_CHARS: Final = 14
MOST_LANE_CHARS: Final = 30
GAP_S: Final = 0.5
"""A silence this long is shown as one."""
POSTS: Final = {"": "│", DOWN: " ", PAUSED: "┊"}


class Line(NamedTuple):
    """`tone`: head, request, response, failed, lost, faint, fault, mark or gap."""

    text: str
    tone: str


def as_text(diagram: Diagram, *, width_chars: int = 120) -> list[Line]:
    """The diagram in at most `width_chars` columns, if its lanes fit."""
    lanes = len(diagram.lanes)
    room = (width_chars - TIME_CHARS - DELAY_CHARS - NUMBER_CHARS) // max(lanes, 1)
    return _Page(diagram, max(LEAST_LANE_CHARS, min(MOST_LANE_CHARS, room))).lines()


class _Page:
    def __init__(self, diagram: Diagram, lane_chars: int) -> None:
        self.diagram = diagram
        self.lane_chars = lane_chars
        self.place = {lane.name: number for number, lane in enumerate(diagram.lanes)}

    def lines(self) -> list[Line]:
        found = [self._head()]
        last_s = self.diagram.begin_s
        for time_s, item in self._items():
            if time_s - last_s >= GAP_S:
                found.append(Line(self._posts(last_s, f"… {time_s - last_s:.3g} s"), "gap"))
            last_s = time_s
            found.append(self._arrow(item) if isinstance(item, Arrow) else self._mark(item))
        return found

    def _items(self) -> list[tuple[float, Arrow | Mark]]:
        items: list[tuple[float, Arrow | Mark]] = [
            (arrow.first.sent_s, arrow) for arrow in self.diagram.arrows
        ]
        items += [(mark.time_s, mark) for mark in self.diagram.marks]
        return sorted(items, key=lambda item: item[0])

    def _head(self) -> Line:
        names = "".join(self._centred(lane.name) for lane in self.diagram.lanes)
        known = any(arrow.request for arrow in self.diagram.arrows)
        more = f"{'took':>{DELAY_CHARS}}" + (f"{'request':>{NUMBER_CHARS}}" if known else "")
        return Line(f"{'time':>{TIME_CHARS - 2}}  {names}{more}", "head")

    def _centred(self, name: str) -> str:
        return name[: self.lane_chars - 1].center(self.lane_chars)

    def _middle(self, lane: int) -> int:
        """Where the post of a lane stands, counted from the first lane's left."""
        return lane * self.lane_chars + (self.lane_chars - 1) // 2

    def _row(self, time_s: float) -> list[str]:
        row = [" "] * (self.lane_chars * len(self.diagram.lanes))
        for number, lane in enumerate(self.diagram.lanes):
            row[self._middle(number)] = POSTS[lane.state(time_s)]
        return row

    def _posts(self, time_s: float, left: str) -> str:
        return f"{left:>{TIME_CHARS - 2}}  {''.join(self._row(time_s))}".rstrip()

    def _arrow(self, arrow: Arrow) -> Line:
        message = arrow.first
        row = self._row(message.sent_s)
        start, end = (self._middle(self.place[each]) for each in (message.source, message.target))
        if start == end:
            self._write(row, start + 1, f"↻ {arrow.label}")
        else:
            self._draw(row, start, end, arrow)
        way = "lost" if message.arrived_s is None else took(message.arrived_s - message.sent_s)
        number = f"#{arrow.request}" if arrow.request else ""
        more = f"{way:>{DELAY_CHARS}}{number:>{NUMBER_CHARS}}".rstrip()
        return Line(f"{_time(message.sent_s)}  {''.join(row)}{more}", _tone(arrow))

    def _draw(self, row: list[str], start: int, end: int, arrow: Arrow) -> None:
        """A line from post to post with the label in its middle, and a head (or a cross)."""
        left, right = min(start, end) + 1, max(start, end)
        rightward = end > start
        stroke = "╌" if arrow.faint or arrow.first.kind == "response" else "─"
        for place in range(left, right):
            row[place] = stroke
        row[start] = "├" if rightward else "┤"
        head = "╳" if arrow.lost else "▶" if rightward else "◀"
        row[right - 1 if rightward else left] = head
        room = right - left - 3
        label = f" {arrow.label} " if len(arrow.label) + 2 <= room else arrow.label[:room]
        self._write(row, left + 1 + (room - len(label) + 1) // 2, label)

    def _write(self, row: list[str], place: int, text: str) -> None:
        for offset, letter in enumerate(text):
            if 0 <= place + offset < len(row):
                row[place + offset] = letter

    def _mark(self, mark: Mark) -> Line:
        row = self._row(mark.time_s)
        if mark.lane == "":
            text = f"══ {mark.text} "
            row = list(text.ljust(len(row), "═")[: max(len(row), len(text))])
            return Line(f"{_time(mark.time_s)}  {''.join(row)}", "fault")
        place = self._middle(self.place[mark.lane])
        row[place] = SYMBOLS.get(mark.kind, "•")
        self._write(row, place + 2, mark.text)
        return Line(f"{_time(mark.time_s)}  {''.join(row)}".rstrip(), "mark")


SYMBOLS: Final = {
    "kill": "✖", "crash": "✖", "pause": "‖", "unpause": "▷", "boot": "▲", "synced": "▪",
}  # fmt: skip


def _tone(arrow: Arrow) -> str:
    if arrow.lost:
        return "lost"
    if arrow.failed:
        return "failed"
    return "faint" if arrow.faint else arrow.first.kind


def _time(seconds: float) -> str:
    return f"{seconds:>{TIME_CHARS - 2}.6f}"
