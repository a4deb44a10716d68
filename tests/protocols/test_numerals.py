"""Whole numbers of strangers: what `int()` would take or choke on, and nobody means."""

from __future__ import annotations

import pytest

from protocols.numerals import whole


@pytest.mark.parametrize(
    "text",
    ["", " ", "²", "１", "٣", "1_0", "+1", "-1", " 1", "1 ", "1.0", "0x1", "9" * 19, "9" * 5000],
)
def test_what_is_no_number_of_plain_digits_is_none(text: str) -> None:
    assert whole(text) is None


def test_digits_are_a_number_as_far_as_they_may_go() -> None:
    assert whole("007") == 7
    assert whole("9" * 18) == 10**18 - 1
    assert whole("100", 2) is None
