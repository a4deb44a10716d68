"""Structured fields (RFC 8941), as far as a cache has to do with them: a dictionary is read,
strings are written.

A parser of all of it is a package of its own; what caching needs is the one shape below. A field
that breaks the rules anywhere is no field at all: there is no half of a dictionary.
"""

from __future__ import annotations

import re
from typing import Final

_KEY: Final = r"[a-z*][-a-z0-9_.*]*"
_STRING: Final = r'"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
_ITEM: Final = (
    r"(?:-?\d{1,12}\.\d{1,3}(?!\d)|-?\d{1,15}(?![\d.])"
    rf"|{_STRING}"
    r"|[A-Za-z*][-A-Za-z0-9!#$%&'*+.^_`|~:/]*"
    r"|:[A-Za-z0-9+/=]*:|\?[01])"
)
_PARAMETERS: Final = rf"(?:; *{_KEY}(?:={_ITEM})?)*"
_VALUE: Final = rf"(?:{_ITEM}|\( *(?:{_ITEM}{_PARAMETERS}(?: +|(?=\))))*\))"
_MEMBER: Final = re.compile(rf"({_KEY})(?:=({_VALUE}))?{_PARAMETERS}")
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")
_INTEGER: Final = re.compile(r"-?\d{1,15}")

Value = int | bool | str
"""An integer, a boolean; anything else as it is written."""


def dictionary(text: str) -> dict[str, Value] | None:
    """Its members, without parameters; of a key that comes twice the last counts. None: it is no
    dictionary."""
    text = text.strip(" ")
    found: dict[str, Value] = {}
    place = 0
    while place < len(text):
        member = _MEMBER.match(text, place)
        if member is None:
            return None
        found[member[1]] = _value(member[2])
        place = member.end()
        if place == len(text):
            break
        comma = _COMMA.match(text, place)
        if comma is None or comma.end() == len(text):
            return None
        place = comma.end()
    return found


def _value(text: str | None) -> Value:
    if text is None or text == "?1":
        return True
    if text == "?0":
        return False
    return int(text) if _INTEGER.fullmatch(text) else text


def string(text: str) -> str:
    """Written as a string; what one cannot hold becomes a question mark."""
    kept = "".join(each if " " <= each <= "~" else "?" for each in text)
    escaped = kept.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
