"""An expectation is told as it was written, and what was found in units that people read."""

from __future__ import annotations

import pytest

from emu.model.expectations import Expectation


@pytest.mark.parametrize(
    ("expected", "actual", "told"),
    [
        (Expectation("availability", ">=", 0.995), 0.97, "availability >= 99.5%, it was 97%"),
        (Expectation("latency_p99", "<=", 1.0), 0.264476, "latency_p99 <= 1s, it was 264.5 ms"),
        (Expectation("outage", "<=", 3.0), 4.25, "outage <= 3s, it was 4.25 s"),
        (Expectation("outage", "<=", 3.0), 0.0, "outage <= 3s, it was 0"),
        (Expectation("outage", "<=", 3.0), None, "outage <= 3s, nothing here measures it"),
    ],
)
def test_what_was_found_is_told_in_units_that_people_read(expected, actual, told):
    assert f"{expected}, {expected.told(actual)}" == told
