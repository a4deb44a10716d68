"""The program of a child process: one generation of one node, run as emu's own process would.

`python -m tests.processes.child CONTROL CUT`: two descriptors, the control connection, and where
to say that a power cut has cut the files. It ends when that connection does, with emu or before.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

import trio

from emu.machine.events import Event, Events
from emu.running.in_process import InProcess, InProcessNode
from emu.running.operator import Operator
from tests.processes.control import Control, packed, unpacked
from tests.processes.registry import told
from tests.processes.runner import POWER_CUT, Order
from tests.processes.shared import JoinedWorld

METRICS_EVERY_S: Final = 0.1
KEYS: Final = ("index", "time_s", "level", "event")
OWN_LABELS: Final = ("node", "tier", "region")


class Child:
    """What emu tells it, done to the node that it runs."""

    def __init__(self, control: Control, cut: PowerCut) -> None:
        self._control = control
        self._cut = cut
        self._ordered = trio.Event()
        self._order: Order | None = None
        self._node: InProcessNode | None = None
        self._early: list[Callable[[], object]] = []
        """What was said before the node was there."""

    def words(self) -> dict[str, Callable[..., object]]:
        later = self._later
        return {
            "boot": self._boot,
            "network": later(lambda node, state: self._world.apply(unpacked(state))),
            "cores": later(lambda node, cores: setattr(node, "cores", cores)),
            "disk": later(lambda node, name, value: setattr(node.disk, name, value)),
            "watch": later(self._watch),
            "step": later(lambda node, seconds: node.clock.step(seconds)),
            "late": later(lambda node, up_to_s, dice: node.clock.set_late(up_to_s, Random(dice))),
            "drift": later(lambda node, ratio: node.clock.set_drift(ratio)),
            "pause": later(InProcessNode.pause),
            "resume": later(InProcessNode.resume),
            "obeyed?": later(lambda node, number: self._control.tell("obeyed", number)),
        }

    def _later(self, do: Callable[..., object]) -> Callable[..., object]:
        """`do(node, ...)` once there is a node."""

        def heard(*params: Any) -> None:
            if self._node is None:
                self._early.append(lambda: do(self._node, *params))
            else:
                do(self._node, *params)

        return heard

    def _boot(self, order: bytes) -> None:
        self._order = unpacked(order)
        self._ordered.set()

    def _watch(self, node: InProcessNode, on: bool) -> None:
        node.disk.on_change = partial(self._control.tell, "writing") if on else None

    async def run(self) -> None:
        """Wait for the order, then run the node until cancelled."""
        await self._ordered.wait()
        order = self._order
        self._world = JoinedWorld(
            order.seed,
            order.data,
            order.placement.spec,
            order.network,
            monotonic_s=order.monotonic_s,
            wall_s=order.wall_s,
            drift_ratio=order.drift_ratio,
            events=self._events,
        )
        async with self._world as world, trio.open_nursery() as nursery:
            operator = Operator(world, nursery, world.events)
            node = InProcess(world, world.events, operator, nursery).handle(order.placement)
            self._cut.cut = node.disk.cut
            node.cores = order.cores
            for name, value in order.disk.items():
                setattr(node.disk, name, value)
            node.boot(
                order.generation,
                started=self._started,
                failed=partial(self._control.tell, "failed"),
            )
            self._node = node
            for do in self._early:
                do()
            while True:
                await trio.sleep(METRICS_EVERY_S)
                self._tell_metrics()

    def _started(self) -> None:
        self._world.settle()
        self._tell_metrics()
        self._control.tell("started")

    def _tell_metrics(self) -> None:
        self._control.tell("metrics", told(self._node.metrics, OWN_LABELS))

    def _events(self, now_s: Callable[[], float]) -> Events:
        events = Events(now_s)
        events.listeners.append(self._tell_event)
        return events

    def _tell_event(self, event: Event) -> None:
        fields = {key: value for key, value in event.items() if key not in KEYS}
        self._control.tell("event", event["level"], event["event"], packed(fields))


async def main(control_fd: int, cut_fd: int) -> None:
    end = socket.socket(fileno=control_fd)
    control = Control(end)
    child = Child(control, PowerCut(end, cut_fd))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.run)
        await control.serve(child.words())
        nursery.cancel_scope.cancel()


class PowerCut:
    """Obeys the signal: the files lose what was not synced, and nothing of this process moves
    again; its sockets stay as they are until it is killed."""

    def __init__(self, end: socket.socket, cut_fd: int) -> None:
        self.cut: Callable[[], object] = lambda: None
        self._end = end
        self._cut_fd = cut_fd
        signal.signal(POWER_CUT, self._obey)

    def _obey(self, number: int, frame: object) -> None:
        try:
            self.cut()
        finally:
            os.write(self._cut_fd, b".")
            self._end.setblocking(True)
            while self._end.recv(65536):
                pass
            os._exit(0)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), strict_exception_groups=True)
