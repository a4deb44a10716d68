"""Which of the responses to one URL is an answer to this request: `Vary` (RFC 9111, 4.1).

A field's value is compared in one form, so that blanks, and the order of languages or codings of
the same weight, make no difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from protocols.caching.fields import Headers, combined, members, names

ANY: Final = "*"
_WEIGHED: Final = frozenset({"accept", "accept-charset", "accept-encoding", "accept-language"})
_QUALITY: Final = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)

Selecting = tuple[tuple[str, str | None], ...]
"""The fields by which a response was chosen, and what they were; None: there was no such field."""


def selecting(headers: Headers, request: Mapping[str, str]) -> Selecting | None:
    """Of the response with these headers, to that request; None: no other request is like it."""
    vary = combined(headers, "vary")
    if vary is None:
        return ()
    wanted = sorted(dict.fromkeys(names(vary)))
    if ANY in wanted:
        return None
    return tuple((name, normal(name, request.get(name))) for name in wanted)


def matches(chosen: Selecting, request: Mapping[str, str]) -> bool:
    return all(normal(name, request.get(name)) == value for name, value in chosen)


def normal(name: str, value: str | None) -> str | None:
    """The form in which values are compared."""
    if value is None:
        return None
    listed = members(value)
    if name not in _WEIGHED:
        return ",".join(listed)
    weighed = [_weighed(each) for each in listed]
    return ",".join(
        f"{text};q={quality:g}"
        for quality, text in sorted(weighed, key=lambda one: (-one[0], one[1]))
    )


def _weighed(member: str) -> tuple[float, str]:
    """(quality, what is accepted)."""
    text, *parameters = (each.strip().lower() for each in member.split(";"))
    quality, kept = 1.0, [text]
    for parameter in parameters:
        found = _QUALITY.fullmatch(parameter)
        if found is not None:
            quality = float(found[1])
        else:
            kept.append(parameter)
    return quality, ";".join(kept)
