"""Step 5 as its file has it: the primary dies, and what of its writes is lost under which `ack`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import emu
from emu.topology.loading import loads

FILE = Path(__file__).resolve().parents[2] / "topologies" / "05-replication.yaml"


async def cut_off_and_crash(c: emu.Scenario) -> dict[str, Any]:
    """The primary goes on where no replica hears it, then loses power; later it is back."""
    await c.sleep(2)
    (primary,) = await c.resolve("db primary")
    others = [name for name in await c.resolve("db") if name != primary]
    cut = await c.partition(primary, ",".join(others))
    await c.sleep(0.3)
    await c.crash(primary, for_s=4)
    await cut.undo()
    await c.until("promoted", timeout_s=10)
    await c.sleep(8)
    return await c.finish()


def run(ack: str) -> dict[str, Any]:
    text = FILE.read_text().replace("ack: quorum", f"ack: {ack}")
    assert f"ack: {ack}" in text
    return emu.run(cut_off_and_crash, loads(text), seed=11)


def test_under_quorum_nothing_that_was_acknowledged_is_lost() -> None:
    summary = run("quorum")
    assert summary["lost_acknowledged_writes"] == 0
    assert summary["duplicated_writes"] == 0
    assert summary["anomalies"] == []
    assert summary["outage_s"] < 4
    assert summary["verdict"] == "passed"


def test_under_async_the_lost_writes_are_counted_and_the_old_primary_saves_its_records() -> None:
    summary = run("async")
    assert summary["lost_acknowledged_writes"] > 0
    assert summary["divergent_records"] >= summary["lost_acknowledged_writes"]
    assert len(summary["lost_writes"]) == summary["lost_acknowledged_writes"]
    assert summary["anomalies"] == []
    failed = [each["text"] for each in summary["expectations"] if not each["held"]]
    assert failed == ["lost_acknowledged_writes == 0"]
