"""Whoever has been promoted leads alone, and has all that was decided: a run that breaks this says
so, whether or not a client saw it."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from emu.topology.loading import loads
from emu.verdict.leading import Leading
from protocols.replication import lease
from protocols.replication.config import NEVER

GROUP = """
tiers:
  db: {kind: database, nodes: 3, detection_timeout: 500ms}
  load: {kind: clients, asks: db, workload: register, think_time: 200ms}
"""


def judged() -> list[str]:
    """What is found wrong when the primary is cut off until another is elected."""

    async def script(c: emu.Scenario) -> dict:
        await c.sleep(0.5)
        await c.partition("db primary", "db", for_s=1.5)
        await c.sleep(2)
        return await c.finish()

    return [str(each["text"]) for each in emu.run(script, loads(GROUP), seed=1)["anomalies"]]


def test_a_primary_that_goes_on_serving_is_found_though_nobody_asks_it(
    monkeypatch: pytest.MonkeyPatch,
):
    assert judged() == []
    monkeypatch.setattr(lease.Lease, "holds", lambda self, now_s: self.until_s > 0)
    monkeypatch.setattr(lease.Lease, "ends_s", property(lambda self: NEVER))
    assert "still answered as primary of epoch 1" in judged()[0]


def told(**changed: Any) -> dict[str, Any]:
    plain = {"epoch": 2, "founding": 7, "lsn": 9, "committed_lsn": 9, "epochs": [[1, 1], [2, 8]]}
    return {**plain, **changed}


@pytest.mark.parametrize(
    ("own", "other", "lacks"),
    [
        (told(epoch=3, lsn=12), told(), ""),
        (told(epoch=3, lsn=8), told(), "lacks record 9, which db-2 knows to be decided"),
        (told(epoch=3, lsn=12, epochs=[[1, 1], [3, 12]]), told(), "lacks record 9"),
        (told(epoch=3, lsn=12, epochs=[[3, 10]]), told(), ""),
        (told(epoch=3, lsn=8, founding=8), told(), ""),
        (told(epoch=4, lsn=8), told(), ""),
        (told(epoch=3, lsn=8), told(committed_lsn=0), ""),
    ],
    ids=["all of it", "shorter", "of another epoch", "not known any more", "founded anew",
         "promoted again since", "knows nothing"],
)  # fmt: skip
def test_who_is_promoted_has_what_others_know_to_be_decided(own, other, lacks):
    leading = Leading(None)  # type: ignore[arg-type]
    event = {"tier": "db", "node": "db-1", "epoch": 3, "time_s": 1.5}
    leading._compare(event, own, "db-2", other)
    found = " ".join(leading.found)
    assert lacks in found and bool(lacks) == bool(found)
