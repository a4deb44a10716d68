"""One place in a running cluster. What happens to it is its supervisor's business."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from emu.machine.world import MachineSpec
from emu.model.topology import Placement
from emu.running.handle import NodeHandle


@dataclass(slots=True)
class Slot:
    """A node as the cluster keeps it, over all its generations."""

    placement: Placement
    handle: NodeHandle
    state: str = "down"
    """down, starting, up, draining, stopped, killed, crashed or failed (paused is the handle's)."""
    generation: int = 0
    started_s: float = 0.0
    error: str = ""
    founder: bool = True
    listed: bool = False
    """Whether others may count on it: from its first start until it is stopped in order."""
    role: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """What `emu ps` shows beside the state: epoch, lag ... as the node last described itself."""
    failures_s: list[float] = field(default_factory=list)
    settled: trio.Event = field(default_factory=trio.Event)

    @property
    def spec(self) -> MachineSpec:
        return self.placement.spec

    @property
    def running(self) -> bool:
        return self.handle.running

    @property
    def shown_state(self) -> str:
        return "paused" if self.handle.paused else self.state
