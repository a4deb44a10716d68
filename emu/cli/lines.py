"""One event as one line: for people (with colour where there is some) and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text

from emu.observe import wording
from nodes.parts import jsons

SHOWN_FIRST: Final = 3
MOST_REMEMBERED: Final = 200
"""Kinds of failures, of those that were told lately."""
MARKS: Final = {"warning": "! ", "error": "✗ "}
STYLES: Final = {"debug": "dim", "warning": "yellow", "error": "bold red"}


def as_text(event: Mapping[str, Any]) -> Text:
    """`    1.234s   lb-1         server up  server=web-2`."""
    said = wording.fields(event)
    level = str(event["level"])
    line = Text()
    line.append(f"{event['time_s']:9.3f}s ", style="dim")
    line.append(MARKS.get(level, "  "), style=STYLES.get(level))
    line.append(f"{event.get('node', 'emu')!s:<12} ", style="cyan")
    line.append(str(event["event"]), style=STYLES.get(level, "default"))
    if said:
        line.append(f"  {said}", style="dim")
    return line


def as_json(event: Mapping[str, Any]) -> str:
    return jsons.dumps(event)


class Repeats:
    """Who fails at each request says so each time: the first times are shown, then the 10th, the
    100th and so on."""

    def __init__(self) -> None:
        self._times: dict[tuple[Any, str, str], int] = {}

    def shown(self, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The event as it is to be shown; None: not again."""
        if event["level"] != "error":
            return event
        key = (event.get("node"), str(event["event"]), wording.fields(event))
        if len(self._times) >= MOST_REMEMBERED and key not in self._times:
            self._times.clear()
        times = self._times[key] = self._times.get(key, 0) + 1
        if times <= SHOWN_FIRST:
            return event
        power = str(times).strip("0") == "1"
        return {**event, "times": times} if power else None
