"""Anything that nodes answer, as JSON that every reader takes: without NaN and Infinity, which only
some do, with text for keys, and with bytes as the text that they may be."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(value: Any, **how: Any) -> str:
    """One JSON value, written as `json.dumps` would with `how`.

    Numbers that are none are text (`"NaN"`, `"-Infinity"`), as in PostgreSQL.
    """
    try:
        return json.dumps(value, allow_nan=False, default=plain, **how)
    except (ValueError, TypeError):
        return json.dumps(plain(value), allow_nan=False, **how)


def plain(value: Any) -> Any:
    """The same of what JSON has; whatever it has not is text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else _no_number(value)
        case bytes():
            return value.decode("utf-8", "replace")
        case dict():
            found = {}
            for key, each in value.items():  # a comprehension would take a frame of its own,
                found[_key(key)] = plain(each)  # and nested values are as deep as MessagePack goes
            return found
        case list() | tuple():
            return list(map(plain, value))
    return str(value)


def _no_number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _key(key: Any) -> str:
    shown = plain(key)
    return shown if isinstance(shown, str) else json.dumps(shown)
