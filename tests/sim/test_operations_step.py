"""Step 12 as its file has it: an alert fires and clears, a spare takes a dead member's place, a bad
release is rolled back, the database is started again; and its users lose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import emu
from emu.running.logs import Wanted, lines
from emu.topology.loading import load

FILE = Path(__file__).resolve().parents[2] / "topologies" / "12-operations.yaml"


async def its_day(c: emu.Scenario) -> dict[str, Any]:
    c.start_playing(c.cluster.topology.faults, own=True)
    await c.sleep(40)
    rolled_back, deployed = c.events("deploy rolled back"), c.events("deployed")
    changed = c.events("member changed")
    told, _ = lines(c.cluster.events, Wanted(grep="event=request"), (0, 0))
    by_request: dict[str, set[str]] = {}
    for line in told:
        by_request.setdefault(line["request"], set()).add(line["tier"])
    summary = await c.finish()
    return {
        "summary": summary,
        "rolled_back": rolled_back,
        "deployed": [each["tier"] for each in deployed],
        "spare": [each["member"] for each in changed if each["role"] == "voter"],
        "followed": sum(tiers >= {"web", "db"} for tiers in by_request.values()),
    }


@pytest.mark.soak
def test_an_operators_day() -> None:
    found = emu.run(its_day, load(FILE))
    summary = found["summary"]
    assert [each["told"] for each in summary["expectations"] if not each["held"]] == []
    assert summary["anomalies"] == [] and summary["not_run"] == []
    (why,) = [each["why"] for each in found["rolled_back"]]
    assert "of its answers failed" in why
    assert found["deployed"] == ["db"]
    assert found["spare"], "nobody took the dead member's place"
    assert found["followed"] > 3
