"""Backups: made while writes go on, restored into the same cluster or a fresh one, at their LSN or
an earlier one; damaged ones are refused with their place."""

from __future__ import annotations

import random
from typing import Any

import pytest

import emu
from emu.topology.loading import loads
from nodes.replica import backing_up
from protocols.errors import RpcError
from protocols.replication.backup import MAGIC, decode, encode
from protocols.replication.log import CorruptFile
from tests.sim.resharding import reshard

FILE = "/shelf/shop.backup"
DATABASE = """
name: backups
tiers:
  db: {kind: database, nodes: 3, public: true, snapshot_every: 2KB, retained: 1KB}
"""
STORE = """
name: backups
tiers:
  kv: {kind: kv, public: true, shards: 2, replicas: 1, coordinators: 3}
"""
QUEUE = """
name: backups
tiers:
  queue: {kind: queue, public: true, brokers: 1, replicas: 2, topics: {orders: {partitions: 2}}}
"""


async def insert(c: emu.Scenario, values: range) -> None:
    for value in values:
        await c.sql("db", f"INSERT INTO t VALUES ({value}, 'text of {value}')")


async def rows(c: emu.Scenario) -> list[int]:
    found = await c.sql("db", "SELECT id FROM t ORDER BY id")
    return [row[0] for row in found["rows"]]


async def digests(c: emu.Scenario, words: str = "db") -> Any:
    """What the members of a tier hold, once they are alike."""
    for _ in range(100):
        found = await c.call_admin(words, "state_digest")
        answers = list(found.values())
        if not any(isinstance(each, RpcError) or each != answers[0] for each in answers):
            return answers[0]
        await c.sleep(0.1)
    raise AssertionError(found)


async def lsn_of(c: emu.Scenario) -> int:
    return max(int(row["lsn"]) for row in await c.ps("db"))


async def done(c: emu.Scenario, verb: str, *values: Any, **options: Any) -> dict[str, Any]:
    return await (await getattr(c, verb)(*values, **options)).ended()


async def make_backup(c: emu.Scenario) -> tuple[bytes, Any, list[int]]:
    """A table, a backup made beside a writer, and what there was when it was made."""
    await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, text TEXT)")
    await insert(c, range(50))
    await c.sleep(3)
    await insert(c, range(50, 60))
    before = await digests(c)
    await done(c, "backup", "db", FILE)
    return c.cluster.world.load(FILE), before, await rows(c)


def test_a_fresh_cluster_has_what_the_backup_had() -> None:
    data, before, had = emu.run(make_backup, loads(DATABASE), seed=5)

    async def restored(c: emu.Scenario) -> tuple[Any, list[int]]:
        c.cluster.world.save(FILE, data)
        told = await done(c, "restore", "db", FILE)
        assert told["left_out"] == {"db": 0}
        return await digests(c), await rows(c)

    assert decode(data).groups[0].about.snapshot is not None, "the log alone would be too easy"
    assert emu.run(restored, loads(DATABASE), seed=6) == (before, had)


def test_what_was_written_after_the_backup_is_gone_and_writes_go_on() -> None:
    async def script(c: emu.Scenario) -> list[int]:
        _, _, had = await make_backup(c)
        await insert(c, range(100, 120))
        await done(c, "restore", "db", FILE)
        assert await rows(c) == had
        await insert(c, range(200, 203))
        return await rows(c)

    assert emu.run(script, loads(DATABASE), seed=7) == [*range(60), 200, 201, 202]


def test_a_point_between_two_acknowledged_writes_keeps_the_first_and_not_the_second() -> None:
    async def script(c: emu.Scenario) -> Any:
        await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, text TEXT)")
        await insert(c, range(3))
        await c.ps("db")
        between = await lsn_of(c)
        await insert(c, range(3, 6))
        await done(c, "backup", "db", FILE)
        told = await done(c, "restore", "db", FILE, at=between)
        return await rows(c), told["left_out"]["db"]

    assert emu.run(script, loads(DATABASE), seed=8) == ([0, 1, 2], 3)


def test_a_backup_beside_writers_is_a_state_that_was() -> None:
    """Whatever was acknowledged before it began is in it; what is in it is a prefix."""

    async def script(c: emu.Scenario) -> Any:
        await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, text TEXT)")
        c.cluster.nursery.start_soon(insert, c, range(400))
        await c.sleep(0.5)
        acknowledged = len(await rows(c))
        told = await done(c, "backup", "db", FILE)
        await c.sleep(0.2)
        await done(c, "restore", "db", FILE, at=told["lsns"]["db"])
        found = (await c.sql("db", "SELECT id FROM t ORDER BY id"))["rows"]
        return acknowledged, [row[0] for row in found]

    acknowledged, found = emu.run(script, loads(DATABASE), seed=9)
    assert 0 < acknowledged <= len(found)


@pytest.mark.parametrize("topology", [STORE, QUEUE], ids=["kv", "queue"])
def test_stores_and_queues_are_backed_up_too(topology: str) -> None:
    word, shards = ("kv", "kv-shard-*") if topology is STORE else ("queue", "queue-broker-*")

    async def write(c: emu.Scenario, number: int) -> None:
        if topology is STORE:
            await c.call("one kv-router", "set", f"key-{number}", f"value-{number}")
        else:
            await c.call("one queue-front", "publish", "orders", [[f"k{number}", f"v{number}"]])

    async def state(c: emu.Scenario) -> Any:
        tiers = sorted({row["tier"] for row in await c.ps(shards)})
        return [await digests(c, tier) for tier in tiers]

    async def script(c: emu.Scenario) -> Any:
        await c.sleep(2)
        for number in range(30):
            await write(c, number)
        before = await state(c)
        await done(c, "backup", word, FILE)
        for number in range(30, 40):
            await write(c, number)
        assert await state(c) != before
        await done(c, "restore", word, FILE)
        after = await state(c)
        await c.sleep(2)
        await write(c, 50)
        return before, after

    before, after = emu.run(script, loads(topology), seed=3)
    assert after == before


def test_a_damaged_backup_is_refused_with_its_place() -> None:
    data, _, _ = emu.run(make_backup, loads(DATABASE), seed=5)
    rng = random.Random(1)
    assert encode(decode(data)) == data
    for _ in range(60):
        place = rng.randrange(len(data))
        bad = bytearray(data)
        bad[place] ^= 1 << rng.randrange(8)
        with pytest.raises(CorruptFile, match=r"byte \d+") as refused:
            decode(bytes(bad))
        told = int(str(refused.value).split("byte ")[1].split(":")[0])
        assert told <= place
    for end in (0, len(MAGIC), len(data) // 2, len(data) - 1):
        with pytest.raises(CorruptFile, match="byte"):
            decode(data[:end])

    async def refused_by_restore(c: emu.Scenario) -> str:
        c.cluster.world.save(FILE, data[:-9])
        try:
            await done(c, "restore", "db", FILE)
        except (ValueError, RpcError) as error:
            return str(error)
        return ""

    assert "byte" in emu.run(refused_by_restore, loads(DATABASE), seed=6)


@pytest.mark.parametrize(
    ("options", "told"),
    [({"file": "/nowhere"}, "cannot read /nowhere"), ({"file": FILE, "at": 9999}, "goes back to")],
)
def test_what_cannot_be_restored_is_refused_before_anything_ends(options: Any, told: str) -> None:
    async def script(c: emu.Scenario) -> tuple[str, list[int]]:
        _, _, had = await make_backup(c)
        try:
            await done(c, "restore", "db", **options)
        except (ValueError, RpcError) as error:
            assert await rows(c) == had
            return str(error), [
                row["generation"] for row in await c.ps("db") if "generation" in row
            ]
        raise AssertionError("restored")

    error, _ = emu.run(script, loads(DATABASE), seed=5)
    assert told in error


def test_no_epoch_comes_twice_though_all_members_are_down_when_it_is_restored() -> None:
    async def script(c: emu.Scenario) -> list[int]:
        await make_backup(c)
        for _ in range(2):
            before = len(c.events("promoted", tier="db"))
            await c.kill("db primary")
            while len(c.events("promoted", tier="db")) == before:
                await c.sleep(0.1)
            await c.start("db")
        await c.kill("db")
        await done(c, "restore", "db", FILE)
        await insert(c, range(300, 301))
        return [int(each["epoch"]) for each in c.events("promoted", tier="db")]

    epochs = emu.run(script, loads(DATABASE), seed=5)
    assert len(epochs) >= 4
    assert epochs == sorted(set(epochs))


RESHARDED = STORE.replace("shards: 2", "shards: 1, move_rate: 40/s, slots_per_move: 2048")


async def fill_and_reshard(c: emu.Scenario, keys: int) -> None:
    await c.sleep(2)
    for number in range(keys):
        await c.call("one kv-router", "set", f"key-{number}", f"value-{number}")
    c.cluster.nursery.start_soon(reshard, c.cluster, "kv", 2)
    await c.until("move.begun")


def test_a_store_whose_slots_move_is_copied_when_they_have_moved_and_lacks_no_key() -> None:
    async def script(c: emu.Scenario) -> list[Any]:
        await fill_and_reshard(c, 60)
        await done(c, "backup", "kv", FILE)
        (waits,) = c.events("backup waits")
        assert "reshard has done" in str(waits["why"])
        await c.call("one kv-router", "set", "key-0", "written after it")
        await done(c, "restore", "kv", FILE)
        await c.sleep(2)
        return [await c.call("one kv-router", "get", f"key-{number}") for number in range(60)]

    found = emu.run(script, loads(RESHARDED), seed=4)
    assert found == [f"value-{number}" for number in range(60)]


def test_a_backup_is_refused_and_says_why_if_slots_move_for_longer_than_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backing_up, "PATIENCE_S", 1.0)

    async def script(c: emu.Scenario) -> str:
        await fill_and_reshard(c, 60)
        with pytest.raises(RpcError, match=r"kv: a reshard has done \d+ of its 4 moves") as refused:
            await done(c, "backup", "kv", FILE)
        return refused.value.code

    slow = RESHARDED.replace("40/s", "5/s")
    assert emu.run(script, loads(slow), seed=4) == "refused"


def test_a_time_between_two_acknowledged_writes_keeps_the_first_and_not_the_second() -> None:
    async def script(c: emu.Scenario) -> Any:
        await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, text TEXT)")
        moments = []
        for id in range(6):
            await insert(c, range(id, id + 1))
            await c.sleep(0.1)
            moments.append(c.now_s)
            await c.sleep(0.1)
        await done(c, "backup", "db", FILE)
        found = []
        for time_s in (moments[3], moments[1], moments[5]):
            await done(c, "restore", "db", FILE, time_s=time_s)
            found.append(await rows(c))
        with pytest.raises((ValueError, RpcError), match=r"not 9999 s"):
            await done(c, "restore", "db", FILE, time_s=9999.0)
        with pytest.raises((ValueError, RpcError), match="leave one out"):
            await done(c, "restore", "db", FILE, time_s=moments[0], at=3)
        return found

    assert emu.run(script, loads(DATABASE), seed=8) == [[0, 1, 2, 3], [0, 1], list(range(6))]


def test_a_time_is_of_one_group_as_an_lsn_is() -> None:
    async def script(c: emu.Scenario) -> None:
        await c.sleep(2)
        await c.call("one kv-router", "set", "key", "value")
        await done(c, "backup", "kv", FILE)
        with pytest.raises((ValueError, RpcError), match="between which keys may have moved"):
            await done(c, "restore", "kv", FILE, time_s=c.now_s)

    emu.run(script, loads(STORE), seed=4)
