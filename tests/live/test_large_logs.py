"""A log larger than memory: what is resident does not depend on how much is kept."""

from __future__ import annotations

import sys

import pytest

from tests.bench import measured_by

MOST_MB = 100.0


@pytest.mark.slow
def test_a_log_is_written_read_again_and_followed_in_little_memory() -> None:
    small, large = (measure(megabytes) for megabytes in (16, 64))
    for phase in ("writing_mb", "restarted_mb", "following_mb"):
        assert large[phase] < MOST_MB
        assert large[phase] - small[phase] < 15, f"{phase}: {small} {large}"


@pytest.mark.soak
def test_two_gigabytes_of_log_take_less_than_a_hundred_megabytes() -> None:
    found = measure(2048)
    print(found)
    assert max(found[f"{phase}_mb"] for phase in ("writing", "restarted", "following")) < MOST_MB


def measure(megabytes: int) -> dict[str, float]:
    """In a process of its own."""
    found = measured_by(
        sys.executable, "-m", "tests.live.large_log", str(megabytes), timeout_s=1800
    )
    assert found["log_bytes"] > megabytes * 1e6
    assert found["kept_by_both"]
    return found
