"""The digest covers every delivered message, every disk call and every timer: change one of them,
and it is another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from emu.machine.world import MachineSpec
from emu.seeds.run import SeedRun, simulate_seed
from emu.sim.run import LOOKS, run_simulation
from emu.sim.world import Knobs, SimWorld
from nodes.kind import RPC, Port

ROOT = Path(__file__).parents[2]
REPLICATION = ROOT / "topologies" / "05-replication.yaml"
STOPPED_S = 2.5


@dataclass(frozen=True)
class Story:
    """A small run, in all its details."""

    message: bytes = b"hello"
    datagram: bytes = b"ping"
    record: bytes = b"record"
    sync: bool = True
    timer_s: float = 0.25
    silent_timer: bool = True
    """A timer that nobody waits for."""


def digest(story: Story) -> str:
    async def main(world: SimWorld) -> None:
        names = ("server-1", "client-1")
        ports = (RPC, Port("dns", 53, ("dns",)))
        specs = [
            MachineSpec(each, "server", "test", "", ports, dials=("server",)) for each in names
        ]
        server, client = (world.machine(spec).boot(1)[1] for spec in specs)
        listener = await server.network.listen(7000)
        near = await client.network.open_stream("server-1", 7000)
        far = await listener.accept()
        await near.send_all(story.message)
        await far.receive_some(100)
        socket = await server.network.open_datagram(53)
        sender = await client.network.open_datagram()
        await sender.send_to(story.datagram, server.network.address, 53)
        await socket.receive_from()
        server.disk.append("log", story.record)
        if story.sync:
            await server.disk.sync("log")
        if story.silent_timer:
            client.clock.call_at(0.125, lambda: None)
        await client.clock.sleep(story.timer_s)
        await client.clock.sleep(1 - story.timer_s)

    return run_simulation(main, seed=1, knobs=Knobs()).digest


PLAIN = digest(Story())


def test_the_same_story_has_the_same_digest():
    assert digest(Story()) == PLAIN


@pytest.mark.parametrize(
    "story",
    [
        Story(message=b"hallo"),
        Story(datagram=b"pong"),
        Story(record=b"rekord"),
        Story(sync=False),
        Story(timer_s=0.250001),
        Story(silent_timer=False),
    ],
    ids=["message", "datagram", "disk write", "disk sync", "timer's time", "timer at all"],
)
def test_one_change_gives_another_digest(story):
    assert digest(story) != PLAIN


def test_a_watchdog_that_looks_often_changes_no_digest():
    run = SeedRun(str(REPLICATION), seed=1, for_s=5)
    every_s = 0.02
    looked = simulate_seed(run, watchdog_s=every_s * LOOKS)
    assert looked.digest == simulate_seed(run, watchdog_s=0).digest


class SlowStart(trio.abc.Instrument):
    """A computer that has other things to do just as the loop begins."""

    def before_run(self) -> None:
        time.sleep(0.05)


def test_a_slow_start_under_the_watchdog_changes_no_digest(monkeypatch):
    plain = crowd()
    monkeypatch.setattr(trio, "run", partial(trio.run, instruments=[SlowStart()]))
    assert crowd(watchdog_s=0.01 * LOOKS) == plain


def crowd(*, stops: bool = False, watchdog_s: float = 0) -> str:
    """The digest of tasks whose order is the scheduler's alone; halfway the process stops."""

    async def main(world: SimWorld) -> None:
        context = world.machine(MachineSpec("a-1", "a", "test", "")).boot(1)[1]

        async def write(name: str) -> None:
            for _ in range(50):
                context.disk.append("log", name.encode())
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for name in "abcdefgh":
                nursery.start_soon(write, name)
        if stops:
            os.kill(os.getpid(), signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            for name in "abcdefgh":
                nursery.start_soon(write, name)

    return run_simulation(main, seed=1, knobs=Knobs(), watchdog_s=watchdog_s).digest


@pytest.mark.slow
def test_a_process_that_was_stopped_for_longer_than_the_watchdog_waits_has_the_same_digest():
    call = f"crowd(stops=True, watchdog_s={STOPPED_S / 1.25})"
    program = f"from tests.sim.test_digest import crowd; print({call})"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        time.sleep(STOPPED_S)
        process.send_signal(signal.SIGCONT)
        told, _ = process.communicate(timeout=30)
    assert told.strip() == crowd()
