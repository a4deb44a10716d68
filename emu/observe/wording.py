"""What an event says, as people read it on a screen or a page; in JSON it stays as it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from emu.machine.units import format_value, key_of

OF_EVERY_EVENT: Final = frozenset({"index", "time_s", "level", "event"})
OWN_COLUMNS: Final = OF_EVERY_EVENT | {"node", "tier", "region"}
"""Shown in columns of their own."""
FIRES: Final = "alert firing"
CLEARED: Final = "alert cleared"
FAULTS: Final = frozenset({"fault started", "fault ended"})
MAX_VALUE_CHARS: Final = 160
"""Longer ones are cut; as JSON they are whole."""
BETWEEN: Final = "  "
MOST_NAMED: Final = 6
"""Of the nodes that a fault takes; of more, it is told how many."""
UNSHOWN: Final = frozenset({"number", "at_s", "ended_s", "for_s", "verb", "affected", "idle"})


def fields(event: Mapping[str, Any]) -> str:
    """`server=web-2  why=status 503`; of faults and alerts sentences; "" if there is nothing."""
    return BETWEEN.join(_parts(event))


def fault_text(record: Mapping[str, Any]) -> str:
    """`kill web-2 (one web)`, `kill region us (21 nodes)`, `slow web: latency 80ms`: a fault's
    record in words."""
    values = [(key, each) for key, each in record.items() if key not in UNSHOWN]
    main, rest = (values[0][1], values[1:]) if values else ("", [])
    words = " / ".join(map(str, main)) if isinstance(main, list | tuple) else str(main)
    nodes = record.get("affected", ())
    affected = ", ".join(nodes)
    if len(nodes) > MOST_NAMED:
        words = f"{words} ({len(nodes)} nodes)"
    elif affected and affected != words:
        words = f"{affected} ({words})"
    shown = [_option(key, each) for key, each in rest if is_said(each) or key == "nodes"]
    return f"{record['verb']} {words}" + (f": {', '.join(shown)}" if shown else "")


def is_said(value: Any) -> bool:
    """Whether an option is otherwise than when nothing is said."""
    return value not in ("", None, False, 0, 0.0, "all", "none", "hold", (), [])


def _option(key: str, value: Any) -> str:
    word = key_of(key)
    if value is True:
        return word.replace("_", " ")
    shown = format_value(key, value) if isinstance(value, float) else str(value)
    return f"{word.replace('_', ' ')} {shown}"


def _parts(event: Mapping[str, Any]) -> Iterator[str]:
    said = {key: each for key, each in event.items() if key not in OWN_COLUMNS and each is not None}
    name = event["event"]
    if name == FIRES:
        yield f"{_text(said.pop('alert', ''))} ({_text(said.pop('severity', ''))})"
        yield from (_text(said.pop(key)) for key in ("why", "look") if key in said)
    elif name == CLEARED:
        why = _text(said.pop("why", ""))
        yield f"{_text(said.pop('alert', ''))}, which was: {why}"
        said.pop("severity", None)
    elif name in FAULTS and "verb" in said:
        fault = {key: each for key, each in event.items() if key not in OF_EVERY_EVENT}
        yield _text(fault_text(fault))  # the `tier` of one is what was scaled
        said = {key: each for key, each in said.items() if key == "number"}
    for key, each in said.items():
        yield _text(each) if key == name else f"{key}={_text(each)}"


def _text(value: Any) -> str:
    """Of what others say nothing is a command to anybody's terminal."""
    text = _joined(value)
    if not text.isprintable():
        text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 3] + "..."


def _joined(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(
            " ".join(map(_joined, each)) if isinstance(each, list | tuple) else _joined(each)
            for each in value
        )
    return str(value)
