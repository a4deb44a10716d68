"""Streams behave as Trio's own do, in every world, plain and shaped; and end as a kernel's."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.conformance.conftest import (
    Stopwatch,
    connected,
    ends,
    is_silent,
    shape_all,
    spec,
    turns,
)


async def clog(world, latency_s: float, *streams) -> None:
    """Fill all that lies between the two ends: the kernel's buffers (it acknowledges up to 40 ms
    late), then the links' windows."""
    shape_all(world)
    await fill(*streams, patience_s=0.05)
    if latency_s:
        shape_all(world, latency_s=latency_s)
        await fill(*streams, patience_s=0.01)
    await trio.sleep(0.01)
    while any(stream.send_nowait(b"x") for stream in streams):  # the kernel found some more room
        await fill(*streams, patience_s=0.05)


async def fill(*streams, patience_s: float) -> None:
    async def one(stream) -> None:
        stuck = False
        while not stuck:
            with trio.move_on_after(patience_s) as scope:
                await stream.send_all(b"x" * 65536)
            stuck = scope.cancelled_caught

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(one, stream)


PLAIN_AND_SHAPED = pytest.mark.parametrize("latency_s", [0.0, 0.001])


@pytest.mark.slow
@PLAIN_AND_SHAPED
async def test_trios_own_stream_checks_pass(make_world, latency_s):
    async with make_world(buffer_bytes=16384) as world:
        shape_all(world, latency_s=latency_s)
        _, server = world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        listener = await server.network.listen(7000)

        async def pair():
            near = await client.network.open_stream("server-1", 7000)
            return near, await listener.accept()

        async def clogged():
            near, far = await pair()
            await clog(world, latency_s, near, far)
            return near, far

        await trio.testing.check_half_closeable_stream(pair, clogged)


async def test_what_has_arrived_at_a_quiet_connection_is_seen_without_reading(make_world):
    async with make_world() as world, connected(world) as (_, server, near, far):
        assert not (near.has_arrived() or far.has_arrived())
        await far.send_all(b"goodbye")
        await server.clock.sleep(0.05)
        assert near.has_arrived()
        assert await near.receive_some() == b"goodbye"
        assert not near.has_arrived()
        await far.send_eof()
        await server.clock.sleep(0.05)
        assert near.has_arrived() and not far.has_arrived()
        near.abort()
        await server.clock.sleep(0.05)
        assert near.has_arrived() and far.has_arrived()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()


@PLAIN_AND_SHAPED
async def test_megabytes_pass_both_ways_unharmed(make_world, latency_s):
    async with make_world() as world:
        shape_all(world, latency_s=latency_s)
        async with connected(world) as (_, _, near, far), trio.open_nursery() as nursery:
            data = bytes(range(256)) * 8192

            async def send(stream):
                await stream.send_all(data)
                await stream.send_eof()

            async def receive(stream):
                received = bytearray()
                while chunk := await stream.receive_some():
                    received += chunk
                assert received == data

            for stream in (near, far):
                nursery.start_soon(send, stream)
                nursery.start_soon(receive, stream)


async def test_what_nobody_reads_stops_its_sender(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        sent = 0
        with trio.move_on_after(0.1):
            while True:
                await near.send_all(b"x" * 32768)
                sent += 32768
        assert 256 * 1024 <= sent <= 4 << 20, "a socket's buffers, at both ends"
        received = 0
        while received < sent:
            received += len(await far.receive_some())
        await near.send_all(b"room again")


async def test_a_lone_chunk_may_be_sent_without_waiting(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        assert near.send_nowait(b"now") == 3
        assert await far.receive_some() == b"now"
        sent = 0
        while size := near.send_nowait(b"x" * 65536):
            sent += size
        assert sent >= 65536, "until the buffers are full"
        await near.aclose()
        assert near.send_nowait(b"closed") == 0


@PLAIN_AND_SHAPED
async def test_a_close_is_heard_after_the_last_byte(make_world, latency_s):
    async with make_world() as world:
        async with connected(world) as (_, _, near, far):
            shape_all(world, latency_s=latency_s)
            await near.send_all(b"x" * 100_000)
            await near.aclose()
            received = 0
            while chunk := await far.receive_some():
                received += len(chunk)
            assert received == 100_000


async def test_a_close_of_an_idle_connection_takes_the_links_time(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=0.05)
        watch = Stopwatch(world)
        await near.aclose()
        assert await far.receive_some() == b""
        watch.took(0.05)


async def test_an_abort_is_a_reset_and_takes_the_links_time(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=0.05)
        watch = Stopwatch(world)
        near.abort()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()
        watch.took(0.05)


async def test_bytes_that_were_delivered_stay_readable_after_a_reset(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        await near.send_all(b"delivered")
        await turns(3)
        await trio.sleep(0.01)
        near.abort()
        await trio.sleep(0.01)
        assert await far.receive_some() == b"delivered"
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()


@PLAIN_AND_SHAPED
async def test_who_sends_to_a_closed_end_is_reset(make_world, latency_s):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=latency_s)
        await far.aclose()
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(50):
                await near.send_all(b"is anybody there?")
                await trio.sleep(0.002)


async def test_a_close_over_a_clogged_link_ends_all_the_same(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        await clog(world, 0.001, near, far)
        await near.aclose()
        with trio.fail_after(5):
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await far.send_all(b"x" * 65536)
                    await far.receive_some()


async def test_a_connect_that_nobody_accepts_is_complete_until_the_listener_closes(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        listener = await server.network.listen(7000)
        near = await client.network.open_stream("server-1", 7000)
        await near.send_all(b"early")
        assert await is_silent(near.receive_some)
        await listener.aclose()
        assert await ends(near) == "reset"


async def test_nobody_listens_is_a_refused_connection(make_world):
    async with make_world() as world:
        world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        with pytest.raises(ConnectionRefusedError):
            await client.network.open_stream("server-1", 7000)
        with pytest.raises(ConnectionRefusedError):
            await client.network.open_stream("no-such-machine", 7000)


async def test_a_port_is_taken_once_and_free_again_after_a_close(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        listener = await server.network.listen(7000)
        await listener.aclose()
        again = await server.network.listen(7000)
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
        await again.aclose()


async def test_a_listeners_accept_may_be_cancelled_and_waited_for_again(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        listener = await server.network.listen(7000)
        assert await is_silent(listener.accept)
        near = await client.network.open_stream("server-1", 7000)
        far = await listener.accept()
        await near.send_all(b"hello")
        assert await far.receive_some() == b"hello"


@pytest.mark.slow
async def test_a_full_backlog_swallows_attempts(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        await server.network.listen(7000)
        world.links.connect_timeout_s = 0.2
        connected_before = 0
        with pytest.raises(TimeoutError):
            for _ in range(1100):
                await client.network.open_stream("server-1", 7000)
                connected_before += 1
        assert 1024 <= connected_before <= 1025
