"""One event as one line: for people (with colour where there is some) and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text

from nodes.parts import jsons

OWN_COLUMNS: Final = ("index", "time_s", "level", "event", "node", "tier", "region")
MAX_VALUE_CHARS: Final = 160
"""Longer ones are cut; as JSON they are whole."""
MARKS: Final = {"warning": "! ", "error": "✗ "}
STYLES: Final = {"debug": "dim", "warning": "yellow", "error": "bold red"}


def as_text(event: Mapping[str, Any]) -> Text:
    """`    1.234s   lb-1         server up  server=web-2`."""
    extra = "  ".join(f"{key}={_value(each)}" for key, each in _extra(event) if each is not None)
    level = str(event["level"])
    line = Text()
    line.append(f"{event['time_s']:9.3f}s ", style="dim")
    line.append(MARKS.get(level, "  "), style=STYLES.get(level))
    line.append(f"{event.get('node', 'emu')!s:<12} ", style="cyan")
    line.append(str(event["event"]), style=STYLES.get(level, "default"))
    if extra:
        line.append(f"  {extra}", style="dim")
    return line


def as_json(event: Mapping[str, Any]) -> str:
    return jsons.dumps(event)


def _extra(event: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in event.items() if key not in OWN_COLUMNS]


def _value(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if not text.isprintable():  # what others say is no command of anybody's terminal
        text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 3] + "..."
