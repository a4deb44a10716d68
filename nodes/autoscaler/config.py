"""What a topology may say of an autoscaler, and nothing that happens there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

LEAST_SYNC_S: Final = 0.1
MOST_NODES: Final = 1000
DISABLED: Final = "disabled"
Select = Literal["max", "min", "disabled"]


@dataclass(frozen=True, slots=True)
class Targets:
    """What each member should have on average; the metric that asks for most members decides."""

    cpu_ratio: float = 0.0
    """How busy a member's cores are; the scaled tier needs a `cpu`: `cpu: 60%`."""
    requests_per_s: float = 0.0
    """Requests that a member answers: `requests: 50/s`."""
    in_flight: float = 0.0
    """Requests that a member has in hand: `in_flight: 8`."""
    lag: float = 0.0
    """Records of a queue that wait for each member, with `lag_of`: `lag: 10`, which is KEDA's."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How many members may come, or go, within a period: so many, or a part of those there were."""

    nodes: int = 0
    """So many members: `{nodes: 4, period: 15s}`."""
    percent: int = 0
    """Or this part of those that there were when the period began: `{percent: 100}`."""
    period_s: float = 15.0
    """The length of the period."""

    def __post_init__(self) -> None:
        if (self.nodes > 0) == (self.percent > 0):
            raise ValueError("a policy has `nodes` or `percent`, one of them and above 0")
        if self.period_s <= 0:
            raise ValueError("`period` must be above 0")


@dataclass(frozen=True, slots=True)
class ScaleUp:
    """The way up: as Kubernetes has it, at once, by 4 or the double in 15 s."""

    window_s: float = 0.0
    """The stabilization window: of all that was asked for in so long, the least counts."""
    policies: tuple[Policy, ...] = (Policy(percent=100), Policy(nodes=4))
    """How many may come in a period: `policies: [{nodes: 2, period: 10s}]`; none: no limit."""
    select: Select = "max"
    """Which policy holds: the one that allows most or least; or it never goes this way."""


@dataclass(frozen=True, slots=True)
class ScaleDown:
    """The way down: as Kubernetes has it, as far as wanted, after five minutes."""

    window_s: float = 300.0
    """The stabilization window: of all that was asked for in so long, the most counts."""
    policies: tuple[Policy, ...] = (Policy(percent=100),)
    """How many may go in a period: `policies: [{percent: 50, period: 60s}]`; none: no limit."""
    select: Select = "max"
    """Which policy holds: the one that allows most or least; or it never goes this way."""


Behavior = ScaleUp | ScaleDown
"""How fast a direction is gone."""


@dataclass(frozen=True, slots=True)
class AutoscalerConfig:
    """One autoscaler. Defaults are those of Kubernetes' horizontal one, of lag KEDA's."""

    scales: str
    """The tier that has more or fewer members: `scales: web`."""
    targets: Targets = field(default_factory=Targets)
    """What to keep to: `targets: {cpu: 60%}`; of several the largest answer wins."""
    min_nodes: int = 1
    """Never fewer. 0 is for lag alone: a tier with nothing to do is sent home."""
    max_nodes: int = 10
    """Never more."""
    sync_s: float = 15.0
    """How often it looks and decides."""
    tolerance_ratio: float = 0.1
    """So far off the target nothing is done."""
    initial_readiness_s: float = 30.0
    """A member that was ready within so long of its start, and then not, had not been ready yet."""
    cpu_initialization_s: float = 300.0
    """So long after its start a member's cpu counts only while it is ready, and by samples of that
    time."""
    scale_up: ScaleUp = field(default_factory=ScaleUp)
    """How fast up: `scale_up: {window: 30s}`."""
    scale_down: ScaleDown = field(default_factory=ScaleDown)
    """How fast down: `scale_down: {window: 60s, policies: [{nodes: 1, period: 30s}]}`."""
    lag_of: str = ""
    """The queue tier whose records wait: `lag_of: queue`."""
    topics: tuple[str, ...] = ()
    """Whose records: `topics: [photos, posts]`."""
    group: str = "workers"
    """The group that reads or does them."""
    allow_idle: bool = False
    """Whether there may be more members than partitions: workers share one, consumers cannot."""
    cooldown_s: float = 300.0
    """With `min_nodes: 0`: the last member goes when nothing has waited for so long."""

    def __post_init__(self) -> None:
        asked = self.targets
        if not (asked.cpu_ratio or asked.requests_per_s or asked.in_flight or asked.lag):
            raise ValueError("`targets` has nothing to keep to; write for example {cpu: 60%}")
        if bool(asked.lag) != bool(self.lag_of) or bool(self.lag_of) != bool(self.topics):
            raise ValueError("`lag_of` needs `topics` and a target `lag`, and they need it")
        if not 1 <= self.max_nodes <= MOST_NODES or not 0 <= self.min_nodes <= self.max_nodes:
            raise ValueError(f"`min_nodes` is from 0 to `max_nodes`, which is at most {MOST_NODES}")
        if self.min_nodes == 0 and not asked.lag:
            raise ValueError("`min_nodes: 0` needs a lag: who is not there measures nothing")
        if self.sync_s < LEAST_SYNC_S:
            raise ValueError(f"`sync` must be at least {LEAST_SYNC_S:g}s")
