"""Whole numbers of the command line: read with all of their digits, or told what to write."""

from __future__ import annotations

import pytest

from emu.cli.words import whole
from emu.machine import units


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("cores", "4", 4),
        ("cores", "1e1", 10),
        ("lsn", "9007199254740993", 9007199254740993),
        ("capacity_bytes", "2GB", 2 * 10**9),
    ],
)
def test_a_whole_number_is_read(name: str, text: str, value: int) -> None:
    assert whole(text, units.parse_value(name, text)) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nan", "`nan` is not a number; write"),
        ("-1", "below 0"),
        ("1.5", "`1.5` is no whole number; write 2"),
        ("\u0664", "is not a number; write"),
        ("0x10", "no unit belongs here"),
        ("", "a number is expected"),
    ],
)
def test_what_is_no_whole_number_is_told_in_a_users_words(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        whole(text, units.parse_value("cores", text))
