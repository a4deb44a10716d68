"""What an autoscaler decides: how many members its tier should have now, and why. Pure: it is
handed what was measured, and the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from nodes.autoscaler.config import AutoscalerConfig
from nodes.autoscaler.lag import Lag, by_lag
from nodes.autoscaler.pace import Pace
from nodes.autoscaler.replicas import (
    MILLI,
    Asked,
    NoReading,
    Rules,
    Seen,
    by_average,
    by_utilization,
)

CPU: Final = "cpu"
REQUESTS: Final = "requests"
IN_FLIGHT: Final = "in_flight"
LAG: Final = "lag"


class Reading(NamedTuple):
    """What was measured: by metric, the members with their samples; of lag what waits."""

    members: Mapping[str, Sequence[Seen]]
    lag: Lag | None = None


class Decision(NamedTuple):
    """How many there are, how many there should be, and the arithmetic."""

    current: int
    asked: int
    nodes: int
    why: str
    ratios: Mapping[str, float]
    """Metric → measured against wanted."""


class Scaler:
    """One tier's."""

    def __init__(self, config: AutoscalerConfig) -> None:
        self._config = config
        self._rules = Rules(
            config.tolerance_ratio,
            config.tolerance_ratio,
            config.initial_readiness_s,
            config.cpu_initialization_s,
        )
        self._pace = Pace(config.scale_up, config.scale_down)
        self._waited_s: float | None = None
        """When records last waited, or nobody had looked."""

    def decide(self, current: int, reading: Reading, now_s: float) -> Decision:
        """Raises NoReading where nothing can be decided."""
        config = self._config
        if self._waited_s is None or reading.lag is None or reading.lag.records:
            self._waited_s = now_s
        if current > config.max_nodes:
            return self._told(current, config.max_nodes, f"{current} is above `max_nodes`")
        if current < config.min_nodes:
            return self._told(current, config.min_nodes, f"{current} is below `min_nodes`")
        answers, silent = self._answers(current, reading, now_s)
        if not answers:
            raise NoReading("; ".join(silent))
        name = max(answers, key=lambda each: answers[each].nodes)
        asked = answers[name].nodes
        if silent and asked < current:
            raise NoReading(f"fewer would do, but {'; '.join(silent)}")
        why = f"{name} {answers[name].why}"
        ratios = {each: answer.ratio for each, answer in answers.items()}
        stays = config.min_nodes or (current and now_s - self._waited_s < config.cooldown_s)
        if asked == 0 and stays:
            asked, why = 1, f"{why}; the last one stays"
        paced = self._pace.limit(current, asked, config.min_nodes, config.max_nodes, now_s)
        if paced.limited:
            why = f"{why}; {paced.nodes} by {paced.limited}"
        assert config.min_nodes <= paced.nodes <= config.max_nodes, why
        return Decision(current, asked, paced.nodes, why, ratios)

    def changed(self, before: int, after: int, now_s: float) -> None:
        """The tier was given so many."""
        self._pace.changed(before, after, now_s)

    def not_changed(self, before: int, after: int, at_s: float) -> None:
        """What was told of by `changed` did not come to be."""
        self._pace.not_changed(before, after, at_s)

    def _told(self, current: int, nodes: int, why: str) -> Decision:
        return Decision(current, nodes, nodes, why, {})

    def _answers(
        self, current: int, reading: Reading, now_s: float
    ) -> tuple[dict[str, Asked], list[str]]:
        """(metric → its answer, why others have none)."""
        targets, rules = self._config.targets, self._rules
        seen = reading.members
        asks: dict[str, Callable[[], Asked]] = {}
        if targets.cpu_ratio:
            percent = max(1, round(targets.cpu_ratio * 100))
            asks[CPU] = lambda: by_utilization(current, percent, seen[CPU], rules, now_s)
        for name, target in ((REQUESTS, targets.requests_per_s), (IN_FLIGHT, targets.in_flight)):
            if target:
                asks[name] = self._average(current, name, target, seen, now_s)
        if targets.lag:
            asks[LAG] = lambda: self._by_lag(current, reading.lag)
        answers, silent = {}, []
        for name, ask in asks.items():
            try:
                answers[name] = ask()
            except NoReading as why:
                silent.append(f"{name}: {why}")
        return answers, silent

    def _average(
        self,
        current: int,
        name: str,
        target: float,
        seen: Mapping[str, Sequence[Seen]],
        now_s: float,
    ) -> Callable[[], Asked]:
        milli = max(1, round(target * MILLI))
        return lambda: by_average(current, milli, seen[name], self._rules, now_s)

    def _by_lag(self, current: int, lag: Lag | None) -> Asked:
        if lag is None:
            raise NoReading("the queue does not say what waits")
        config = self._config
        return by_lag(current, config.targets.lag, lag, self._rules, allow_idle=config.allow_idle)
