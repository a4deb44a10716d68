"""What all nodes told, in order of time: events and lines about requests, picked by what somebody
looks for. Pure but for where it looks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emu.machine.events import Events
from emu.machine.levels import LEVELS

Cursor = tuple[int, int]
"""Where to go on: the next event's index, and the next request's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines. Empty: all of them."""

    nodes: Collection[str] | None = None
    request: str = ""
    """The id of one request, as an answer or a line has it."""
    grep: str = ""
    """A text that stands somewhere in the line, in any case."""
    level: str = LEVELS[0]
    since_s: float = 0.0

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"there is no level `{self.level}`: {', '.join(LEVELS)}")

    def has(self, line: Mapping[str, Any]) -> bool:
        if self.nodes is not None and line.get("node") not in self.nodes:
            return False
        if self.request and line.get("request") != self.request:
            return False
        if line["time_s"] < self.since_s:
            return False
        if LEVELS.index(line["level"]) < LEVELS.index(self.level):
            return False
        return not self.grep or self.grep.casefold() in _text(line)


def _text(line: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in line.items()).casefold()


def cursor_of(values: Sequence[int] | None) -> Cursor:
    """As it came over the wire; None: from the first line on. Raises ValueError."""
    event, request = values or (0, 0)
    return event, request


def lines(events: Events, wanted: Wanted, cursor: Cursor) -> tuple[list[Mapping[str, Any]], Cursor]:
    """Those from the cursor on, and where to go on."""
    found: Iterable[Mapping[str, Any]] = (
        *events.since(cursor[0]),
        *events.requests.since(cursor[1]),
    )
    kept = sorted((each for each in found if wanted.has(each)), key=lambda line: line["time_s"])
    return kept, (events.next_index, events.requests.next_index)
