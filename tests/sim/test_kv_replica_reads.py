"""Reads that replicas of a shard may answer: how old they are at most, and what they never show."""

from __future__ import annotations

from typing import Any

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.base import RPC_PORT
from protocols.errors import RpcError
from tests.sim.test_kv_moves import primary

STORE = """
links: {defaults: {within: 0.3ms}}
tiers:
  kv: {kind: kv, public: true, shards: 1, replicas: 2, coordinators: 1, detection_timeout: 2s}
"""
LIMIT_MS = 800
UNKNOWN = ("timeout", "unavailable", "unknown_outcome")


def sim(script: Any, text: str = STORE) -> Any:
    return run(script, loads(text), seed=6)


async def written(c: Scenario, value: int) -> None:
    for _ in range(100):
        try:
            await c.call("kv", "set", "k", value)
            return
        except RpcError:
            await c.sleep(0.1)
    raise AssertionError("the store takes no writes")


async def read(c: Scenario, node: str, limit_ms: int = LIMIT_MS) -> Any:
    """What that replica says, or the code of its refusal."""
    client = c.cluster.operator.client(node, RPC_PORT)
    try:
        return await client.call("get", "k", {"max_lag_ms": limit_ms}, timeout_s=2.0)
    except RpcError as error:
        return error.code


def replicas(c: Scenario) -> list[str]:
    chosen = primary(c, "kv-shard-1")
    return [f"kv-shard-1-{number}" for number in (1, 2, 3) if f"kv-shard-1-{number}" != chosen]


def test_a_replica_answers_while_it_hears_its_primary_in_time() -> None:
    async def script(c: Scenario) -> None:
        for value in range(20):
            await written(c, value)
            await c.sleep(0.3)
            for name in replicas(c):
                assert await read(c, name) == value
                assert await read(c, name, limit_ms=0) == "not_primary"

    sim(script)


def test_a_replica_that_hears_its_primary_late_does_not_call_it_fresh() -> None:
    """Every heartbeat arrives, each of them old: what it says was true when it was sent."""

    async def script(c: Scenario) -> None:
        await written(c, 0)
        late, other = replicas(c)
        await c.sleep(1.0)
        async with await c.slow(late, latency_s=1.5, to=primary(c, "kv-shard-1")):
            for value in range(1, 30):
                await written(c, value)
                await c.sleep(0.2)
                assert await read(c, other) == value
                assert await read(c, late) == "not_primary"
        await c.sleep(3.0)
        await written(c, 30)
        await c.sleep(0.2)
        assert await read(c, late) == 30

    sim(script)


def test_a_replica_never_shows_what_was_cut_from_its_log() -> None:
    """A primary that is cut off runs ahead of what is committed; what it wrote alone is cut when it
    follows the next one, and until then nobody is shown it."""

    async def script(c: Scenario) -> None:
        await written(c, 1)
        old = primary(c, "kv-shard-1")
        client = c.cluster.operator.client(old, RPC_PORT)
        async with await c.partition(old, ",".join(replicas(c))):
            try:
                await client.call("set", "k", 666, timeout_s=0.2)
            except RpcError as error:
                assert not error.definite
            while primary(c, "kv-shard-1") == old:
                assert await read(c, old, 60_000) in (1, "not_primary", *UNKNOWN)
                await c.sleep(0.05)
            await written(c, 2)
        for _ in range(400):
            assert await read(c, old, 60_000) in (1, 2, "not_primary", *UNKNOWN)
            await c.sleep(0.005)
        assert await read(c, old) == 2

    sim(script, STORE.replace("2s", "1s"))
