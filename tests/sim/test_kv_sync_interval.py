"""`sync_interval`: a log that is synced once in so long, and what a power cut takes of it."""

from __future__ import annotations

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.kv.shard import KvShardConfig
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


@pytest.mark.parametrize("ack", ["quorum", "local", "on"])
def test_an_interval_is_refused_where_every_answer_waits_for_a_sync(ack: str) -> None:
    with pytest.raises(ValueError, match="waits for a sync"):
        KvShardConfig(ack=ack, sync_interval_s=1.0)
