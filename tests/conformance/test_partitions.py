"""Cuts hold bytes and let them go; they act one way or both, on connections that exist already."""

from __future__ import annotations

import pytest
import trio

from emu.machine import links
from nodes.kind import RPC
from tests.conformance.conftest import (
    CLIENT,
    SECOND,
    SERVER,
    Stopwatch,
    connected,
    ends,
    is_silent,
    shape_all,
    spec,
)

FIRST_RETRY_S = links.MIN_RTO_S


async def test_a_held_connection_resumes_at_the_next_retransmission(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        rule = world.links.add(links.Partition(CLIENT, SERVER))
        watch = Stopwatch(world)
        await near.send_all(b"one")
        await far.send_all(b"two")
        assert await is_silent(far.receive_some)
        assert await is_silent(near.receive_some)
        rule.remove()
        assert await far.receive_some() == b"one"
        watch.took(FIRST_RETRY_S)
        assert await near.receive_some() == b"two"
        await near.send_all(b"three")
        assert await far.receive_some() == b"three"


@pytest.mark.slow
async def test_the_longer_a_cut_the_later_its_retransmissions(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        rule = world.links.add(links.Partition(CLIENT, SERVER))
        watch = Stopwatch(world)
        await near.send_all(b"held")
        await trio.sleep(FIRST_RETRY_S + 0.01)
        rule.remove()
        assert await far.receive_some() == b"held"
        watch.took(FIRST_RETRY_S + 2 * FIRST_RETRY_S)


async def test_nothing_is_lost_or_reordered_by_many_cuts(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=0.001, jitter_s=0.001)

        async def send():
            for number in range(200):
                await near.send_all(b"%03d " % number)
                await trio.sleep(0.0005)
            await near.send_eof()

        async def cut():
            for _ in range(3):
                with world.links.add(links.Partition(CLIENT, SERVER)):
                    await trio.sleep(0.01)
                await trio.sleep(0.02)

        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(cut)
            while chunk := await far.receive_some():
                received += chunk
        assert received == b"".join(b"%03d " % number for number in range(200))


async def test_a_one_way_cut_cuts_one_way(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        world.links.add(links.Partition(CLIENT, SERVER, both=False))
        await far.send_all(b"passes")
        assert await near.receive_some() == b"passes"
        await near.send_all(b"does not")
        assert await is_silent(far.receive_some)


@pytest.mark.parametrize("latency_s", [0.0, 0.001])
async def test_a_one_way_cut_stalls_the_other_way_after_a_window(make_world, latency_s):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=latency_s)
        rule = world.links.add(links.Partition(CLIENT, SERVER, both=False))
        sent = received = 0

        async def drain():
            nonlocal received
            while True:
                received += len(await near.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            with trio.move_on_after(0.1):
                while True:
                    await far.send_all(b"x" * 16384)
                    sent += 16384
            assert sent == links.MIN_WINDOW_BYTES, "acknowledgements do not come back"
            assert received == sent, "all that was sent has arrived"
            rule.remove()
            await far.send_all(b"x" * 16384)
            nursery.cancel_scope.cancel()


async def test_a_close_is_not_heard_across_a_cut(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        rule = world.links.add(links.Partition(CLIENT, SERVER))
        await near.aclose()
        assert await is_silent(far.receive_some)
        rule.remove()
        assert await far.receive_some() == b""


async def test_an_abort_is_not_heard_across_a_cut(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        rule = world.links.add(links.Partition(CLIENT, SERVER))
        near.abort()
        assert await is_silent(far.receive_some)
        rule.remove()
        assert await ends(far) == "reset"


async def test_what_nobody_acknowledges_breaks_its_sender_and_the_peer_hears_after_healing(
    make_world,
):
    async with make_world() as world:
        world.links.user_timeout_s = 0.1
        async with connected(world) as (_, _, near, far):
            rule = world.links.add(links.Partition(CLIENT, SERVER))
            watch = Stopwatch(world)
            await near.send_all(b"into the void")
            with pytest.raises(trio.BrokenResourceError):
                await near.receive_some()
            watch.took(0.1)
            with pytest.raises(trio.BrokenResourceError):
                await near.send_all(b"more")
            assert await is_silent(far.receive_some), "the far end of a dead connection hangs"
            rule.remove()
            assert await ends(far) == "reset"


async def test_missing_acknowledgements_break_the_sender_too(make_world):
    async with make_world() as world:
        world.links.user_timeout_s = 0.1
        async with connected(world) as (_, _, near, far):
            world.links.add(links.Partition(CLIENT, SERVER, both=False))
            watch = Stopwatch(world)
            await far.send_all(b"arrives")
            assert await near.receive_some() == b"arrives"
            with pytest.raises(trio.BrokenResourceError):
                await far.receive_some()
            watch.took(0.1, late_s=0.3)


async def test_an_idle_connection_outlives_any_cut(make_world):
    async with make_world() as world:
        world.links.user_timeout_s = 0.05
        async with connected(world) as (_, _, near, far):
            with world.links.add(links.Partition(CLIENT, SERVER)):
                await trio.sleep(0.1)
            await near.send_all(b"still here")
            assert await far.receive_some() == b"still here"


async def test_a_connect_into_a_partition_hangs_and_then_times_out(make_world):
    async with make_world() as world:
        world.links.connect_timeout_s = 0.3
        async with connected(world) as (client, *_):
            world.links.add(links.Partition(CLIENT, SERVER))
            watch = Stopwatch(world)
            with pytest.raises(TimeoutError):
                await client.network.open_stream("server-1", 7000)
            watch.took(0.3)


@pytest.mark.parametrize("both", [True, False])
async def test_a_connect_succeeds_when_the_partition_heals_in_time(make_world, both):
    async with make_world() as world, connected(world) as (client, *_):
        rule = world.links.add(links.Partition(SERVER, CLIENT, both=both))
        world.timers.call_at(world.timers.now_s() + 0.05, rule.remove)
        watch = Stopwatch(world)
        await client.network.open_stream("server-1", 7000)
        assert 0.05 <= watch.took_s < 0.6


async def test_a_handshake_that_a_cut_interrupts_is_repeated(make_world):
    async with make_world() as world, connected(world) as (client, *_):
        shape_all(world, latency_s=0.02)
        cut = links.Partition(CLIENT, SERVER)
        rules = []
        world.timers.call_at(
            world.timers.now_s() + 0.01, lambda: rules.append(world.links.add(cut))
        )
        world.timers.call_at(world.timers.now_s() + 0.1, lambda: rules.pop().remove())
        watch = Stopwatch(world)
        await client.network.open_stream("server-1", 7000)
        assert watch.took_s > 0.14, "the first attempt was swallowed"


async def test_a_rejecting_partition_resets_connections_and_refuses_new_ones(make_world):
    async with make_world() as world, connected(world) as (client, _, near, far):
        rule = world.links.add(links.Partition(CLIENT, SERVER, mode="reject"))
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(10):
                await near.send_all(b"x")
                await trio.sleep(0.01)
        assert await ends(far) == "reset"
        with pytest.raises(ConnectionResetError):
            await client.network.open_stream("server-1", 7000)
        rule.remove()
        await client.network.open_stream("server-1", 7000)


async def test_a_partition_that_begins_to_reject_resets_what_it_held(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        world.links.add(links.Partition(CLIENT, SERVER))
        await near.send_all(b"held")
        world.links.add(links.Partition(CLIENT, SERVER, mode="reject"))
        assert await ends(near) == "reset"
        assert await ends(far) == "reset"


async def test_a_cut_concerns_its_two_sides_only(make_world):
    async with make_world() as world, connected(world, ports=(RPC, SECOND)) as (_, server, _, _):
        _, other = world.machine(spec("client-2")).boot(1)
        listener = await server.network.listen(7001)
        near = await other.network.open_stream("server-1", 7001)
        far = await listener.accept()
        world.links.add(links.Partition(CLIENT, SERVER))
        await near.send_all(b"passes")
        assert await far.receive_some() == b"passes"


async def test_healing_undoes_every_fault_and_no_shape(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=0.02)
        world.links.add(links.Slow(CLIENT, SERVER, latency_s=5.0))
        world.links.add(links.Lose(CLIENT, SERVER, loss_ratio=0.9))
        world.links.add(links.Partition(CLIENT, SERVER))
        world.links.heal()
        watch = Stopwatch(world)
        await near.send_all(b"x")
        assert await far.receive_some() == b"x"
        watch.took(0.02)
