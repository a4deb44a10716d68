"""One place in a running cluster. What happens to it is its supervisor's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import trio

from emu.machine.world import MachineSpec
from emu.model.topology import Placement
from emu.running.handle import NodeHandle
from emu.running.targets import Candidate
from protocols.control import Member

CRASH_LOOP: Final = 5
CRASH_LOOP_WINDOW_S: Final = 60.0
RESTART_FIRST_S: Final = 0.2
RESTART_MOST_S: Final = 10.0
STATES: Final = {
    "up": "it runs",
    "starting": "it reads its disk, and does not answer yet",
    "draining": "it ends in order: it takes nothing new, and finishes what it has in hand",
    "paused": "it neither runs nor answers; its connections stay open",
    "killed": "its process was killed; its disk has what was written",
    "crashed": "its power was cut; what it had not synced is lost",
    "stopped": "it was stopped in order",
    "down": "it was not started",
    "failed": "it ended by a mistake",
}
"""What each state of a node means."""


@dataclass(slots=True)
class Instance:
    """A node as the cluster keeps it, over all its generations."""

    placement: Placement
    handle: NodeHandle
    state: str = "down"
    """One of STATES (paused is the handle's)."""
    generation: int = 0
    started_s: float = 0.0
    error: str = ""
    founder: bool = True
    listed: bool = False
    """Whether others may count on it: from its first start until it is stopped in order."""
    held: bool = False
    """Kept back from traffic: others see it as one that drains."""
    role: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """What `emu ps` shows beside the state: epoch, lag ... as the node last described itself."""
    voters: tuple[str, ...] = ()
    """Who chooses its tier's leader, as it last knew."""
    failures_s: list[float] = field(default_factory=list)
    settled: trio.Event = field(default_factory=trio.Event)

    @property
    def spec(self) -> MachineSpec:
        return self.placement.spec

    @property
    def running(self) -> bool:
        return self.handle.running

    @property
    def patience_s(self) -> float:
        """How long it may take to end what it has in hand, as far as its kind knows."""
        known = self.placement.kind.patience
        return known(self.placement.config) if known is not None else 0.0

    @property
    def shown_state(self) -> str:
        return "paused" if self.handle.paused else self.state

    @property
    def identity(self) -> dict[str, str]:
        """What events say of it."""
        return {"node": self.spec.name, "tier": self.spec.tier, "region": self.spec.region}

    @property
    def candidate(self) -> Candidate:
        """It as targets see it, with the role it last had."""
        spec, kind = self.spec, self.placement.kind
        return Candidate(
            spec.name, spec.tier, spec.kind, spec.region, self.role, self.placement.group,
            kind.clients or kind.elsewhere,
        )  # fmt: skip

    def as_member(self) -> Member:
        """It as the directory lists it."""
        spec, draining = self.spec, self.held or self.state in ("draining", "stopped")
        return Member(
            spec.name, spec.tier, spec.kind, spec.region, self.handle.address, spec.port,
            self.listed, self.generation, draining, self.founder,
        )  # fmt: skip

    def adopt(self, config: Any) -> None:
        """Have that config from its next start on: it is down."""
        self.placement = replace(self.placement, config=config)
        self.handle.adopt(self.placement)

    def restart_wait_s(self, now_s: float) -> float | None:
        """It has failed just now: how long to wait before it is started again. None: it has failed
        too often of late, and another start would not help."""
        self.failures_s = [at for at in self.failures_s if now_s - at < CRASH_LOOP_WINDOW_S]
        self.failures_s.append(now_s)
        if len(self.failures_s) > CRASH_LOOP:
            return None
        wait_s: float = RESTART_FIRST_S * 2 ** (len(self.failures_s) - 1)
        return min(RESTART_MOST_S, wait_s)


def lives(instances: Mapping[str, Instance]) -> dict[str, tuple[str, int]]:
    """Of each node its state and how often it was started: alike as long as it lives."""
    return {name: (each.shown_state, each.generation) for name, each in instances.items()}
