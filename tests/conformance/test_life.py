"""Kill, crash, pause and restart: what a node, its peers and its next generation see of them."""

from __future__ import annotations

import pytest
import trio

from emu.machine.private_trio import undead
from nodes.base import Fenced
from tests.conformance.conftest import (
    LATE_S,
    Stopwatch,
    connected,
    ends,
    is_silent,
    life_of,
    shape_all,
    spec,
    start,
    turns,
)

# --- kill ----------------------------------------------------------------------------------


async def test_a_finally_that_tries_to_act_after_a_kill_is_fenced(make_world):
    async with make_world() as world, connected(world) as (client, _, near, far):
        life = life_of(world, "client-1")
        tried: list[str] = []

        async def program() -> None:
            try:
                await client.clock.sleep(100)
            finally:
                client.log.info("from beyond")
                assert near.send_nowait(b"from beyond") == 0
                for name, call in (
                    ("send", lambda: near.send_all(b"from beyond")),
                    ("eof", near.send_eof),
                    ("receive", near.receive_some),
                    ("dial", lambda: client.network.open_stream("server-1", 7000)),
                    ("listen", lambda: client.network.listen(7001)),
                    ("sync", lambda: client.disk.sync("log")),
                    ("sleep", lambda: client.clock.sleep(0.001)),
                    ("cpu", lambda: client.cpu.run(0.001)),
                ):
                    try:
                        await call()
                    except (Fenced, trio.Cancelled):
                        tried.append(name)
                with pytest.raises(Fenced):
                    client.disk.append("log", b"from beyond")

        async with trio.open_nursery() as nursery:
            await start(nursery, life, program)
            client.disk.append("log", b"alive")
            life.end(crash=False)
        assert tried == ["send", "eof", "receive", "dial", "listen", "sync", "sleep", "cpu"]
        assert await ends(far) == "closed"
        assert not [each for each in world.events if each["event"] == "from beyond"]
        _, again = world.machine(spec("client-1")).boot(2)
        assert await again.disk.read("log") == b"alive"


async def test_a_dead_node_that_catches_everything_does_not_spin(make_world):
    async with make_world() as world, connected(world) as (_, _, near, _):
        life, failures = life_of(world, "client-1"), 0

        async def program() -> None:
            nonlocal failures
            while failures < 1000:
                try:
                    await near.receive_some()
                except Fenced:
                    failures += 1

        async with trio.open_nursery() as nursery:
            await start(nursery, life, program)
            life.end(crash=False)
            await turns(20)
            assert failures <= 25, "each failure takes a checkpoint"
            nursery.cancel_scope.cancel()
            await turns(2)


async def test_bytes_in_flight_arrive_after_their_sender_was_killed_then_the_end(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        shape_all(world, latency_s=0.02)
        watch = Stopwatch(world)
        await near.send_all(b"last words")
        life_of(world, "client-1").end(crash=False)
        assert await far.receive_some() == b"last words"
        watch.took(0.02)
        assert await ends(far) == "closed"


async def test_a_kill_with_unread_bytes_is_a_reset(make_world):
    async with make_world() as world, connected(world) as (_, _, _, far):
        await far.send_all(b"never read")
        await trio.sleep(0.005)
        life_of(world, "client-1").end(crash=False)
        assert await ends(far) == "reset"


async def test_a_kill_frees_the_port_for_the_next_generation(make_world):
    async with make_world() as world, connected(world) as (client, _, _, _):
        life_of(world, "server-1").end(crash=False)
        with pytest.raises(ConnectionRefusedError):
            await client.network.open_stream("server-1", 7000)
        _, server = world.machine(spec("server-1")).boot(2)
        listener = await server.network.listen(7000)
        near = await client.network.open_stream("server-1", 7000)
        await near.send_all(b"generation 2")
        assert await (await listener.accept()).receive_some() == b"generation 2"


async def test_connections_that_waited_to_be_accepted_die_with_the_process(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        await server.network.listen(7000)
        near = await client.network.open_stream("server-1", 7000)
        await near.send_all(b"early")
        await trio.sleep(0.005)
        life_of(world, "server-1").end(crash=False)
        assert await ends(near) == "reset"


async def test_a_restart_never_waits_for_the_last_generation(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        machine = world.machine(spec("server-1"))
        life, old = machine.boot(1)
        ended: list[str] = []

        async def stubborn() -> None:
            try:
                await old.network.listen(7000)
                await old.clock.sleep(1000)
            finally:
                for _ in range(10):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                ended.append("at last")

        await start(nursery, life, stubborn)
        life.end(crash=False)
        assert undead(), "a corpse is seen until it has unwound"
        _, new = machine.boot(2)
        await new.network.listen(7000)
        assert new.generation == 2
        assert ended == []


async def test_a_node_that_outlives_its_death_is_found(make_world):
    with pytest.raises(ExceptionGroup) as caught:
        async with make_world() as world, trio.open_nursery() as nursery:
            machine = world.machine(spec("server-1"))
            life, _ = machine.boot(1)

            async def undying() -> None:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.3)

            await start(nursery, life, undying)
            life.end(crash=False)
            await turns(60)
            assert undead() == []
    assert caught.group_contains(AssertionError, match="undying")


# --- crash ---------------------------------------------------------------------------------


async def test_a_crash_is_silence_until_the_machine_is_back_and_then_a_reset(make_world):
    async with make_world() as world, connected(world) as (_, _, near, _):
        life_of(world, "server-1").end(crash=True)
        assert await is_silent(near.receive_some)
        await near.send_all(b"hello?")
        assert await is_silent(near.receive_some)
        world.machine(spec("server-1")).boot(2)
        assert await ends(near) == "reset"


async def test_a_dead_machine_breaks_its_peers_after_the_user_timeout(make_world):
    async with make_world() as world:
        world.links.user_timeout_s = 0.1
        async with connected(world) as (_, _, near, _):
            life_of(world, "server-1").end(crash=True)
            watch = Stopwatch(world)
            await near.send_all(b"hello?")
            assert await ends(near) == "reset"
            watch.took(0.1)


async def test_a_connect_to_a_dead_machine_hangs_and_to_a_dead_process_is_refused(make_world):
    async with make_world() as world:
        world.links.connect_timeout_s = 0.1
        async with connected(world) as (client, *_):
            life_of(world, "server-1").end(crash=True)
            watch = Stopwatch(world)
            with pytest.raises(TimeoutError):
                await client.network.open_stream("server-1", 7000)
            watch.took(0.1)
            world.machine(spec("server-1")).boot(2)
            with pytest.raises(ConnectionRefusedError):
                await client.network.open_stream("server-1", 7000)


async def test_healing_the_network_does_not_bring_a_machine_back(make_world):
    async with make_world() as world, connected(world) as (_, _, near, _):
        life_of(world, "server-1").end(crash=True)
        world.links.heal()
        assert await is_silent(near.receive_some)


async def test_a_machine_that_crashed_and_is_removed_resets_its_peers(make_world):
    async with make_world() as world, connected(world) as (_, _, near, _):
        life_of(world, "server-1").end(crash=True)
        world.remove_machine("server-1")
        assert await ends(near) == "reset"


# --- pause ---------------------------------------------------------------------------------


async def test_a_paused_node_neither_runs_nor_answers_and_its_connections_stay(make_world):
    async with make_world() as world, connected(world) as (_, server, near, far):
        life, ticks = life_of(world, "server-1"), 0

        async def echo() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick)
                while data := await far.receive_some():
                    await far.send_all(data)

        async def tick() -> None:
            nonlocal ticks
            while True:
                await server.clock.sleep(0.005)
                ticks += 1

        async with trio.open_nursery() as nursery:
            await start(nursery, life, echo)
            await near.send_all(b"one")
            assert await near.receive_some() == b"one"
            life.pause()
            await turns(2)
            ticks_before = ticks
            await near.send_all(b"two")
            assert await is_silent(near.receive_some)
            assert ticks == ticks_before, "its timers wait as well"
            life.resume()
            assert await near.receive_some() == b"two"
            await server.clock.sleep(0.02)
            assert ticks > ticks_before
            nursery.cancel_scope.cancel()


async def test_a_paused_nodes_kernel_accepts_until_its_buffers_are_full(make_world):
    async with make_world() as world, connected(world) as (client, _, near, _):
        life_of(world, "server-1").pause()
        await client.network.open_stream("server-1", 7000)
        sent = 0
        with trio.move_on_after(0.05):
            while True:
                await near.send_all(b"x" * 32768)
                sent += 32768
        assert 256 * 1024 <= sent <= 4 << 20


async def test_a_callback_of_a_paused_node_is_held_until_it_resumes(make_world):
    async with make_world() as world:
        life, ctx = world.machine(spec("server-1")).boot(1)
        fired: list[float] = []
        now_s = ctx.clock.monotonic_s()
        ctx.clock.call_at(now_s + 0.005, lambda: fired.append(ctx.clock.monotonic_s()))
        life.pause()
        await trio.sleep(0.03)
        assert fired == []
        life.resume()
        assert len(fired) == 1
        assert now_s + 0.0299 <= fired[0] < now_s + 0.03 + LATE_S


async def test_a_paused_node_can_be_killed(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        life = life_of(world, "server-1")

        async def echo() -> None:
            while data := await far.receive_some():
                await far.send_all(data)

        async with trio.open_nursery() as nursery:
            await start(nursery, life, echo)
            life.pause()
            await near.send_all(b"unanswered")
            await trio.sleep(0.005)
            life.end(crash=False)
            assert await ends(near) == "reset"
        _, again = world.machine(spec("server-1")).boot(2)
        await again.network.listen(7000)


async def test_a_paused_node_can_crash(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        life = life_of(world, "server-1")
        async with trio.open_nursery() as nursery:
            await start(nursery, life, far.receive_some)
            life.pause()
            await turns(2)
            life.end(crash=True)
            assert await is_silent(near.receive_some)
        world.machine(spec("server-1")).boot(2)
        assert await ends(near) == "reset"


async def test_pausing_and_resuming_twice_is_pausing_and_resuming_once(make_world):
    async with make_world() as world:
        life, ctx = world.machine(spec("server-1")).boot(1)
        for _ in range(2):
            life.pause()
        for _ in range(2):
            life.resume()
        await ctx.clock.sleep(0.001)
        life.end(crash=False)
        life.pause()
        life.resume()
        assert life.dead


# --- disk, clock and identity over generations ---------------------------------------------


async def test_the_address_and_the_name_stay_over_restarts(make_world):
    async with make_world() as world:
        machine = world.machine(spec("server-1"))
        life, old = machine.boot(1)
        life.end(crash=True)
        _, new = machine.boot(2)
        assert new.network.address == old.network.address == machine.address
        assert (new.name, new.generation, old.generation) == ("server-1", 2, 1)
