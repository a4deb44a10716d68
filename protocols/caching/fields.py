"""Header fields as a cache reads them: lists, directives, and which fields end at a connection.

What a directive means is known in policy.py and above; nothing here knows a clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

Headers = Sequence[tuple[str, str]]
"""Names are lower case."""

_TOKEN: Final = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_MEMBER: Final = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*+"?)+')
"""A quote that is never closed runs to the end, so that each character is looked at once."""
_DIRECTIVE: Final = re.compile(rf"({_TOKEN})(?:=({_TOKEN}|{_QUOTED}|[^,]*))?")
_NAME: Final = re.compile(_TOKEN)
_TAG: Final = re.compile(r'(?:W/)?"[^"]*"|[^\s,]+')
_ESCAPE: Final = re.compile(r"\\(.)")
_WHITESPACE: Final = " \t"

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""What is said to a neighbour, and neither forwarded nor stored (RFC 9110, 7.6.1)."""


def combined(headers: Headers, name: str) -> str | None:
    """All lines of a field as one list; None if there is none."""
    values = [value for key, value in headers if key == name]
    return ", ".join(values) if values else None


def first(headers: Headers, name: str) -> str | None:
    """The first line of a field that may only be there once."""
    for key, value in headers:
        if key == name:
            return value
    return None


def members(value: str) -> list[str]:
    """A list's members; a comma in a quoted string ends none (RFC 9110, 5.6.1)."""
    found = (each.strip(_WHITESPACE) for each in _MEMBER.findall(value))
    return [each for each in found if each]


def directives(value: str) -> dict[str, str | None]:
    """`Cache-Control`'s, by lower-case name; of one that comes twice the first counts (RFC 9111,
    4.2.1). What is no directive is ignored, as unknown ones are."""
    found: dict[str, str | None] = {}
    for member in members(value):
        match = _DIRECTIVE.fullmatch(member)
        if match is not None:
            argument = match[2]
            found.setdefault(match[1].lower(), None if argument is None else unquoted(argument))
    return found


def unquoted(argument: str) -> str:
    """A quoted string's content; anything else as it is."""
    if len(argument) > 1 and argument[0] == argument[-1] == '"':
        return _ESCAPE.sub(r"\1", argument[1:-1])
    return argument


def tags(value: str) -> list[str]:
    """A list of entity tags, in which a backslash is one as any other character (RFC 9110,
    8.8.3)."""
    return _TAG.findall(value)


def is_token(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def names(value: str | None) -> tuple[str, ...]:
    """A list of field names, in lower case."""
    return tuple(each.lower() for each in members(value or ""))


def end_to_end(headers: Iterable[tuple[str, str]], connection: str | None) -> list[tuple[str, str]]:
    """Without what was meant for the next hop only: the fields that are known to be, and those that
    `Connection` names."""
    dropped = names(connection) if connection else ()
    return [pair for pair in headers if pair[0] not in HOP_BY_HOP and pair[0] not in dropped]


def forwarded(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The same of a request, whose fields are joined."""
    return end_to_end(headers.items(), headers.get("connection"))
