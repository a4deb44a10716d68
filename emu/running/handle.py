"""What the supervisor knows of whatever runs a node: a handle for each, made by a runner.

A runner decides where the program runs: in emu's own process (in_process.py), or elsewhere under a
name that the cluster is given and a Kind asks for. No handle knows a tier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import trio

from emu.machine.events import Events
from emu.machine.world import ClockControl, DiskControl, World
from emu.model.topology import Placement
from emu.running.operator import Operator
from nodes.metrics import Metrics

ASK_TIMEOUT_S: Final = 5.0
DRAIN_TIMEOUT_S: Final = 10.0
"""How long a node may take to put down what it has in hand, or to leave its group."""


class NodeHandle(Protocol):
    """One node and its machine, over all its generations. Nothing waits but `ask` and `in_force`.

    What a runner cannot do it refuses with an OSError that says so.
    """

    disk: DiskControl
    clock: ClockControl
    cores: int
    """May be changed while it runs; holds for the next generation too."""

    @property
    def address(self) -> str:
        """Its machine's; it stays but where processes bring their own."""
        ...

    @property
    def running(self) -> bool:
        """Whether a generation was booted and has not ended, paused or not."""
        ...

    @property
    def paused(self) -> bool: ...
    @property
    def waits_for(self) -> str:
        """What a boot that was asked for waits for, and how it comes, in words; "": nothing."""
        ...

    @property
    def metrics(self) -> Metrics:
        """The newest generation's registry, another one for each; where the node runs elsewhere,
        as it was last told."""
        ...

    def boot(
        self, generation: int, *, started: Callable[[], object], failed: Callable[[str], object]
    ) -> None:
        """Begin a generation from what the disk holds; the one before must have ended.

        `started()` is called when it accepts work, `failed(error)` if it ends by itself; neither
        once it was ended from here. Its events come without being asked for.
        """
        ...

    def adopt(self, placement: Placement) -> None:
        """Run with its config from the next boot on; machine and faults stay as they are."""
        ...

    def end(self, *, crash: bool) -> None:
        """It is dead when this returns: the process is killed, or (`crash`) its machine loses its
        power, and with it what was not synced. Where it runs elsewhere nothing more is heard of it,
        and it is dead there a moment later: by `in_force`, or the next boot."""
        ...

    def pause(self) -> None:
        """It neither runs nor answers; its connections stay open."""
        ...

    def resume(self) -> None: ...
    async def in_force(self) -> None:
        """Return when what was changed from here holds there, or nobody is there to hear of it: at
        once in emu's own process."""
        ...

    async def ask(self, method: str, *params: Any, timeout_s: float = ASK_TIMEOUT_S) -> Any:
        """Call an admin method. Raises RpcError."""
        ...

    def remove(self) -> None:
        """Give its address (and a temporary disk) away. It must have ended."""
        ...


class Runner(Protocol):
    """Makes the handles of one cluster's nodes."""

    def handle(self, placement: Placement) -> NodeHandle: ...


MakeRunner = Callable[[World, Events, Operator, trio.Nursery], Runner]
"""Called once for a cluster; what the runner does for it runs in the nursery."""
