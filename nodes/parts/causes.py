"""Why a connection failed, in words: no error numbers, no names of classes. Pure."""

from __future__ import annotations

import errno
from typing import Final

WORDS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection aborted",
    errno.EPIPE: "connection broken",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "no route to it",
    errno.ENETUNREACH: "no route to it",
}

CLASSES: Final = {
    "BrokenResourceError": "the connection broke",
    "ClosedResourceError": "the connection was closed",
    "TimeoutError": "timed out",
    "ConnectionRefusedError": "connection refused",
    "ConnectionResetError": "connection reset",
}
"""For errors that say nothing themselves."""


def in_words(error: Exception) -> str:
    """`connection refused (web-1:8080 is closed)`: the cause, and what else the error says."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        name = type(error).__name__
        return str(error) or CLASSES.get(name, name)
    detail = str(error.strerror) if isinstance(error, OSError) else ""
    word = WORDS.get(number, "")
    if not word:
        return detail or type(error).__name__
    known = detail.lower() in ("", word, "connection timed out", "connection reset by peer")
    return word if known else f"{word} ({detail})"
