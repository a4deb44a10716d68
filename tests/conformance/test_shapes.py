"""What a link's shape does: delay, jitter, loss as delay, bandwidth that all who cross it share."""

from __future__ import annotations

import pytest
import trio

from emu.machine import links
from tests.conformance.conftest import (
    CLIENT,
    LATE_S,
    SERVER,
    Stopwatch,
    connected,
    shape_all,
    spec,
)


async def receive_exactly(stream, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = await stream.receive_some(size - len(received))
        assert chunk
        received += chunk
    return bytes(received)


@pytest.mark.parametrize("latency_s", [0.0002, 0.005, 0.1])
async def test_a_message_takes_the_links_latency(make_world, latency_s):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=latency_s)
        watch = Stopwatch(world)
        await near.send_all(b"there")
        assert await far.receive_some() == b"there"
        watch.took(latency_s)
        await far.send_all(b"and back")
        assert await near.receive_some() == b"and back"
        watch.took(2 * latency_s)


async def test_a_connect_takes_a_round_trip(make_world):
    async with make_world() as world, connected(world) as (client, *_):
        shape_all(world, latency_s=0.03)
        watch = Stopwatch(world)
        await client.network.open_stream("server-1", 7000)
        watch.took(0.06)


async def test_the_two_directions_have_a_shape_each(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        there, back = links.Shape(latency_s=0.04), links.Shape(latency_s=0.01)
        world.links.shape(lambda source, target: (there if source == "client-1" else back, source))
        watch = Stopwatch(world)
        await near.send_all(b"x")
        assert await far.receive_some() == b"x"
        watch.took(0.04)
        await far.send_all(b"x")
        assert await near.receive_some() == b"x"
        watch.took(0.05)


async def test_latency_delays_but_does_not_throttle(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=0.05)
        watch = Stopwatch(world)
        await near.send_all(b"x" * 200_000)
        await receive_exactly(far, 200_000)
        watch.took(0.05)


async def test_jitter_delays_by_different_amounts_and_never_reorders(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=0.005, jitter_s=0.005)
        sent = [b"%04d" % number for number in range(100)]

        async def send():
            for data in sent:
                await near.send_all(data)
                await trio.sleep(0.0002)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            received = await receive_exactly(far, 400)
        assert received == b"".join(sent)


@pytest.mark.slow
async def test_what_is_sent_again_is_not_overtaken_by_what_came_after_it(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        world.links.add(links.Lose(CLIENT, SERVER, loss_ratio=0.2))
        sent = [b"%04d" % number for number in range(60)]
        watch = Stopwatch(world)

        async def send() -> None:
            for each in sent:
                await near.send_all(each)
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            received = await receive_exactly(far, 4 * len(sent))
        assert received == b"".join(sent)
        assert watch.took_s >= links.MIN_RTO_S, "none of sixty was lost at 20%"


async def test_loss_on_a_stream_is_a_retransmissions_delay(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        world.links.add(links.Lose(CLIENT, SERVER, loss_ratio=0.5))
        watch = Stopwatch(world)
        for number in range(3):
            await near.send_all(b"%d" % number)
            assert await far.receive_some() == b"%d" % number
        assert watch.took_s >= links.MIN_RTO_S, "none of three was lost at 50%"
        assert watch.took_s < 20


async def test_bandwidth_is_the_links_and_two_connections_share_it(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        listener = await server.network.listen(7000)
        near = [await client.network.open_stream("server-1", 7000) for _ in range(2)]
        far = [await listener.accept() for _ in range(2)]
        world.links.add(links.Throttle(CLIENT, SERVER, bandwidth_bytes_per_s=1_000_000))
        watch = Stopwatch(world)
        took_s: list[float] = []

        async def send(stream):
            for _ in range(10):
                await stream.send_all(b"x" * 10_000)

        async def receive(stream):
            await receive_exactly(stream, 100_000)
            took_s.append(watch.took_s)

        async with trio.open_nursery() as nursery:
            for stream in near:
                nursery.start_soon(send, stream)
            for stream in far:
                nursery.start_soon(receive, stream)
        watch.took(0.2)
        assert min(took_s) > 0.1, "one had the whole link for itself"


async def test_a_declared_bandwidth_is_shared_by_all_pairs_of_its_trunk(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        clients = [world.machine(spec(f"client-{number}")).boot(1)[1] for number in (1, 2)]
        listener = await server.network.listen(7000)
        pairs = []
        for client in clients:
            near = await client.network.open_stream("server-1", 7000)
            pairs.append((near, await listener.accept()))
        shape = links.Shape(bandwidth_bytes_per_s=1_000_000)
        world.links.shape(lambda source, target: (shape, "inward" if target == "server-1" else ""))
        watch = Stopwatch(world)
        for near, _ in pairs:
            await near.send_all(b"x" * 50_000)
        for _, far in pairs:
            await receive_exactly(far, 50_000)
        watch.took(0.1)


async def test_who_opens_connections_over_a_long_link_holds_up_nobody_else(make_world):
    """The answer to each attempt kept the way back for itself until it would leave: with a few
    dozen of them, requests across an ocean took a second."""
    async with make_world() as world, connected(world) as (client, _, near, far):
        shape_all(world, latency_s=0.02, bandwidth_bytes_per_s=125e6)

        async def open_some():
            kept = [await client.network.open_stream("server-1", 7000) for _ in range(10)]
            await trio.sleep_forever()
            assert kept

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(open_some)
            for _ in range(5):
                await client.clock.sleep(0.013)
                watch = Stopwatch(world)
                await far.send_all(b"x")
                await near.receive_some()
                assert 0.02 <= watch.took_s < 0.021 + (0.0 if world.name == "sim" else LATE_S)
            nursery.cancel_scope.cancel()


async def test_a_fast_long_link_has_a_window_as_wide_as_its_pipe(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=0.05, bandwidth_bytes_per_s=20e6)
        watch = Stopwatch(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, b"x" * 2_000_000)
            await receive_exactly(far, 2_000_000)
        assert watch.took_s < 0.1 + 0.05 + LATE_S, "the window throttled it"


@pytest.mark.parametrize("who", ["client-1", "server-1"])
async def test_a_links_shape_survives_the_restart_of_either_end(make_world, who):
    async with make_world() as world, connected(world):
        shape_all(world, latency_s=0.02)
        world.links.add(links.Slow(CLIENT, SERVER, latency_s=0.03))
        contexts = {}
        for name in ("client-1", "server-1"):
            machine = world.machine(spec(name))
            if name == who:
                machine.life.end(crash=True)
                contexts[name] = machine.boot(2)[1]
        server = contexts.get("server-1")
        if server is None:
            world.machine(spec("server-1")).life.end(crash=False)
            _, server = world.machine(spec("server-1")).boot(3)
        client = contexts.get("client-1")
        if client is None:
            world.machine(spec("client-1")).life.end(crash=False)
            _, client = world.machine(spec("client-1")).boot(3)
        listener = await server.network.listen(7000)
        watch = Stopwatch(world)
        near = await client.network.open_stream("server-1", 7000)
        watch.took(0.1)
        far = await listener.accept()
        await near.send_all(b"x")
        assert await far.receive_some() == b"x"
        watch.took(0.15)


async def test_a_shape_that_changes_applies_to_connections_that_exist(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        for latency_s in (0.02, 0.0, 0.01):
            shape_all(world, latency_s=latency_s)
            watch = Stopwatch(world)
            await near.send_all(b"x")
            assert await far.receive_some() == b"x"
            watch.took(latency_s or world.network.least_latency_s)


async def test_bytes_sent_before_a_link_became_fast_are_not_overtaken(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=0.03)
        await near.send_all(b"slow ")
        shape_all(world)
        await near.send_all(b"fast")
        assert await receive_exactly(far, 9) == b"slow fast"
