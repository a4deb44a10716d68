"""A cache's asking side: whom it takes for dead, and what a node may show that missed something."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nodes.base import RPC_PORT
from nodes.cache.client import CacheClient
from nodes.cache.config import CacheConfig, CacheGutterConfig
from nodes.cache.members import NOTHING
from nodes.cache.node import CacheNode
from nodes.wire.answers import Call, current_call
from nodes.wire.directory import Directory
from protocols.errors import RpcError
from tests.nodes.harness import MemoryWorld


class Rig:
    """A cache of one node, a gutter of one, and a client of both."""

    def __init__(self, world: MemoryWorld, client: CacheClient) -> None:
        self.world = world
        self.client = client
        self.nodes: dict[str, CacheNode] = {}
        self.flows = {"cache": trio.Event(), "gutter": trio.Event()}
        """Set while the tier's node answers; else it only does what it is asked for."""
        for each in self.flows.values():
            each.set()

    @property
    def away(self) -> bool:
        return "cache node away" in self.client.ctx.log.names()

    async def hang(self, for_s: float, tier: str = "cache") -> None:
        flows = self.flows[tier] = trio.Event()
        await trio.sleep(for_s)
        flows.set()

    async def add(self, node: CacheNode) -> None:
        name = node.ctx.name
        self.nodes[name] = node
        await self.world.start(node)

        async def pump(stream: Any) -> None:
            """All that goes to the node and comes back, unless it hangs."""
            async with (
                await self.world.context("wire").network.open_stream(name, RPC_PORT) as inner,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._copy, stream, inner, "")
                await self._copy(inner, stream, name.partition("-")[0])
                nursery.cancel_scope.cancel()

        await self.world.serve(f"{name}-wire", RPC_PORT, pump)
        self.world.list_member(f"{name}-wire", RPC_PORT, tier=name.partition("-")[0])

    async def _copy(self, source: Any, target: Any, tier: str) -> None:
        while data := await source.receive_some():
            if tier:
                await self.flows[tier].wait()
            await target.send_all(data)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with trio.open_nursery() as nursery:
        world = MemoryWorld(nursery)
        await world.serve_directory()
        ctx = world.context("web-1")
        client = CacheClient(ctx, nursery, Directory(ctx, nursery), "cache", "gutter")
        rig = Rig(world, client)
        await rig.add(CacheNode(world.context("cache-1"), CacheConfig(early_refresh=False)))
        await rig.add(CacheNode(world.context("gutter-1"), CacheGutterConfig()))
        await client.start()
        yield rig
        nursery.cancel_scope.cancel()


async def value(lsn: int) -> str:
    return "of the database"


class within:
    """Ask in the name of a caller that has so long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        current_call.set(Call(deadline_s=trio.current_time() + self.seconds))

    def __exit__(self, *problem: object) -> None:
        current_call.set(None)


async def test_a_caller_in_a_hurry_makes_no_healthy_node_suspect(
    autojump_clock: MockClock, rig: Rig
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.hang, 0.2)
        await trio.sleep(0.01)
        with within(0.05), pytest.raises(RpcError):
            await rig.client.get("k")
        assert not rig.away
    await trio.sleep(1.0)
    assert not rig.away, "asked again, with time, it was there"


async def test_though_all_callers_are_in_a_hurry_a_dead_node_is_found_out(
    autojump_clock: MockClock, rig: Rig
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.hang, 2.0)
        await trio.sleep(0.01)
        with within(0.05), pytest.raises(RpcError):
            await rig.client.get("k")
        await trio.sleep(0.6)
        assert rig.away
        with within(0.05):
            assert await rig.client.fetch("k", value) == "of the database"
        assert rig.nodes["gutter-1"].desk.hits + rig.nodes["gutter-1"].desk.misses > 0


async def test_who_waits_for_anothers_fill_has_time_left_to_ask_the_database(
    autojump_clock: MockClock, rig: Rig
) -> None:
    await rig.nodes["cache-1"].desk.get(Call("web-2"), "k")
    with within(0.2):
        assert await rig.client.fetch("k", value) == "of the database"


async def test_what_was_set_at_the_gutter_the_owner_does_not_show_as_it_was(
    autojump_clock: MockClock, rig: Rig
) -> None:
    assert await rig.client.set("k", "old")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.hang, 1.0)
        await trio.sleep(0.01)
        assert await rig.client.set("k", "new")
        assert await rig.client.get("k") == "new"
    await trio.sleep(2.0)
    assert "cache node back" in rig.client.ctx.log.names()
    assert await rig.client.get("k") != "old"


@pytest.mark.parametrize("first_lsn", [0, 7])
async def test_a_later_commits_deletion_covers_no_earlier_one_of_which_no_log_tells(
    autojump_clock: MockClock, rig: Rig, first_lsn: int
) -> None:
    for key in ("a", "b"):
        await rig.client.set(key, "old")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.hang, 1.0)
        await trio.sleep(0.01)
        assert not await rig.client.delete("a", lsn=first_lsn)
        assert not await rig.client.delete("b", lsn=9)
    missed = rig.client._main.owner("a")
    assert missed is not None and missed.missed.lsn == 9
    assert missed.missed.unlogged == (first_lsn == 0)
    await trio.sleep(2.0)
    assert "cache node back" in rig.client.ctx.log.names()
    assert await rig.client.get("a") is await rig.client.get("b") is None, "it was flushed first"


async def test_a_deletion_goes_on_though_its_caller_leaves_or_has_no_time_left(
    autojump_clock: MockClock, rig: Rig
) -> None:
    for key in ("a", "b"):
        await rig.client.set(key, "old")
    with within(0.0):
        assert await rig.client.delete("a", lsn=3)
    with trio.CancelScope() as scope:
        scope.cancel()
        await rig.client.delete("b", lsn=4)
    await trio.sleep(0.1)
    assert await rig.client.get("a") is None and await rig.client.get("b") is None


async def test_of_many_keys_those_that_can_be_are_deleted_whatever_the_others_are(
    autojump_clock: MockClock,
    rig: Rig,
) -> None:
    keys = [f"k{number}" for number in range(2500)]
    desk = rig.nodes["cache-1"].desk
    for key in keys:
        desk.set(Call(), key, 1)
    assert await rig.client.delete("x" * 300, "", *keys, lsn=1)
    assert len(desk.store) == 0


async def test_an_idle_gutter_node_that_was_away_is_probed_and_not_suspect_for_ever(
    autojump_clock: MockClock, rig: Rig
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.hang, 1.0, "gutter")
        await trio.sleep(0.01)
        assert not await rig.client.delete("k", lsn=1), "the gutter did not hear it"
        assert rig.away
    await trio.sleep(1.0)  # nobody asks for anything
    gutter = rig.client._gutter
    assert gutter is not None
    member = gutter.owner("k")
    assert member is not None and not member.suspect and member.missed == NOTHING


async def test_a_node_that_is_back_is_not_asked_before_it_was_probed(
    autojump_clock: MockClock, rig: Rig
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.hang, 1.0)
        await trio.sleep(0.01)
        assert not await rig.client.delete("k", lsn=1)
        asked = rig.nodes["cache-1"].desk.misses
        for _ in range(20):
            assert await rig.client.fetch("k", value) == "of the database"
            await trio.sleep(0.03)
        assert rig.nodes["cache-1"].desk.misses == asked, "the gutter was"
    await trio.sleep(1.0)
    await rig.client.fetch("k", value)
    assert rig.nodes["cache-1"].desk.misses == asked + 1
