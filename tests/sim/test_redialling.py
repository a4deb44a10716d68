"""A client whose connection has fallen silent dials anew: soon after a healed partition, and not
without end while its peer hangs."""

from __future__ import annotations

import pytest

import emu
from emu.topology.loading import loads
from protocols.errors import RpcError

PLAN = loads("""
tiers:
  web: {kind: web, public: true, uses: db}
  db: {kind: database}
users:
  local: {rate: 20/s, visits: web}
""")


@pytest.mark.parametrize("seed", range(3))
def test_after_a_healed_partition_nobody_waits_for_the_old_connection(seed: int) -> None:
    async def script(c: emu.Scenario) -> float:
        await c.sleep(3)
        await c.partition("web", "db", for_s=10)
        await c.sleep(10.001)
        healed_s = c.now_s
        while c.now_s < healed_s + 10:
            try:
                await c.call("web-1", "site.count_posts", ["x"])
            except RpcError:
                await c.sleep(0.05)
            else:
                break
        return c.now_s - healed_s

    assert emu.run(script, PLAN, seed=seed) < 1.0  # the old one: 2.6 s, and more after longer cuts


def test_a_peer_that_hangs_is_dialled_once_a_second_at_most() -> None:
    async def script(c: emu.Scenario) -> tuple[int, int]:
        await c.sleep(2)
        client = c.cluster.operator.client("db-1", 7000)
        await client.call("ping")
        await c.pause("db-1")
        before, timeouts = c.cluster.world.network.connections, 0
        while c.now_s < 12:
            try:
                await client.call("ping", timeout_s=0.1)
            except RpcError:
                timeouts += 1
        return c.cluster.world.network.connections - before, timeouts

    dials, timeouts = emu.run(script, loads("tiers:\n  db: {kind: database}\n"), seed=4)
    assert timeouts >= 90
    assert 5 <= dials <= 10


def test_a_slow_answer_beside_quick_ones_breaks_nothing() -> None:
    async def script(c: emu.Scenario) -> int:
        """Writes wait for a transaction of another, beyond their time; pings come back at once."""
        await c.sleep(2)
        await c.sql("db", "BEGIN", timeout_ms=30_000)
        client = c.cluster.operator.client("db-1", 7000)
        before = c.cluster.world.network.connections
        for _ in range(8):
            await client.call("ping")
            with pytest.raises(RpcError):
                await client.call("write", [["SELECT 1"]], {}, timeout_s=0.5)
        return int(c.cluster.world.network.connections) - before

    assert emu.run(script, loads("tiers:\n  db: {kind: database}\n"), seed=5) == 1
