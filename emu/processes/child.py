"""The program of a worker process: several nodes, each run as emu's own process would.

`python -m emu.processes.child CONTROL TRUNKS`: two descriptors, the control connection, and memory
that all processes share. It ends when that connection does, with emu or before.
"""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

import trio

from emu.machine.clock import ClockState
from emu.model.topology import Placement
from emu.processes.control import Control
from emu.processes.history import Handover
from emu.processes.joined import Hello, JoinedWorld, plain_events
from emu.processes.registry import Teller
from emu.running.in_process import InProcess, InProcessNode
from emu.running.operator import Operator

TELL_EVERY_S: Final = 0.1
"""What its nodes measure, and how late its loop is."""
NODES_PER_SECOND: Final = 1000
"""So many nodes' metrics are told in a second, at most."""
BELIEVED_EVERY_S: Final = 0.5
OWN_LABELS: Final = ("node", "tier", "region")


class Child:
    """What emu tells it, done to the nodes that it runs."""

    def __init__(self, control: Control, make_own: Callable[[Hello], tuple[Hello, int]]) -> None:
        """`make_own`: the greeting as it holds for this process, and its descriptor of the memory
        that senders share."""
        self._control = control
        self._make_own = make_own
        self.released = trio.Event()
        """Told to end."""
        self.serving: set[str] = set()
        """Nodes that accept work."""
        self._early: list[tuple[str, tuple[Any, ...]]] | None = []
        """What was said before the world was there."""
        self._greeted = trio.Event()
        self._nodes: dict[str, InProcessNode] = {}
        self._tellers: dict[str, tuple[int, Teller]] = {}
        """Of the generation that was booted last."""
        self._do: dict[str, Callable[..., object]] = {}

    def hear(self, word: str, *params: Any) -> None:
        if word == "hello":
            self._hello, self._trunks_fd = self._make_own(params[0])
            self._greeted.set()
        elif word == "code":
            _import(*params)  # at once: what is said next may be made of it
        elif self._early is not None:
            self._early.append((word, params))
        else:
            self._do[word](*params)

    async def run(self) -> None:
        """Wait for the greeting, then run nodes until cancelled."""
        await self._greeted.wait()
        hello: Hello = self._hello
        history = Handover(self._control.tell)
        events = plain_events(hello.level, self._control.tell)
        async with (
            JoinedWorld(hello, self._trunks_fd, events=events, history=history) as world,
            trio.open_nursery() as nursery,
        ):
            self._world = world
            history.now_s = world.timers.now_s
            operator = Operator(world, nursery, world.events)
            self._runner = InProcess(world, world.events, operator, nursery)
            self._do = {**world.words(), **self._words()}
            early, self._early = self._early or [], None
            for word, params in early:
                self._do[word](*params)
            nursery.start_soon(self._tell_belief)
            await self._tell_metrics()

    def _words(self) -> dict[str, Callable[..., object]]:
        node = self._nodes.__getitem__
        return {
            "boot": self._boot,
            "end": self._end,
            "pause": lambda name: node(name).pause(),
            "resume": lambda name: node(name).resume(),
            "cores": lambda name, cores: setattr(node(name), "cores", cores),
            "disk": lambda name, switch, value: setattr(node(name).disk, switch, value),
            "watch": self._watch,
            "wipe": lambda name: node(name).disk.wipe(),
            "flip": self._flip,
            "reread": self._world.reread,
            "load": lambda name, files: node(name).disk.load(files),
            "clock": lambda name, state: self._world.machine_clock(name).restore(state),
            "late": lambda name, up_to_s, dice: node(name).clock.set_late(up_to_s, Random(dice)),
            "gone": self._gone,
            "bye": self.released.set,
            "obeyed?": lambda number: self._control.tell("obeyed", number),
        }

    def _boot(
        self,
        name: str,
        placement: Placement,
        generation: int,
        cores: int,
        disk: dict[str, Any],
        clock: ClockState,
    ) -> None:
        self._world.own(placement.spec, clock)
        node = self._nodes[name] = self._runner.handle(placement)
        node.cores = cores
        for switch, value in disk.items():
            setattr(node.disk, switch, value)
        node.boot(
            generation,
            started=partial(self._started, name, generation),
            failed=partial(self._failed, name, generation),
        )
        self._tellers[name] = generation, Teller(node.metrics, OWN_LABELS)

    def _started(self, name: str, generation: int) -> None:
        self.serving.add(name)
        _, teller = self._tellers[name]
        self._control.tell("started", name, generation, self._world.elsewhere(name), teller.news())

    def _failed(self, name: str, generation: int, error: str) -> None:
        self.serving.discard(name)
        self._control.tell("failed", name, generation, error)

    def _end(self, name: str, crash: bool) -> None:
        self.serving.discard(name)
        self._nodes[name].end(crash=crash)

    def _watch(self, name: str, on: bool) -> None:
        generation, _ = self._tellers[name]
        call = partial(self._control.tell, "writing", name, generation) if on else None
        self._nodes[name].disk.on_change = call

    def _flip(self, name: str, file: str, byte_offset: int, bit: int) -> None:
        try:
            self._nodes[name].disk.flip_bit(file, byte_offset, bit)
        except OSError as error:
            told = {"node": name, "verb": "disk", "why": str(error)}
            self._world.events.add("warning", "fault not possible", told)

    def _gone(self, name: str) -> None:
        self._nodes.pop(name, None)
        self._tellers.pop(name, None)
        self._world.forget(name)

    async def _tell_metrics(self) -> None:
        while True:
            await trio.sleep(max(TELL_EVERY_S, len(self._nodes) / NODES_PER_SECOND))
            for name, (generation, teller) in list(self._tellers.items()):
                news = teller.news()
                if news:
                    self._control.tell("metrics", name, generation, news)
                await trio.lowlevel.checkpoint()

    async def _tell_belief(self) -> None:
        own = Teller(self._world.metrics)
        while True:
            await trio.sleep(BELIEVED_EVERY_S)
            self._control.tell("believed", self._world.fidelity(), own.news())


def _import(folder: str, names: tuple[str, ...]) -> None:
    """Modules beside the topology, which are importable as long as that takes."""
    sys.path.insert(0, folder)
    try:
        for name in names:
            importlib.import_module(name)
    finally:
        sys.path.remove(folder)


async def main(control_fd: int, trunks_fd: int) -> None:
    control = Control(socket.socket(fileno=control_fd), believes=True)

    def make_own(hello: Hello) -> tuple[Hello, int]:
        sys.path[:] = hello.path
        return hello, trunks_fd

    child = Child(control, make_own)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.run)
        await control.serve(child.hear)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), strict_exception_groups=True)
