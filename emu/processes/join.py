"""A process that joins a running cluster by itself, and runs some of its nodes: the same program as
a worker's, behind a door (door.py). emu's end is joining.py."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import trio

from emu.processes.child import Child
from emu.processes.control import Control
from emu.processes.door import DoorError, knock
from emu.processes.joined import Hello
from emu.processes.trunks import opened, shared_memory

RETRY_S: Final = 0.2
HEALTH_S: Final = 0.5
READY: Final = "ready"
ALIVE: Final = "alive"


@dataclass(frozen=True, slots=True)
class Visit:
    """What `emu node` was told."""

    nodes: str
    """Words: which nodes to run."""
    host: str
    port: int
    token: str
    versions: Mapping[str, str]
    patience_s: float = 0.0
    """How long to knock where nobody answers yet."""
    source: str = ""
    """The local address from which to come; "": any."""
    data: Path | None = None
    """Where disks are; None: with emu's."""
    health: Path | None = None
    """A folder for files that say how it is, for whoever probes: `alive` is touched as long as the
    loop runs, `ready` is there while every node that it brings accepts work."""


class Guest:
    """This process in that cluster. Raises DoorError where it is not let in."""

    def __init__(self, visit: Visit, told: Callable[[dict[str, Any]], object]) -> None:
        """`told` hears what emu answers at the door: `nodes` (the first of `count`), `cluster`."""
        self._visit = visit
        self._told = told
        self._leaving = trio.Event()

    def leave(self) -> None:
        """End in order: emu stops the nodes first."""
        self._leaving.set()

    async def run(self) -> str:
        """Run the nodes until emu ends, or lets us go. Returns why it was over, "" for that."""
        visit = self._visit
        stream = await self._reach()
        about = {
            "nodes": visit.nodes,
            "versions": dict(visit.versions),
            "pid": os.getpid(),
            "own_disks": visit.data is not None,
        }
        answer, seal = await knock(stream, visit.token, **about)
        brings = int(answer.get("count") or 0)
        self._told(answer)
        end = socket.socket(fileno=stream.socket.detach())
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        control = Control(end, believes=True, seal=seal)
        child = Child(control, self._make_own)
        why = ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.run)
            nursery.start_soon(self._say_goodbye, control)
            if visit.health is not None:
                nursery.start_soon(_tell_health, child, visit.health, brings)
            nursery.start_soon(self._end_when_released, child, nursery.cancel_scope)
            await control.serve(child.hear)
            if not child.released.is_set():
                why = control.problem or "emu has ended"
            nursery.cancel_scope.cancel()
        control.close()
        return why

    async def _reach(self) -> trio.SocketStream:
        visit, give_up_s = self._visit, trio.current_time() + self._visit.patience_s
        while True:
            try:
                return await trio.open_tcp_stream(
                    visit.host, visit.port, local_address=visit.source or None
                )
            except OSError as error:
                if trio.current_time() >= give_up_s:
                    where = f"{visit.host}:{visit.port}"
                    raise DoorError(f"nobody answers at {where}: {error}") from error
            await trio.sleep(RETRY_S)

    def _make_own(self, hello: Hello) -> tuple[Hello, int]:
        data = self._visit.data
        if data is not None:
            hello = replace(hello, data=data)
        fd = opened(*hello.trunks)
        return hello, shared_memory() if fd is None else fd

    async def _say_goodbye(self, control: Control) -> None:
        await self._leaving.wait()
        control.tell("leave")

    async def _end_when_released(self, child: Child, scope: trio.CancelScope) -> None:
        await child.released.wait()
        scope.cancel()


async def _tell_health(child: Child, folder: Path, brings: int) -> None:
    """Raises OSError where nothing can be written."""
    try:
        while True:
            write_health(folder, ready=len(child.serving) == brings)
            await trio.sleep(HEALTH_S)
    finally:
        write_health(folder, ready=False)


def write_health(folder: Path, *, ready: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ALIVE).touch()
    if ready:
        (folder / READY).touch()
    else:
        (folder / READY).unlink(missing_ok=True)
