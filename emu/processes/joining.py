"""Runs nodes in processes that somebody else starts, by `emu node NAME --join ADDRESS`: a runner of
the nodes that are declared to run so, and the door at which their processes come in (door.py).

A node waits for its process. When that has ended the node is down, until it comes again.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from emu.machine.events import Events
from emu.machine.world import World
from emu.model.topology import Placement
from emu.processes.control import Control, Hear, Nonsense
from emu.processes.door import DoorError, let_in, refuse, send
from emu.processes.home import ProcessHome
from emu.processes.node import ElsewhereNode
from emu.processes.process import NodesProcess
from emu.running.handle import NodeHandle, Runner
from emu.running.operator import Operator
from emu.running.targets import Candidate, TargetError, resolve

MOST_STRANGERS: Final = 16
"""Who may stand at the door at a time without having proven anything; others are sent away."""
FIRST_NUMBER: Final = 1001
"""Of processes that joined; workers have the lower ones."""
MOST_SHOWN: Final = 10
SENSELESS: Final = (KeyError, TypeError, ValueError, AttributeError, AssertionError, IndexError)
"""What hearing something may raise that no process of ours says."""
OnNodes = Callable[[Sequence[str]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Joined:
    """Which nodes run in processes that join, and who may bring them."""

    token: str
    names: frozenset[str]
    tiers: frozenset[str] = frozenset()
    """All members of these, whenever they come."""
    versions: Mapping[str, str] | None = None
    """What a process must have the same of: pickles travel."""
    cluster: str = ""


def candidates_of(placements: Iterable[Placement]) -> list[Candidate]:
    """Nodes that are still to be, as targets see them."""
    return [
        Candidate(each.spec.name, each.spec.tier, each.spec.kind, each.spec.region, "", each.group,
                  each.kind.clients or each.kind.elsewhere)
        for each in placements
    ]  # fmt: skip


class JoinedProcess(NodesProcess):
    """From its entry to its end."""

    def __init__(
        self, number: int, control: Control, names: Sequence[str], pid: int, address: str
    ) -> None:
        super().__init__(number, control)
        self.names = names
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        self.title = f"the process of {', '.join(names[:2])}{more}"
        self.pid = pid
        self.address = address
        """Of its computer, as seen from here."""
        self.left = False
        """Whether it has taken its leave."""

    async def run(self, hear: Hear) -> None:
        """Until it ends."""

        def guarded(word: str, *params: Any) -> None:
            try:
                hear(word, *params)
            except SENSELESS as error:
                raise Nonsense(f"{word[:40]}: {error!r}"[:200]) from error

        try:
            await self._control.serve(guarded)
        finally:
            self.why = self._control.problem or "it closed its connection"
            self.over()
            self._control.close()


class Joining(ProcessHome):
    """`emu.running.handle.Runner`. Nodes that are not declared to join are the `inner` one's."""

    def __init__(
        self,
        world: World,
        events: Events,
        operator: Operator,
        nursery: trio.Nursery,
        *,
        joined: Joined,
        inner: Runner,
        placements: Callable[[], Iterable[Placement]],
        code: Path | None = None,
    ) -> None:
        """`placements`: of the topology as it is. Raises OSError."""
        super().__init__(world, events, operator, nursery, code)
        self.on_lost: OnNodes | None = None
        """Is told which nodes died with a process; without it they have failed."""
        self.on_came: OnNodes | None = None
        """Is told which nodes can be booted again."""
        self.on_moved: Callable[[Sequence[str]], object] | None = None
        """Is told which nodes have another address than they had."""
        self.on_leave: OnNodes | None = None
        """Stops these nodes, whose process wants to end."""
        self.address = ""
        """HOST:PORT of the door, once it is open."""
        self._joined = joined
        self._inner = inner
        self._placements = placements
        self._of: dict[str, JoinedProcess] = {}
        """Who runs each node, or is there to run it."""
        self._coming: set[str] = set()
        """Those whose process is being let in."""
        self._away: set[str] = set()
        """Nodes that are down because their process has gone."""
        self._strangers = 0
        self._numbers = iter(range(FIRST_NUMBER, 1 << 62))
        self._somebody = trio.Event()

    # --- emu.running.handle.Runner, and what nodes ask their home ----------------------------

    def handle(self, placement: Placement) -> NodeHandle:
        if not self._declared(placement):
            return self._inner.handle(placement)
        node = self.nodes[placement.spec.name] = ElsewhereNode(self, placement)
        return node

    def _declared(self, placement: Placement) -> bool:
        spec, joined = placement.spec, self._joined
        return spec.name in joined.names or spec.tier in joined.tiers

    def process_of(self, node: ElsewhereNode) -> JoinedProcess | None:
        self._away.discard(node.name)
        found = self._of.get(node.name)
        if found is None and self.address:
            self.events.add(
                "warning", "waiting for a process", {"node": node.name, "command": self._how(node)}
            )
        return found

    def waited_for(self, node: ElsewhereNode) -> str:
        return f"a process to join as {node.name}: {self._how(node)}"

    def _how(self, node: ElsewhereNode) -> str:
        return f"emu node {node.name} --join {self.address}"

    def facts(self) -> list[dict[str, Any]]:
        """Of each process that has joined (see `facts_of`)."""
        return [self.facts_of(each) for each in dict.fromkeys(self._of.values())]

    # --- who is there ------------------------------------------------------------------------

    def missing(self) -> list[str]:
        """Declared nodes that no process has joined for."""
        declared = (each.spec.name for each in self._placements() if self._declared(each))
        return [name for name in declared if name not in self._of]

    async def all_here(self) -> None:
        """Return when every declared node has its process."""
        while self.missing():
            await self._somebody.wait()

    # --- the door ----------------------------------------------------------------------------

    async def serve(self, host: str, port: int, *, task_status: trio.TaskStatus[None]) -> None:
        """Open the door, at any free port if that is 0, until cancelled. Raises OSError."""
        listeners = await trio.open_tcp_listeners(port, host=host)
        self.address = "{}:{}".format(*listeners[0].socket.getsockname()[:2])
        task_status.started()
        await trio.serve_listeners(self._visit, listeners)

    async def _visit(self, stream: trio.SocketStream) -> None:
        if self._strangers >= MOST_STRANGERS:
            await refuse(stream, "too many are at the door just now: try again")
            return
        self._strangers += 1
        host = ""
        try:
            host = str(stream.socket.getpeername()[0])
            process = await self._let_in(stream, host)
        except Exception as error:  # it is the visitor's: what one says ends nothing else
            self._sent_away(host, error)
            await trio.aclose_forcefully(stream)
            return
        finally:
            self._strangers -= 1
        await self._live(process)

    def _sent_away(self, host: str, error: Exception) -> None:
        level, why = "warning", "the connection ended"
        if isinstance(error, DoorError):
            why = str(error)[:200]
        elif not isinstance(error, OSError | trio.BrokenResourceError | trio.ClosedResourceError):
            level, why = "error", repr(error)[:200]
        self.events.add(level, "join refused", {"by": host, "why": why})

    async def _let_in(self, stream: trio.SocketStream, address: str) -> JoinedProcess:
        """Raises DoorError, after it was told; OSError where the connection has broken."""
        said, seal = await let_in(stream, self._joined.token)
        pid = said.get("pid")
        try:
            names = self._names(said)
            if self.world.outer:
                self._check_apart(names, address)
        except DoorError as error:
            await refuse(stream, str(error))
            raise
        number = next(self._numbers)
        shown = {"nodes": names[:MOST_SHOWN], "count": len(names)}
        self._coming |= set(names)  # nobody else is let in for them
        try:
            await send(stream, number=number, cluster=self._joined.cluster, **shown)
        finally:
            self._coming -= set(names)
        control = Control(socket.socket(fileno=stream.socket.detach()), seal=seal)
        process = JoinedProcess(number, control, names, pid if isinstance(pid, int) else 0, address)
        process.own_disks = said.get("own_disks") is True
        self._of |= dict.fromkeys(names, process)
        return process

    def _names(self, said: Mapping[str, Any]) -> list[str]:
        """Which nodes it brings. Raises DoorError that says why it may not."""
        joined, words = self._joined, said.get("nodes")
        if joined.versions is not None and said.get("versions") != joined.versions:
            theirs = said.get("versions")
            found = theirs if isinstance(theirs, dict) else {}
            raise DoorError("other versions: " + ", ".join(
                f"{key} is {value} here, {str(found.get(key))[:40]} there"
                for key, value in joined.versions.items() if found.get(key) != value
            ))  # fmt: skip
        if not isinstance(words, str):
            raise DoorError("which nodes does it bring?")
        there = {each.spec.name: each for each in self._placements()}
        try:
            names = resolve(
                words, candidates_of(there.values()), random.Random(words), machines=True
            )
        except TargetError as error:
            raise DoorError(str(error)) from None
        for name in names:
            if not self._declared(there[name]):
                raise DoorError(f"{name} runs in emu's own process: `emu up --joined` declares it")
            if name in self._coming or name in self._of:
                pid = f" (pid {self._of[name].pid})" if name in self._of else ""
                raise DoorError(f"{name} is run by another process already{pid}")
        return names

    def _check_apart(self, names: Sequence[str], address: str) -> None:
        """An address is a machine's name where they are on several computers."""
        if len(names) != 1:
            raise DoorError(
                "where machines are on several computers a process brings one node, whose address "
                f"is its own; these are {len(names)}: {', '.join(names[:MOST_SHOWN])}"
            )
        if address == self.world.outer:
            raise DoorError(f"{address} is emu's own address: a node that joins has another")
        for name, process in self._of.items():
            if process.address == address:
                raise DoorError(f"{address} is {name}'s address already")
        kind = next(each.kind for each in self._placements() if each.spec.name == names[0])
        if kind.clients:
            raise DoorError(f"{names[0]} is judged by emu's own clock, and runs where emu does")

    async def _live(self, process: JoinedProcess) -> None:
        """From now on it is told and heard, until it ends."""
        names = list(process.names)
        told = {"process": process.number, "pid": process.pid, "nodes": names}
        if self.world.outer:
            for name in names:
                self.world.guests[name] = process.notify
                self.world.found_at(name, process.address)
        self.greet(process, own=process.address if self.world.outer else "")
        self.events.add("info", "process joined", told)
        self._somebody.set()
        self._somebody = trio.Event()
        for name in names:
            if name in self.nodes:
                self.nodes[name].run_in(process)
        back = [name for name in names if name in self._away]
        if self.on_came is not None and back:
            self.nursery.start_soon(self.on_came, back)
        hear = self.hear(process)

        def hear_more(word: str, *params: Any) -> None:
            if word == "leave":
                self.nursery.start_soon(partial(self._leave, process))
            else:
                hear(word, *params)

        try:
            await process.run(hear_more)
        finally:
            self.part(process)
            for name in names:
                del self._of[name]
                if self.world.guests.pop(name, None) is not None:
                    self.world.lost_at(name)
        if self.world.outer and self.on_moved is not None:
            self.on_moved(names)
        self._ended(process)

    async def _leave(self, process: JoinedProcess) -> None:
        """It wants to end: its nodes are stopped in order, then it may."""
        if process.left:
            return
        process.left = True
        names = [name for name in process.names if self._runs(name, process)]
        if self.on_leave is not None:
            await self.on_leave(names)
        self._away |= set(names)
        process.notify("bye")

    def _runs(self, name: str, process: JoinedProcess) -> bool:
        return name in self.nodes and self.nodes[name].runs_in(process)

    def _ended(self, process: JoinedProcess) -> None:
        lost = [name for name in process.names if self._runs(name, process)]
        told = {"process": process.number, "why": process.why, "nodes": list(process.names)}
        if process.left:
            self.events.add("info", "process left", told)
        else:
            self.events.add("warning", "process lost", told)
        if self.on_lost is None:
            for name in lost:
                self.nodes[name].failed(f"its process ended ({process.why})")
        elif lost:
            self._away |= set(lost)
            self.nursery.start_soon(self.on_lost, lost)
