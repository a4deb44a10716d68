"""Consumer groups in virtual time: members come, go and fall silent, and the others read on."""

from __future__ import annotations

from typing import Any

import pytest

from emu.scenario import Scenario
from protocols.errors import RpcError
from tests.sim.queues import FRONT, primary_of, ready, sim

TEXT = """
tiers:
  queue: {kind: queue, public: true, brokers: 2, replicas: 0, topics: {orders: {partitions: 6}}}
"""


class Reader:
    """A member that says what it reads, and obeys."""

    def __init__(
        self, c: Scenario, name: str, session_ms: int = 2000, release_ms: int = 60_000
    ) -> None:
        self.c, self.name, self.session_ms, self.release_ms = c, name, session_ms, release_ms
        self.epoch = self.beats = 0
        self.owned: list[list[Any]] = []

    async def beat(self) -> None:
        self.beats += 1
        told = {"topics": ["orders"], "owned": self.owned, "beat": self.beats}
        limits = {"session_ms": self.session_ms, "release_ms": self.release_ms}
        answer = await self.c.call(
            FRONT, "heartbeat", "readers", self.name, self.epoch, {**told, **limits}
        )
        self.epoch, self.owned = answer["epoch"], answer["partitions"]

    async def commit(self, offset: int, places: list[list[Any]] | None = None) -> int:
        rows = [[*place, offset] for place in (self.owned if places is None else places)]
        done = await self.c.call(FRONT, "commit", "readers", self.name, self.epoch, rows)
        return int(done)


async def settle(*readers: Reader) -> None:
    for _ in range(4):
        for reader in readers:
            await reader.beat()


def test_members_share_all_partitions_over_two_broker_groups() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        readers = [Reader(c, f"m{number}") for number in range(4)]
        await settle(*readers)
        owned = sorted(place for reader in readers for place in reader.owned)
        assert owned == [["orders", number] for number in range(6)]
        assert sorted(len(reader.owned) for reader in readers) == [1, 1, 2, 2]
        for number in range(12):
            await c.call(FRONT, "publish", "orders", [[None, number]], {"partition": number % 6})
        assert await readers[0].commit(2) == len(readers[0].owned)
        told = await c.call(FRONT, "committed", "readers")
        assert sorted(told["members"]) == ["m0", "m1", "m2", "m3"]

    sim(script, TEXT)


def test_a_silent_members_partitions_go_to_others_and_its_commits_are_refused() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        one, two = Reader(c, "one"), Reader(c, "two")
        await settle(one, two)
        lost = list(two.owned)
        assert len(lost) == 3
        for _ in range(6):
            await c.sleep(0.5)
            await one.beat()
        assert len(one.owned) == 6
        with pytest.raises(RpcError) as caught:
            await two.commit(0, lost)
        assert caught.value.code == "stale_generation" and caught.value.definite
        with pytest.raises(RpcError, match="stale_generation"):
            await two.beat()
        two.epoch, two.owned = 0, []
        await settle(two, one)
        assert len(one.owned) == len(two.owned) == 3

    sim(script, TEXT)


@pytest.mark.parametrize("crash", [False, True])
def test_a_member_that_lets_go_of_nothing_is_put_out(crash: bool) -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        one, two = Reader(c, "one", release_ms=3000), Reader(c, "two")
        await one.beat()
        kept = list(one.owned)
        assert len(kept) == 6
        await two.beat()
        began_s = c.now_s
        for number in range(20):
            if crash and number == 4:
                for tier in ("queue-broker-1", "queue-broker-2"):
                    await c.crash(await primary_of(c, tier))
                await c.until("promoted")
                await ready(c)
            await two.beat()
            if len(two.owned) == 6:
                break
            one.owned = kept
            await one.beat()
            await c.sleep(0.25)
        assert len(two.owned) == 6 and c.now_s - began_s >= 2.5
        with pytest.raises(RpcError, match="stale_generation"):
            await one.commit(0, kept[:1])
        assert c.events("member put out")
        one.epoch, one.owned, one.release_ms = 0, [], 60_000
        await settle(one, two)
        assert len(one.owned) == len(two.owned) == 3

    sim(script, TEXT.replace("replicas: 0", "replicas: 2"))


def test_lag_counts_partitions_of_all_broker_groups() -> None:
    async def lag(c: Scenario) -> dict[str, Any]:
        for name in ("queue-broker-1-1", "queue-broker-2-1"):
            await c.call_admin(name, "metrics")
        (row,) = await c.call(FRONT, "groups")
        return dict(row)

    async def script(c: Scenario) -> None:
        await ready(c)
        for number in range(12):
            await c.call(FRONT, "publish", "orders", [[None, number]], {"partition": number % 6})
        one = Reader(c, "one")
        await settle(one)
        await one.commit(1)
        await c.sleep(3)
        assert (await lag(c))["lag"] == 6
        assert c.metrics("queue", "consumer_lag", group="readers") == 6
        assert 2 < c.metrics("queue", "oldest_unacked_seconds", group="readers") < 10
        for number in range(60):
            record = [None, "x" * 4000]
            await c.call(FRONT, "publish", "orders", [record], {"partition": number % 2})
        await c.sleep(3)
        row = await lag(c)
        starts = {number: [start, end] for number, start, end in await ends(c)}
        assert row["lost"] == sum(max(0, start - 1) for start, _ in starts.values()) > 10
        assert row["lag"] == sum(end - max(1, start) for start, end in starts.values())
        assert c.metrics("queue", "consumer_lag", group="readers") == row["lag"]

    async def ends(c: Scenario) -> Any:
        return await c.call(FRONT, "offsets", "orders")

    kept = "{partitions: 6, capacity: 64KiB, record: 8KiB, when_full: drop_oldest}"
    sim(script, TEXT.replace("{partitions: 6}", kept))


def test_offsets_grow_and_only_a_group_without_members_may_be_sent_back() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for number in range(5):
            await c.call(FRONT, "publish", "orders", [[None, number]], {"partition": 0})
        one = Reader(c, "one")
        await settle(one)
        await one.commit(4, [["orders", 0]])
        await one.commit(2, [["orders", 0]])
        assert (await c.call(FRONT, "committed", "readers"))["offsets"] == [["orders", 0, 4]]
        with pytest.raises(RpcError, match="refused"):
            await c.call(FRONT, "seek", "readers", [["orders", 0, 1]])
        await c.call(FRONT, "heartbeat", "readers", "one", -1)
        assert await c.call(FRONT, "seek", "readers", [["orders", 0, 1]]) == 1
        assert (await c.call(FRONT, "committed", "readers"))["offsets"] == [["orders", 0, 1]]

    sim(script, TEXT)


def test_a_group_that_is_beyond_the_end_of_another_brokers_partition_goes_on_at_that_end() -> None:
    """As after a restore, whose copies of broker groups are not of the same moment."""

    async def script(c: Scenario) -> None:
        await ready(c)
        rows = [["orders", number, 5] for number in range(6)]
        taken = []
        for row in rows:
            await c.call(FRONT, "publish", "orders", [[None, "old"]], {"partition": row[1]})
            try:
                taken.append(await c.call(FRONT, "commit", "readers", "", 0, [row]))
            except RpcError as error:
                assert error.code == "out_of_range", "a broker knows the ends of its own"
        assert len(taken) == 3
        await c.sleep(2.5)
        told = await c.call(FRONT, "committed", "readers")
        assert [offset for _, _, offset in told["offsets"]] == [1, 1, 1]

    sim(script, TEXT)


def test_members_and_offsets_survive_the_leader() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        one, two = Reader(c, "one", 20_000), Reader(c, "two", 20_000)
        await settle(one, two)
        before = list(one.owned)
        await one.commit(0)
        for tier in ("queue-broker-1", "queue-broker-2"):
            await c.crash(await primary_of(c, tier))
        await c.until("promoted")
        await ready(c)
        await settle(one, two)
        assert one.owned == before and len(two.owned) == 3
        assert await one.commit(0) == 3

    sim(script, TEXT.replace("replicas: 0", "replicas: 2"))


def test_a_replay_begins_at_a_time() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for number in range(3):
            await c.call(FRONT, "publish", "orders", [[None, number]], {"partition": 1})
            await c.sleep(2)
        polled = await c.call(FRONT, "poll", "orders", 1, 0)
        times = [record[1] for record in polled["records"]]
        rows = await c.call(FRONT, "offsets", "orders", {"time_ms": times[1] - 1})
        assert rows[1] == [1, 0, 3, 1]
        assert rows[0] == [0, 0, 0, 0]
        rows = await c.call(FRONT, "offsets", "orders", {"time_ms": times[2] + 1})
        assert rows[1] == [1, 0, 3, 3]

    sim(script, TEXT)
