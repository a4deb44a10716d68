"""Cuts hold bytes and let them go; they act one way or both, on connections that exist already."""

from __future__ import annotations

import pytest
import trio

from emu import links
from tests.conformance.conftest import connected, spec

CLIENT, SERVER = frozenset({"client-1"}), frozenset({"server-1"})


async def silent(stream, seconds: float = 0.05) -> bool:
    with trio.move_on_after(seconds) as scope:
        await stream.receive_some()
    return scope.cancelled_caught


@pytest.mark.slow
async def test_a_held_connection_resumes_after_healing_with_every_byte(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        rule = world.links.add(links.Partition(CLIENT, SERVER))
        await near.send_all(b"one")
        await far.send_all(b"two")
        assert await silent(far)
        assert await silent(near)
        rule.remove()
        assert await far.receive_some() == b"one"
        assert await near.receive_some() == b"two"


async def test_a_one_way_cut_cuts_one_way(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        world.links.add(links.Partition(CLIENT, SERVER, both=False))
        await far.send_all(b"passes")
        assert await near.receive_some() == b"passes"
        await near.send_all(b"does not")
        assert await silent(far)


@pytest.mark.slow
async def test_a_one_way_cut_stalls_the_other_way_after_a_window(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        world.links.shape(lambda a, b: (links.Shape(latency_s=0.001), f"{a}{b}"))
        world.links.add(links.Partition(CLIENT, SERVER, both=False))
        sent = 0
        with trio.move_on_after(0.3):
            async with trio.open_nursery() as nursery:

                async def drain():
                    while True:
                        await near.receive_some()

                nursery.start_soon(drain)
                while True:
                    await far.send_all(b"x" * 16384)
                    sent += 16384
        assert sent <= 2 * links.MIN_WINDOW_BYTES


async def test_a_rejecting_partition_resets_connections_and_refuses_new_ones(make_world):
    async with make_world() as world, connected(world) as (client, _, near, _):
        world.links.add(links.Partition(CLIENT, SERVER, mode="reject"))
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(10):
                await near.send_all(b"x")
                await trio.sleep(0.01)
        with pytest.raises(ConnectionResetError):
            await client.network.open_stream("server-1", 7000)


@pytest.mark.slow
async def test_two_connections_share_the_bandwidth_of_one_link(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        listener = await server.network.listen(7000)
        world.links.add(links.Throttle(CLIENT, SERVER, bandwidth_bytes_per_s=1_000_000))
        started = world.timers.now_s()

        async def send():
            stream = await client.network.open_stream("server-1", 7000)
            await stream.send_all(b"x" * 150_000)
            await stream.send_eof()

        async def receive(stream):
            while await stream.receive_some():
                pass

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(send)
            for _ in range(2):
                nursery.start_soon(receive, await listener.accept())
        assert 0.27 < world.timers.now_s() - started < 0.6


@pytest.mark.slow
async def test_latency_delays_but_does_not_throttle(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        world.links.shape(lambda a, b: (links.Shape(latency_s=0.05), f"{a}{b}"))
        started = world.timers.now_s()
        await near.send_all(b"x" * 100_000)
        received = 0
        while received < 100_000:
            received += len(await far.receive_some())
        assert 0.05 <= world.timers.now_s() - started < 0.12
