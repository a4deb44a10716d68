"""Streams behave as Trio's own do, in every world, plain and shaped, and know their peer."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from emu import links
from nodes.base import OUTSIDE, Fenced
from tests.conformance.conftest import connected, spec

EVERYBODY = frozenset({"client-1", "server-1"})


@pytest.mark.slow
@pytest.mark.parametrize("latency_s", [0.0, 0.001])
async def test_trios_own_stream_checks_pass(make_world, latency_s):
    async with make_world() as world:
        if latency_s:
            world.links.shape(lambda a, b: (links.Shape(latency_s=latency_s), f"{a}{b}"))
        _, server = world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        listener = await server.network.listen(7000)

        async def pair():
            near = await client.network.open_stream("server-1", 7000)
            return near, await listener.accept()

        async def clogged():
            near, far = await pair()
            for stream in (near, far):
                with trio.move_on_after(0.05):
                    while True:
                        await stream.send_all(b"x" * 65536)
            return near, far

        await trio.testing.check_two_way_stream(pair, None)
        await trio.testing.check_half_closeable_stream(pair, None)


async def test_accept_hands_over_the_name_of_the_peer(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        assert near.peer.name == "server-1"
        assert far.peer.name == "client-1"


async def test_the_end_of_a_quiet_connection_is_seen_without_reading(make_world):
    async with make_world() as world, connected(world) as (_, server, near, far):
        assert not (near.ended() or far.ended())
        await far.send_all(b"goodbye")
        await far.send_eof()
        await server.clock.sleep(0.05)
        assert not near.ended(), "there is something to be read first"
        assert await near.receive_some() == b"goodbye"
        assert near.ended() and not far.ended()
        near.abort()
        await server.clock.sleep(0.05)
        assert near.ended() and far.ended()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()


async def test_bytes_that_were_sent_arrive_after_their_sender_was_killed(make_world):
    async with make_world() as world:
        world.links.shape(lambda a, b: (links.Shape(latency_s=0.02), f"{a}{b}"))
        async with connected(world) as (_, _, near, far):
            await near.send_all(b"last words")
            world.machine(spec("client-1")).life.end(crash=False)
            assert await far.receive_some() == b"last words"
            with pytest.raises(Fenced):
                await near.send_all(b"from the grave")
            try:
                assert await far.receive_some() == b""
            except trio.BrokenResourceError:
                pass


async def test_a_stranger_is_refused_by_a_private_listener(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        _, stranger = world.machine(spec("stranger-1", dials=())).boot(1)
        listener = await server.network.listen(7000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.accept)
            with pytest.raises((trio.BrokenResourceError, OSError)):
                stream = await stranger.network.open_stream("server-1", 7000)
                await stream.receive_some()
                raise trio.BrokenResourceError  # a FIN is a refusal as well
            nursery.cancel_scope.cancel()


async def test_a_public_listener_takes_clients_from_outside(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1", public=True)).boot(1)
        listener = await server.network.listen(7000)
        near = await world.outside_network().open_stream("server-1", 7000)
        far = await listener.accept()
        assert far.peer.name == OUTSIDE
        await near.send_all(b"hello")
        assert await far.receive_some() == b"hello"


async def test_nobody_listens_is_a_refused_connection(make_world):
    async with make_world() as world:
        world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        with pytest.raises(OSError):
            await client.network.open_stream("server-1", 7000)


async def test_a_clients_silence_after_a_crash_ends_when_the_machine_is_back(make_world):
    async with make_world() as world, connected(world) as (_, _, near, _):
        world.machine(spec("server-1")).life.end(crash=True)
        with trio.move_on_after(0.05) as scope:
            await near.receive_some()
        assert scope.cancelled_caught, "a power cut is silent"
        world.machine(spec("server-1")).boot(2)
        try:
            assert await near.receive_some() == b""
        except trio.BrokenResourceError:
            pass
