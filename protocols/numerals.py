"""Whole numbers as strangers write them. Python reads more than is meant: `int()` takes digits of
every script and raises beyond 4,300 of them, and `isdigit()` is true of `²`, which it refuses."""

from __future__ import annotations

from typing import Final

MOST_DIGITS: Final = 18
"""What fits into 64 bits, whatever the digits."""


def whole(text: str, most_digits: int = MOST_DIGITS) -> int | None:
    """The number of these ASCII digits; None where something else stands there, or more of them."""
    if text.isascii() and text.isdigit() and len(text) <= most_digits:
        return int(text)
    return None
