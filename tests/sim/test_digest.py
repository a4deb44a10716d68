"""The digest covers every delivered message, every disk call and every timer: change one of them,
and it is another."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from emu.sim.run import run_simulation
from emu.sim.world import Knobs, SimWorld
from emu.world import MachineSpec


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
        specs = [MachineSpec(name, "server", "test", "", dials=("server",)) for name in names]
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
