"""Experiment 12: what each `acks` loses when a leader dies cut off, and when all power fails."""

from __future__ import annotations

import pytest

from tests.sim.test_experiments import played


@pytest.mark.slow
def test_12_only_a_majority_with_its_disks_loses_nothing():
    seen = played("12-queue-acks", 22.0)["seen"]
    assert seen["quorum-clients"]["lost"] == 0
    assert seen["leader-clients"]["lost"] > 3
    assert seen["none-clients"]["lost"] > 3
    assert seen["lazy-clients"]["lost"] > 0
    assert all(each["acknowledged"] > 200 for each in seen.values())
