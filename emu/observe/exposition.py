"""What emu tells Prometheus of itself: nodes up, faults, links, fidelity, expectations.

The nodes' own metrics are theirs (http.py asks them), those of emu's process prometheus-client's.
Series are registered once and read at each scrape; a scrape hands the loop over between families.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from emu.machine.events import Event
from emu.machine.levels import LEVELS
from emu.observe.link_series import sum_up, tell
from emu.observe.node_series import NodeSeries
from emu.running.active import ActiveFault
from emu.running.supervisor import Cluster
from emu.running.views import leads_now
from nodes.metrics import Counter, Metrics

MAX_FAULT_SERIES: Final = 100
NAMES_SHOWN: Final = 5


class Exposition:
    """The page at /metrics. Make it before the boot: it counts events."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.expectations: list[Mapping[str, Any]] = []
        """As emu/verdict/summary.py judges them, so far; refreshed by whoever asks the users."""
        self._metrics = Metrics()
        self._nodes = NodeSeries(cluster)
        self._process = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)
        self._events: dict[str, Counter] = {
            level: self._metrics.counter(
                "events_total", "Events of the run, by level.", level=level
            )
            for level in LEVELS
        }
        cluster.events.listeners.append(self._look)
        self._measure_run()

    def _measure_run(self) -> None:
        metrics, cluster = self._metrics, self.cluster
        clock = cluster.world.timers
        metrics.gauge("run_seconds", "Time since the run began.", clock.now_s)
        metrics.gauge(
            "faults_active",
            "Faults that are active now.",
            lambda: sum(each.fault.breaks for each in cluster.active.values()),
        )
        metrics.gauge(
            "trustworthy",
            "1 while the laptop keeps up with the emulation.",
            lambda: float(cluster.world.fidelity()["trustworthy"]),
        )
        metrics.gauge(
            "process_tasks",
            "Tasks of the emulator's loop.",
            lambda: trio.lowlevel.current_statistics().tasks_living,
        )

    def _look(self, event: Event) -> None:
        counter = self._events.get(event["level"])
        if counter is not None:
            counter.value += 1
        if leads_now(self.cluster, event):
            self._metrics.counter(
                "promotions_total", "Primaries promoted.", tier=str(event.get("tier", ""))
            ).value += 1
        elif event["event"] == "fault started":
            self._metrics.counter(
                "faults_total", "Faults injected, by kind.", kind=str(event.get("verb", ""))
            ).value += 1

    async def render(self) -> bytes:
        """The page. Other tasks get their turn between its parts."""
        once = Metrics()
        self._tell_faults(once)
        self._tell_expectations(once)
        tell(once, await sum_up(self.cluster))
        merged: dict[str, tuple[bytes, list[bytes]]] = {}
        registries = (self._metrics, self.cluster.world.metrics, once, *self._nodes.registries())
        for place, registry in enumerate(registries):
            for name, header, lines in registry.families():
                merged.setdefault(name, (header, []))[1].extend(lines)
            if place % 100 == 99:
                await trio.lowlevel.checkpoint()
        ours = (part for header, lines in merged.values() for part in (header, *lines))
        return b"".join((*ours, generate_latest(self._process)))

    # --- what changes ------------------------------------------------------------------------

    def _tell_faults(self, metrics: Metrics) -> None:
        """One series per active fault, in bounds: of a flood of them only the number is told."""
        shown = [each for each in self.cluster.active.values() if each.fault.breaks]
        for each in shown[:MAX_FAULT_SERIES]:
            metrics.gauge(
                "fault_active",
                "1 while this fault is active.",
                kind=each.fault.verb,
                target=target_of(each),
            ).value = 1

    def _tell_expectations(self, metrics: Metrics) -> None:
        for each in self.expectations:
            if each["held"] is None:
                continue
            metrics.gauge(
                "expectation_held",
                "1 while the run so far is as its topology expects; absent: not known yet.",
                expectation=str(each["text"]),
            ).value = float(each["held"])


def target_of(active: ActiveFault) -> str:
    """Whom a fault means: the nodes it met, else its own words."""
    if 0 < len(active.nodes) <= NAMES_SHOWN:
        return ", ".join(active.nodes)
    words = getattr(active.fault, active.fault.main)
    return " / ".join(words) if isinstance(words, tuple) else str(words)
