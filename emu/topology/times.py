"""The times of a tier's own options: none is finer than timers are, and no timeout is over at once,
unless the option itself is that by default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from typing import Any, Final

from emu.machine.units import format_value, key_of
from emu.topology.document import Document, Path

LEAST_S: Final = 0.001
TIME: Final = "_s"
RATE: Final = "_per_s"
TIMEOUT: Final = "timeout_s"


def check(document: Document, place: Path, config: Any) -> None:
    """Note what no cluster could keep to. (None: other mistakes were found in it.)"""
    for where, each, value in _times(place, config) if config is not None else ():
        key = key_of(each.name)
        ends_at_once = value == 0 and each.name.endswith(TIMEOUT) and each.default != 0
        if ends_at_once or 0 < value < LEAST_S:
            written = format_value(each.name, value)
            document.problem(where, f"`{key}` must be at least 1ms, not {written}: "
                             "a timer is no finer")  # fmt: skip


def _times(place: Path, config: Any) -> Iterator[tuple[Path, Field[Any], float]]:
    """Of the options, and of mappings of them by names, those that are times."""
    for each in fields(config):
        value, where = getattr(config, each.name), (*place, key_of(each.name))
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from _times((*where, name), inner) if is_dataclass(inner) else ()
        elif _is_time(each.name) and isinstance(value, (int, float)) and value != each.default:
            yield where, each, value


def _is_time(name: str) -> bool:
    return name.endswith(TIME) and not name.endswith(RATE)
