"""What the simulated network draws from the seed, and where it copies a kernel's limits."""

from __future__ import annotations

import pytest
import trio

from emu.machine.links import Partition
from emu.sim.network import BACKLOG
from emu.sim.run import run_simulation
from emu.sim.world import SPLITS, Knobs, SimWorld
from nodes.kind import RPC
from tests.conformance.conftest import SECOND, connected, spec

DATA = bytes(range(256)) * 40


def pieces(seed: int, split_ratio: float) -> list[int]:
    """In which pieces a reader gets DATA, sent in 40 chunks that arrive one by one."""

    async def main(world: SimWorld) -> list[int]:
        async with connected(world) as (_, _, near, far), trio.open_nursery() as nursery:

            async def send() -> None:
                for number in range(40):
                    await near.send_all(DATA[number * 256 : number * 256 + 256])
                    await trio.sleep(0.001)
                await near.send_eof()

            nursery.start_soon(send)
            sizes, received = [], b""
            while chunk := await far.receive_some():
                sizes.append(len(chunk))
                received += chunk
            assert received == DATA
            return sizes

    value = run_simulation(main, seed=seed, knobs=Knobs(split_ratio=split_ratio)).value
    assert value is not None
    return value


def test_chunks_are_cut_at_random_by_the_seed_and_no_byte_is_harmed():
    assert pieces(1, 0.0) == [256] * 40
    cut = pieces(1, 0.2)
    assert len(cut) > 40
    assert cut == pieces(1, 0.2)
    assert cut != pieces(2, 0.2)
    assert len(set(cut)) > 5, "not always at the same place"


def test_seeds_draw_how_often_chunks_are_cut():
    assert {Knobs.draw(seed).split_ratio for seed in range(50)} == set(SPLITS)


def test_one_connections_cuts_do_not_depend_on_anothers_traffic():
    def of_client_1(*, others: bool) -> list[int]:
        async def main(world: SimWorld) -> list[int]:
            async with connected(world, ports=(RPC, SECOND)) as (_, server, near, far):
                if others:
                    listener = await server.network.listen(7001)
                    _, other = world.machine(spec("client-2")).boot(1)
                    stream = await other.network.open_stream("server-1", 7001)
                    accepted = await listener.accept()
                    for _ in range(20):
                        await stream.send_all(b"x" * 100)
                        await accepted.receive_some()
                sizes = []
                for _ in range(20):
                    await near.send_all(b"x" * 100)
                    await trio.sleep(0.001)
                    sizes.append(len(await far.receive_some()))
                return sizes

        value = run_simulation(main, seed=3, knobs=Knobs(split_ratio=0.5)).value
        assert value is not None
        return value

    assert of_client_1(others=False) == of_client_1(others=True)


def test_a_full_backlog_swallows_attempts_until_somebody_accepts():
    async def main(world: SimWorld) -> None:
        _, server = world.machine(spec("server-1")).boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        listener = await server.network.listen(7000)
        for _ in range(BACKLOG):
            await client.network.open_stream("server-1", 7000)
        world.links.connect_timeout_s = 0.5
        with pytest.raises(TimeoutError):
            await client.network.open_stream("server-1", 7000)
        world.timers.call_at(
            world.timers.now_s() + 0.1, lambda: nursery.start_soon(listener.accept)
        )
        async with trio.open_nursery() as nursery:
            await client.network.open_stream("server-1", 7000)

    run_simulation(main, seed=1, knobs=Knobs())


def test_nothing_arrives_in_no_time():
    async def main(world: SimWorld) -> None:
        async with connected(world) as (_, _, near, far):
            begun_s = world.timers.now_s()
            for _ in range(10):
                await near.send_all(b"x")
                await far.receive_some()
                await far.send_all(b"x")
                await near.receive_some()
            took_s = world.timers.now_s() - begun_s
            assert took_s == pytest.approx(20 * world.network.least_latency_s)
            near.abort()
            with pytest.raises(trio.BrokenResourceError):
                await far.receive_some()
            assert world.timers.now_s() > begun_s + took_s

    run_simulation(main, seed=1, knobs=Knobs())


def test_a_reader_that_never_reads_leaves_no_timers_behind():
    """Held bytes wait for the reader, not for time: or a run would never be at rest."""

    async def main(world: SimWorld) -> None:
        async with connected(world) as (_, _, near, far):
            with trio.move_on_after(1):
                while True:
                    await near.send_all(b"x" * 65536)
            before = world.trace.timers
            await trio.sleep(100)
            assert world.trace.timers - before <= 1
            assert await far.receive_some()

    run_simulation(main, seed=1, knobs=Knobs())


def test_a_link_draws_from_its_own_stream_of_random_numbers():
    """Whatever else goes on, the jitter and loss of one link are the same."""

    def arrivals(*, noise: bool) -> list[float]:
        async def main(world: SimWorld) -> list[float]:
            async with connected(world):
                link = world.links.link("client-1", "server-1")
                other = world.links.link("client-2", "server-1")
                link.jitter_s = other.jitter_s = 0.01
                found = []
                for _ in range(10):
                    if noise:
                        other.stream_arrival_s(0.0, 100)
                    found.append(link.stream_arrival_s(0.0, 100))
                return found

        value = run_simulation(main, seed=5, knobs=Knobs()).value
        assert value is not None
        return value

    assert arrivals(noise=False) == arrivals(noise=True)


def test_a_cut_that_never_heals_breaks_what_waits_for_it():
    async def main(world: SimWorld) -> float:
        async with connected(world) as (_, _, near, _):
            world.links.add(Partition(frozenset({"client-1"}), frozenset({"server-1"})))
            begun_s = world.timers.now_s()
            await near.send_all(b"x")
            with pytest.raises(trio.BrokenResourceError):
                await near.receive_some()
            return world.timers.now_s() - begun_s

    assert run_simulation(main, seed=1, knobs=Knobs()).value == pytest.approx(60.0)
