"""The metrics of an autoscaler: how many there are, how many it wants, and by which metric."""

from __future__ import annotations

from nodes.autoscaler.scaler import Decision
from nodes.base import Context


class Series:
    """One autoscaler's."""

    def __init__(self, ctx: Context, scales: str) -> None:
        self._metrics = ctx.metrics
        metrics, self._scales = ctx.metrics, scales
        self._current = metrics.gauge(
            "autoscaler_current_nodes", "Members that the scaled tier has.", scales=scales
        )
        self._asked = metrics.gauge(
            "autoscaler_asked_nodes", "Members that the metrics ask for.", scales=scales
        )
        self._wanted = metrics.gauge(
            "autoscaler_wanted_nodes",
            "Members that it decided on, by its windows, policies and limits.",
            scales=scales,
        )
        self._scalings = {
            direction: metrics.counter(
                "autoscaler_scalings_total", "Times that a tier was scaled, by direction.",
                scales=scales, direction=direction,
            )
            for direction in ("up", "down")
        }  # fmt: skip
        self._blind = metrics.gauge(
            "autoscaler_blind", "1 where its last look came to nothing: too little is known.",
            scales=scales,
        )  # fmt: skip
        self._refused = metrics.counter(
            "autoscaler_refused_total", "Scalings that the directory refused.", scales=scales
        )

    def decided(self, decision: Decision) -> None:
        self._blind.value = 0
        self._current.value = decision.current
        self._asked.value = decision.asked
        self._wanted.value = decision.nodes
        for metric, ratio in decision.ratios.items():
            self._metrics.gauge(
                "autoscaler_ratio", "What was measured against what is wanted, by metric.",
                scales=self._scales, metric=metric,
            ).value = ratio  # fmt: skip

    def scaled(self, before: int, after: int) -> None:
        self._scalings["up" if after > before else "down"].value += 1

    def undecided(self) -> None:
        self._blind.value = 1

    def refused(self) -> None:
        self._refused.value += 1
