"""Numbers with units: what is read, what is refused and how the message helps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.machine import units

FIELDS = ("timeout_s", "size_bytes", "width_bytes_per_s", "visits_per_s", "loss_ratio", "factor")


@pytest.mark.parametrize(
    ("field", "text", "number"),
    [
        ("timeout_s", "2s", 2.0),
        ("timeout_s", "0.3ms", 0.0003),
        ("timeout_s", "150us", 0.00015),
        ("timeout_s", "1m30s", 90.0),
        ("timeout_s", "2h", 7200.0),
        ("timeout_s", 0, 0.0),
        ("timeout_s", "0", 0.0),
        ("offset_s", "-5s", -5.0),
        ("size_bytes", "64MB", 64e6),
        ("size_bytes", "4KiB", 4096.0),
        ("width_bytes_per_s", "1Gbit", 125e6),
        ("width_bytes_per_s", "100MB/s", 100e6),
        ("visits_per_s", "200/s", 200.0),
        ("visits_per_s", "30/m", 0.5),
        ("loss_ratio", "0.01%", 0.0001),
        ("loss_ratio", 0.2, 0.2),
        ("factor", "3", 3.0),
    ],
)
def test_a_text_is_read_in_the_unit_of_its_field(field: str, text: object, number: float) -> None:
    assert units.parse_value(field, text) == number


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("timeout_s", 2, "2 has no unit: it is a time; write 2s or 2ms"),
        ("timeout_s", "2", "2 has no unit: it is a time; write 2s or 2ms"),
        ("timeout_s", "2S", "`2S` is not a time; did you mean 2s?"),
        ("timeout_s", "2 parsecs", "`parsecs` is no unit of a time; write 2s or 2ms"),
        ("timeout_s", "-1s", "`-1s` is below 0; a time here cannot be negative"),
        ("timeout_s", "1s x", "`1s x` is not a time; write 2s or 2ms"),
        ("timeout_s", "", "a time is expected, not ``; write 2s or 2ms"),
        ("timeout_s", [], "a time is expected, not a list; write 2s or 2ms"),
        ("timeout_s", True, "a time is expected, not true; write 2s or 2ms"),
        ("timeout_s", math.nan, "`nan` is not a finite number"),
        ("timeout_s", "1e999s", "`1e999s` is not a finite number"),
        ("size_bytes", "64mb", "`64mb` is not a size; did you mean 64MB?"),
        ("size_bytes", "64M", "`64M` is not a size; did you mean 64MB?"),
        ("width_bytes_per_s", "100MB", "`100MB` is not a bandwidth; did you mean 100MB/s?"),
        ("visits_per_s", 200, "200 has no unit: it is a rate; write 200/s or 200/m"),
        ("loss_ratio", "120%", "`120%` is impossible: the most is 1 (100%)"),
        ("factor", "3s", "`3s`: no unit belongs here; write 3"),
    ],
)
def test_a_refusal_says_what_to_write(field: str, text: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        units.parse_value(field, text)
    assert str(caught.value).startswith(message)


@given(
    st.sampled_from(FIELDS),
    st.floats(min_value=0, max_value=1, allow_subnormal=False)
    | st.integers(min_value=0, max_value=1).map(float),
)
def test_a_formatted_number_reads_back_as_itself(field: str, number: float) -> None:
    assert units.parse_value(field, units.format_value(field, number)) == number


@given(
    st.sampled_from(["timeout_s", "size_bytes", "width_bytes_per_s", "visits_per_s"]),
    st.integers(min_value=0, max_value=10**12),
    st.integers(min_value=1, max_value=10**6),
)
def test_large_numbers_round_trip_too(field: str, number: int, divisor: int) -> None:
    value = number / divisor
    assert units.parse_value(field, units.format_value(field, value)) == value


@given(st.sampled_from(FIELDS), st.text(max_size=80))
def test_any_text_gives_a_number_or_a_value_error(field: str, text: str) -> None:
    try:
        assert math.isfinite(units.parse_value(field, text))
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("check_interval_s", "check_interval"),
        ("max_frame_bytes", "max_frame"),
        ("bandwidth_bytes_per_s", "bandwidth"),
        ("rate_per_s", "rate"),
        ("loss_ratio", "loss"),
        ("uses", "uses"),
        ("cores", "cores"),
    ],
)
def test_a_key_is_its_field_without_the_unit(field: str, key: str) -> None:
    assert units.key_of(field) == key


@pytest.mark.parametrize(
    ("field", "number", "text"),
    [
        ("timeout_s", 0.5, "0.5s"),
        ("timeout_s", 0.002, "2ms"),
        ("timeout_s", 300.0, "5m"),
        ("size_bytes", 1 << 20, "1MiB"),
        ("size_bytes", 64_000_000, "64MB"),
        ("width_bytes_per_s", 125_000.0, "125KB/s"),
        ("loss_ratio", 0.05, "5%"),
        ("loss_ratio", 0.995, "99.5%"),
        ("factor", 1.5, "1.5"),
    ],
)
def test_numbers_are_shown_as_people_write_them(field: str, number: float, text: str) -> None:
    assert units.format_value(field, number) == text
