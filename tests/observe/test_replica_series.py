"""What is seen of replication: lag, silence, epochs and failovers, on the primary and in `ps`."""

from __future__ import annotations

import emu
from nodes.replica.lag import LagClock
from tests.observe.pages import node_page, values

REPLICAS = "tests/observe/topologies/replicas.yaml"


def test_a_replica_that_a_new_primary_has_not_heard_is_behind_since_its_office_at_most():
    clock = LagClock()
    clock.appended(7, 1.0)
    clock.begin_office(7)
    clock.appended(8, 20.0)
    assert clock.behind_s(0, 22.0) == 2.0
    assert clock.behind_s(3, 22.0) == 21.0, "once it has said what it has"
    assert clock.behind_s(8, 22.0) == 0.0


def test_lag_is_the_age_of_the_oldest_record_that_is_missing():
    clock = LagClock()
    assert clock.behind_s(0, 9.0) == 0, "an empty log"
    for lsn, at_s in ((5, 1.0), (8, 2.0), (9, 4.0)):
        clock.appended(lsn, at_s)
    assert [clock.behind_s(lsn, 10.0) for lsn in (9, 8, 7, 5, 4, 0)] == [0, 6, 8, 8, 9, 9]
    clock.appended(6, 5.0)  # what came after 5 was cut
    assert [clock.behind_s(lsn, 10.0) for lsn in (6, 5, 4)] == [0, 5, 9]


async def lagging(c: emu.Scenario) -> dict:
    await c.sleep(3)
    rows = await c.ps("db")
    primary = next(row["name"] for row in rows if row["role"] == "primary")
    first, second = (row["name"] for row in rows if row["role"] != "primary")
    healthy = await node_page(c, primary)
    await c.pause(first)
    await c.sleep(3)
    lagging = await node_page(c, primary)
    paused = {row["name"]: row.get("lag_s") for row in await c.ps("db")}
    await c.heal()
    await c.sleep(2)
    await c.kill(primary)
    await c.sleep(3)
    rows = await c.ps("db")
    promoted = next(row["name"] for row in rows if row["role"] == "primary")
    return {"primary": primary, "first": first, "second": second, "healthy": healthy,
            "lagging": lagging, "paused": paused, "promoted": promoted,
            "after": await node_page(c, promoted)}  # fmt: skip


def lag(page: bytes, name: str) -> dict[str, float]:
    return {labels[2]: value for labels, value in values(page, name).items()}


def test_a_paused_replica_lags_in_records_bytes_and_time_and_a_killed_primary_is_replaced():
    seen = emu.run(lagging, REPLICAS)
    first, second = seen["first"], seen["second"]
    healthy = lag(seen["healthy"], "emu_replication_lag_seconds")
    assert set(healthy) == {first, second} and max(healthy.values()) < 0.1
    lagging_s = lag(seen["lagging"], "emu_replication_lag_seconds")
    assert 2 < lagging_s[first] <= 3.1 and lagging_s[second] < 0.1
    assert lag(seen["lagging"], "emu_replica_silence_seconds")[first] > 2.5
    missing = lag(seen["lagging"], "emu_replication_lag_bytes")
    assert missing[first] > 1000 > missing[second]
    assert 2 < seen["paused"][first] < 3.5 and seen["paused"][second] < 0.1
    assert seen["promoted"] != seen["primary"]
    assert list(values(seen["after"], "emu_failovers_total").values()) == [1]
    assert list(values(seen["healthy"], "emu_failovers_total").values()) == [0]
    assert list(values(seen["after"], "emu_is_primary").values()) == [1]
    assert lag(seen["after"], "emu_replication_lag_seconds")[seen["primary"]] > 1


async def followers(c: emu.Scenario) -> list[bytes]:
    await c.sleep(2)
    return [await node_page(c, row["name"]) for row in await c.ps("db") if row["role"] != "primary"]


def test_a_replica_has_no_series_of_others():
    for page in emu.run(followers, REPLICAS):
        assert not values(page, "emu_replication_lag_seconds")
        assert list(values(page, "emu_is_primary").values()) == [0]
        assert next(iter(values(page, "emu_last_replayed_lsn").values())) > 3


def test_nobody_goes_back_to_what_was_cut() -> None:
    clock = LagClock()
    for lsn in range(1, 6):
        clock.appended(lsn, float(lsn))
    clock.cut(3)
    assert clock.marks_until(9, 10.0) == [(9.0, 1), (8.0, 2)]
    clock.appended(5, 7.0)  # several at once, as from a peer
    assert clock.marks_until(9, 10.0) == [(9.0, 1), (8.0, 2), (3.0, 5)]
