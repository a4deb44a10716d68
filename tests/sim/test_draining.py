"""An orderly end waits for the node's connections, unless somebody is in a hurry."""

from __future__ import annotations

import trio

import emu
from emu.running import views
from emu.running.handle import DRAIN_TIMEOUT_S
from emu.topology.loading import loads

PLAN = loads("""
tiers:
  lb: {kind: balancer, public: true, balances: web}
  web: {kind: web, nodes: 2}
users:
  local: {rate: 0/s, clients: 5, think_time: 1s, visits: lb}
""")


def test_a_restart_says_how_many_connections_it_waits_for_and_gives_up_in_time() -> None:
    async def script(c: emu.Scenario) -> float:
        await c.sleep(5)
        began_s = c.now_s
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.restart, "lb")
            await c.sleep(1)
            left = await views.draining(c.cluster)
            assert list(left) == ["lb-1"]
            assert left["lb-1"] is not None and left["lb-1"] > 0
        assert await views.draining(c.cluster) == {}
        return c.now_s - began_s

    took_s = emu.run(script, PLAN, seed=1)
    assert took_s <= DRAIN_TIMEOUT_S + 0.5


def test_now_waits_for_nothing() -> None:
    async def script(c: emu.Scenario) -> float:
        await c.sleep(5)
        began_s = c.now_s
        await c.restart("lb", now=True)
        assert not c.events("balancer draining")
        return c.now_s - began_s

    assert emu.run(script, PLAN, seed=2) < 0.5


def test_a_drain_that_is_under_way_can_be_ended() -> None:
    async def script(c: emu.Scenario) -> float:
        await c.sleep(5)
        began_s = c.now_s
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.restart, "lb")
            await c.sleep(1)
            await c.stop("lb", now=True)
        assert [row["state"] for row in await c.ps("lb")] == ["up"]
        assert len(c.events("node stopped", node="lb-1")) == 1
        assert not c.events("drain not finished")
        return c.now_s - began_s

    assert emu.run(script, PLAN, seed=3) < 2
