"""A process that has joined from another computer, at its doors: who dials from the address that
emu's machines share is announced a moment later, and whoever is not holds up nobody."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from emu.machine.context import NoHistory
from emu.machine.events import Events
from emu.machine.world import MachineSpec
from emu.processes import apart
from emu.processes.apart import boot_id
from emu.processes.joined import Hello, JoinedWorld
from emu.processes.trunks import shared_memory
from nodes.base import OUTSIDE, RPC_PORT, Listener

EMUS, OWN, EMUS_MACHINE = "127.250.7.1", "127.250.7.2", "127.251.1.0"
LONG_S = 600.0


class Guest:
    """Its world, in this process, with a listening node; and sockets of emu's computer."""

    def __init__(self, world: JoinedWorld, listener: Listener, sockets: ExitStack) -> None:
        self.world, self.listener, self.sockets = world, listener, sockets
        self.words = world.words()
        self.accepted: list[str] = []

    def dial(self, *, announced_as: str = "") -> socket.socket:
        made = self.sockets.enter_context(socket.socket())
        made.bind((EMUS, 0))
        if announced_as:
            self.words["dials"](made.getsockname(), announced_as)
        made.connect((OWN, RPC_PORT))
        made.setblocking(False)
        return made

    async def accept(self) -> None:
        with suppress(trio.ClosedResourceError):
            while True:
                self.accepted.append((await self.listener.accept()).peer.name)

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(5000):
            if holds():
                return
            await trio.sleep(0.002)
        raise AssertionError("it never came to be")


def is_ended(each: socket.socket) -> bool:
    try:
        return not each.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@asynccontextmanager
async def guest(folder: Path, *, public: bool = False) -> AsyncIterator[Guest]:
    hello = Hello(
        1001, (), 7, 7, folder, True, 0, time.monotonic(), "info", ("", 0, 0), EMUS, OWN, boot_id()
    )
    spec = MachineSpec("web-1", "web", "test", "here", public=public)
    world = JoinedWorld(hello, shared_memory(), events=Events, history=NoHistory())
    with ExitStack() as sockets:
        async with world, trio.open_nursery() as nursery:
            world.words()["machine"](spec, OWN)
            world.words()["machine"](
                MachineSpec("lb-1", "lb", "test", "here", dials=("web",)), EMUS_MACHINE
            )
            _, context = world.own(spec, (0.0, 0.0, 1.0, 0.0)).boot(1)
            made = Guest(world, await context.network.listen(RPC_PORT), sockets)
            nursery.start_soon(made.accept)
            yield made
            nursery.cancel_scope.cancel()


async def test_many_silent_dialers_hold_up_nobody_and_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "TOLD_WITHIN_S", LONG_S)
    monkeypatch.setattr(apart, "MOST_SILENT", 3)
    async with guest(tmp_path) as g:
        silent = [g.dial() for _ in range(5)]
        g.dial(announced_as="lb-1")
        await g.until(lambda: g.accepted == ["lb-1"])
        await g.until(lambda: is_ended(silent[0]) and is_ended(silent[1]))
        assert not any(map(is_ended, silent[2:])), "who waits longest gives way"
        await g.listener.aclose()
        await g.until(lambda: all(map(is_ended, silent)))


async def test_who_is_announced_a_moment_later_is_let_in(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "TOLD_WITHIN_S", LONG_S)
    async with guest(tmp_path) as g:
        late = g.dial()
        await g.until(lambda: bool(g.world.network._silent))
        g.words["dials"](late.getsockname(), "lb-1")
        await g.until(lambda: g.accepted == ["lb-1"])


@pytest.mark.parametrize("public", [True, False])
async def test_who_is_never_announced_is_somebody_from_outside(public, tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "TOLD_WITHIN_S", 0.01)
    async with guest(tmp_path, public=public) as g:
        dialled = g.dial()
        await g.until(lambda: g.accepted == [OUTSIDE] or is_ended(dialled))
        assert bool(g.accepted) is public


async def test_a_socket_that_is_closed_is_nobodys_a_moment_later(tmp_path, monkeypatch):
    async with guest(tmp_path) as g:
        network, endpoint = g.world.network, (EMUS, 4321)
        monkeypatch.setattr(apart, "TOLD_WITHIN_S", LONG_S)
        g.words["dials"](endpoint, "lb-1")
        g.words["closes"](endpoint)
        assert network.name_of(*endpoint) == "lb-1", "what it sent may still be on its way"
        g.words["dials"](endpoint, "lb-1")
        assert not network._closing, "another socket has that port"
        monkeypatch.setattr(apart, "TOLD_WITHIN_S", 0.01)
        g.words["closes"](endpoint)
        g.words["closes"](endpoint)
        await g.until(lambda: network.name_of(*endpoint) == OUTSIDE)
        assert not network._told and not network._closing
