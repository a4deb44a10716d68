"""`sync_interval`: a log that is synced once in so long, and what a power cut takes of it."""

from __future__ import annotations

from itertools import product

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.kv.shard import KvShardConfig, may_lose
from protocols.errors import RpcError

LASTS_S = 4.0


def after_a_power_cut(options: str) -> tuple[list[int], int]:
    """(which of the writes are there, the last one that was answered), 100 of them a second."""

    async def script(c: Scenario) -> tuple[list[int], int]:
        await ready(c)
        number = 0
        while c.now_s < LASTS_S:
            number += 1
            assert await c.call("kv-1", "set", f"k{number}", number) is True
            await c.sleep(0.01)
        await c.crash("kv-1", for_s=0.2)
        await c.sleep(0.5)
        await ready(c)
        names = [f"k{each}" for each in range(1, number + 1)]
        values = await c.call("kv-1", "mget", names)
        return [each for each in values if each is not None], number

    return run(script, loads(f"tiers: {{kv: {{kind: kv_shard, public: true, {options}}}}}"))


async def ready(c: Scenario) -> None:
    for _ in range(100):
        try:
            await c.call("kv-1", "get", "probe")
            return
        except RpcError:
            await c.sleep(0.1)
    raise AssertionError("the shard does not come up")


def test_a_power_cut_takes_about_an_interval_of_writes_and_nothing_before() -> None:
    there, last = after_a_power_cut("ack: off, sync_interval: 1s")
    assert there == list(range(1, len(there) + 1))
    assert 0 < last - len(there) <= 105


def test_without_an_interval_hardly_anything_waits_for_a_sync() -> None:
    there, last = after_a_power_cut("ack: off")
    assert last - len(there) <= 1


@pytest.mark.parametrize(
    ("ack", "nodes"),
    [
        *product(("off", "remote_write"), (1, 2, 3)),
        *product(("remote_write ANY 1",), (2, 3)),
    ],
)
def test_no_write_waits_for_the_interval(ack: str, nodes: int) -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        primary = (await c.ps("kv primary"))[0]["name"]
        for number in range(10):
            began_s = c.now_s
            assert await c.call(primary, "set", f"k{number}", number) is True
            assert c.now_s - began_s < 0.02, number

    run(script, loads(f"tiers: {{kv: {{kind: kv_shard, public: true, nodes: {nodes}, ack: {ack},"
                      " sync_interval: 3s}}"))  # fmt: skip


def test_what_is_not_on_a_disk_may_be_lost_also_by_a_shard_of_one() -> None:
    config = KvShardConfig(ack="remote_write", sync_interval_s=1.0)
    assert "sync_interval" in may_lose(config, 1)


@pytest.mark.parametrize("ack", ["quorum", "local", "on"])
def test_an_interval_is_refused_where_every_answer_waits_for_a_sync(ack: str) -> None:
    with pytest.raises(ValueError, match="waits for a sync"):
        KvShardConfig(ack=ack, sync_interval_s=1.0)
