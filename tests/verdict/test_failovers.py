"""`expect: failover <= 2s`: how long nobody led, however the leader went."""

from __future__ import annotations

from typing import Any

import pytest

from emu.model.expectations import METRICS, parse
from emu.model.faults import Crash, Fault, Kill, Partition, Pause
from emu.scenario import Scenario, run
from emu.topology.loading import loads
from emu.verdict.judging import Judge

DB = "tiers: {db: {kind: database, public: true, nodes: %d, detection_timeout: 1s}}"
WEB = "tiers: {web: {kind: web, public: true}}"


def measured(text: str, fault: Fault | None, for_s: float = 5.0) -> dict[str, Any]:
    async def script(c: Scenario) -> dict[str, Any]:
        judge = Judge(c.cluster)
        await c.sleep(1)
        if fault is not None:
            await c.cluster.inject(fault, for_s=for_s)
        await c.sleep(8)
        return await judge.finish([parse("failover <= 2500ms")], 9.0)

    return run(script, loads(text), seed=2)


@pytest.mark.parametrize(
    "fault", [Kill("db primary"), Crash("db primary"), Pause("db primary"),
              Partition(("db primary", "all"))], ids=lambda fault: fault.verb,
)  # fmt: skip
def test_it_lasts_until_another_is_promoted_however_the_leader_went(fault: Fault) -> None:
    summary = measured(DB % 3, fault)
    assert 0.7 < summary["failover_s"] < 2.5
    assert summary["expectations"][0]["held"] is True


def test_it_lasts_until_the_only_one_is_back() -> None:
    summary = measured(DB % 1, Kill("db"), for_s=3.0)
    assert summary["failover_s"] == pytest.approx(3, abs=0.5)
    assert summary["expectations"][0]["told"].startswith("it was 3")


def test_where_nothing_happened_it_is_nothing_and_where_nobody_leads_it_is_not_known() -> None:
    assert measured(DB % 3, None)["failover_s"] == 0
    summary = measured(WEB, None)
    assert summary["failover_s"] is None
    assert summary["expectations"][0]["told"] == "nothing here measures it"
    missing = [word for word, metric in METRICS.items() if metric.place[0] not in summary]
    assert missing == [], "what a file may expect is in every summary"
