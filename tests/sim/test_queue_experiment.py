"""Experiment 12: what each `acks` loses when a leader dies cut off, and when all power fails;
and what a worker's death does to jobs."""

from __future__ import annotations

from typing import Any

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from tests.sim.test_experiments import EXPERIMENTS, played


@pytest.mark.slow
def test_12_only_a_majority_with_its_disks_loses_nothing():
    seen = played("12-queue-acks", 22.0)["seen"]
    assert seen["quorum-clients"]["lost"] == 0
    assert seen["leader-clients"]["lost"] > 3
    assert seen["none-clients"]["lost"] > 3
    assert seen["lazy-clients"]["lost"] > 0
    assert all(each["acknowledged"] > 200 for each in seen.values())


@pytest.mark.slow
@pytest.mark.parametrize("idempotent", [False, True])
def test_12_a_worker_that_dies_after_its_effect_does_it_twice_unless_it_looks(idempotent: bool):
    text = (EXPERIMENTS / "12-worker-crash.yaml").read_text()
    assert "idempotent: false " in text
    text = text.replace("idempotent: false ", f"idempotent: {str(idempotent).lower()} ")

    async def script(c: Scenario) -> Any:
        c.start_playing(c.cluster.topology.faults)
        await c.sleep(13)
        return await c.finish()

    found = run(script, loads(text))
    assert found["verdict"] == "passed", found["why"]
    counted = found["counted"]
    assert counted["lost_jobs"] == counted["given_up_jobs"] == 0
    assert counted["duplicated_jobs"] == 0 if idempotent else counted["duplicated_jobs"] > 0
