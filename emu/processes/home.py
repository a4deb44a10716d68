"""Where nodes live that run in other processes: what all such runners have in common. Each process
is greeted, hears of every change of the network, and is heard."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from emu.machine.events import Events
from emu.machine.world import World
from emu.processes.apart import boot_id
from emu.processes.history import Received
from emu.processes.joined import Hello
from emu.processes.node import ElsewhereNode
from emu.processes.process import NodesProcess
from emu.processes.shared import SharedWorld
from emu.processes.trunks import path_of
from emu.running.operator import Operator

NEED: Final = (
    "worker processes need a world that is shared, with a 127.N network of its own (Linux)"
)
OURS: Final = ("emu", "nodes", "protocols")
OnKilled = Callable[[Sequence[str]], object]
"""Is told which nodes died with a process that somebody killed."""


class ProcessHome:
    """What is a runner's, whoever starts its processes. `nodes`: those that it has made."""

    def __init__(
        self,
        world: World,
        events: Events,
        operator: Operator,
        nursery: trio.Nursery,
        code: Path | None,
    ) -> None:
        """`code`: the folder of modules that the topology names. Raises OSError."""
        if not isinstance(world, SharedWorld) or not world.network.subnet.aliases:
            raise OSError(NEED)
        self.world = world
        self.events = events
        self.operator = operator
        self.nursery = nursery
        self.nodes: dict[str, ElsewhereNode] = {}
        self._code = code

    def greet(self, process: NodesProcess, *, own: str = "") -> None:
        """Tell it who it is and what there is; from now on it hears of every change. `own`: its
        address, where it is on another computer."""
        world = self.world
        hello = Hello(
            process.number,
            tuple(sys.path),
            world.seed,
            world.links_seed,
            world.data,
            world.temporary,
            world.network.subnet.number,
            world.clock.zero_s,
            self.events.level,
            path_of(world.trunks_fd),
            world.outer,
            own,
            boot_id(),
            world.timers.now_s(),
        )
        world.titles[process.number] = process.title
        process.notify("hello", hello)
        for word, *params in world.snapshot():
            process.notify(word, *params)
        world.listeners[process.notify] = None

    def part(self, process: NodesProcess) -> None:
        """It has ended."""
        self.world.listeners.pop(process.notify, None)
        self.world.forget_worker(process.number)

    def tell_code(self, process: NodesProcess) -> None:
        """Let it import what emu has imported from beside the topology."""
        if self._code is None:
            return
        for name, module in list(sys.modules.items()):
            if "." in name or name in process.code or name in OURS:
                continue
            file = getattr(module, "__file__", None)
            beside = (self._code / f"{name}.py", self._code / name / "__init__.py")
            if file is not None and Path(file) in beside:
                process.notify("code", str(self._code), (name,))
            process.code.add(name)

    def waited_for(self, node: ElsewhereNode) -> str:
        return "its process"

    def removed(self, node: ElsewhereNode) -> None:
        self.nodes.pop(node.name, None)

    def facts_of(self, process: NodesProcess) -> dict[str, Any]:
        """Its number, its pid, and the nodes that run in it."""
        names = [node.name for node in self.nodes.values() if node.runs_in(process)]
        return {"process": process.number, "pid": process.pid, "nodes": names}

    def hear(self, process: NodesProcess) -> Callable[..., object]:
        """What is done with what it says."""
        received = Received(self.world)
        words: dict[str, Callable[..., object]] = {
            "started": partial(self._about, "started"),
            "failed": partial(self._about, "failed"),
            "metrics": partial(self._about, "measured"),
            "writing": partial(self._about, "writing"),
            "event": self.events.add,
            "request": self.events.requests.add,
            "believed": partial(self.world.believed, process.number),
            "invoked": received.invoked,
            "completed": received.completed,
            "left": received.left,
            "obeyed": process.obeyed,
        }
        return lambda word, *params: words[word](*params)

    def _about(self, what: str, name: str, generation: int, *params: Any) -> None:
        """Of a generation that has ended from here nothing is heard any more."""
        node = self.nodes.get(name)
        if node is not None and node.is_now(generation):
            getattr(node, what)(*params)
