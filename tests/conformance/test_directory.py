"""The directory: members of a tier, versioned and watchable, over the wire in every world."""

from __future__ import annotations

import pytest
import trio

from emu.running.directory import DirectoryNode, Listing, Membership
from nodes.base import DIRECTORY_HOST
from nodes.wire.client import Client
from nodes.wire.directory import Directory
from protocols import control
from protocols.control import Member
from protocols.errors import RpcError
from tests.conformance.conftest import LATE_S, Stopwatch, shape_all, spec, start


def member(number: int, **fields) -> Member:
    name = f"web-{number}"
    return Member(name, "web", "web", "here", "10.0.0.1", 8080, **{"ready": True, **fields})


async def directory(world, nursery, *, scale=None, may_scale=lambda dialer, tier: False):
    """Start it; returns (what the cluster writes, a node's context)."""
    membership = Membership()
    life, ctx = world.machine(spec(DIRECTORY_HOST)).boot(1)
    node = DirectoryNode(ctx, Listing(membership, scale, may_scale))

    async def run() -> None:
        async with trio.open_nursery() as inner:
            await inner.start(node.run)

    await start(nursery, life, run)
    _, client = world.machine(spec("client-1", dials=())).boot(1)
    return membership, client


async def test_everybody_may_ask_who_is_a_member(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        membership, ctx = await directory(world, nursery)
        membership.put(member(1))
        client = Client(ctx, nursery, DIRECTORY_HOST)
        version, members = await client.call(control.MEMBERS, "web")
        assert version == 1
        assert [Member.from_wire(each) for each in members] == [member(1)]
        assert await client.call(control.MEMBERS, "nobody") == [0, []]
        nursery.cancel_scope.cancel()


async def test_a_change_is_seen_after_one_way_of_the_link(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        membership, ctx = await directory(world, nursery)
        shape_all(world, latency_s=0.02)
        seen = []
        view = await Directory(ctx, nursery).follow("web", lambda view: seen.append(view.version))
        assert view.members == ()
        await trio.sleep(0.05)
        watch, changed = Stopwatch(world), view.changed
        membership.put(member(1))
        await changed.wait()
        watch.took(0.02)
        assert view.named("web-1") == member(1)
        assert seen == [0, 1]
        nursery.cancel_scope.cancel()


async def test_the_version_grows_with_each_change_and_only_then(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        membership, ctx = await directory(world, nursery)
        client = Client(ctx, nursery, DIRECTORY_HOST)
        versions = []
        for change in (
            lambda: membership.put(member(1)),
            lambda: membership.put(member(1)),
            lambda: membership.put(member(1, draining=True)),
            lambda: membership.remove("web", "web-2"),
            lambda: membership.remove("web", "web-1"),
        ):
            change()
            versions.append((await client.call(control.MEMBERS, "web"))[0])
        assert versions == [1, 1, 2, 2, 3]
        nursery.cancel_scope.cancel()


async def test_a_watch_of_an_unchanged_tier_ends_with_its_time(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        membership, ctx = await directory(world, nursery)
        membership.put(member(1))
        client = Client(ctx, nursery, DIRECTORY_HOST)
        await client.call("ping")
        watch = Stopwatch(world)
        version, _ = await client.call(control.WATCH, "web", 1, 50)
        assert version == 1
        assert 0.05 <= watch.took_s < 0.05 + LATE_S
        nursery.cancel_scope.cancel()


async def test_a_view_is_current_again_after_the_directory_was_killed(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        membership, ctx = await directory(world, nursery)
        view = await Directory(ctx, nursery).follow("web")
        machine = world.machine(spec(DIRECTORY_HOST))
        machine.life.end(crash=False)
        membership.put(member(1))
        life, again = machine.boot(2)
        node = DirectoryNode(again, Listing(membership))

        async def run() -> None:
            async with trio.open_nursery() as inner:
                await inner.start(node.run)

        changed = view.changed
        await start(nursery, life, run)
        with trio.fail_after(5):
            await changed.wait()
        assert view.named("web-1") is not None
        nursery.cancel_scope.cancel()


async def test_only_a_declared_edge_scales(make_world):
    scaled = []

    async def scale(tier: str, nodes: int) -> int:
        scaled.append((tier, nodes))
        return nodes

    async with make_world() as world, trio.open_nursery() as nursery:
        _, ctx = await directory(
            world,
            nursery,
            scale=scale,
            may_scale=lambda dialer, tier: (dialer, tier) == ("client-1", "web"),
        )
        own = Directory(ctx, nursery)
        assert await own.scale("web", 5) == 5
        with pytest.raises(RpcError, match="scales: db"):
            await own.scale("db", 5)
        assert scaled == [("web", 5)]
        nursery.cancel_scope.cancel()
