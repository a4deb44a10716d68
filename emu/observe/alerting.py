"""Alerts of a running cluster: its own metrics, looked at as a Prometheus beside it would scrape
them, and what the rules make of them. Who fires, and who has ended, is an event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import trio

from emu.alerts import rules
from emu.alerts.language import Labels
from emu.alerts.series import Sample
from emu.alerts.states import FIRING, RULES, Alerts, Firing
from emu.machine.world import OPERATOR
from emu.observe.link_series import sum_up, tell
from emu.observe.node_series import NodeSeries
from emu.observe.prometheus import scrape_interval_s
from emu.observe.wording import CLEARED, FIRES
from emu.running.supervisor import Cluster
from nodes.metrics import Metrics

NODES_PER_TURN: Final = 20
SETTLE_S: Final = 120.0
"""The longest wait for alerts that are expected to clear: longer than what any of them looks at."""
JOB: Final = "emu"


class Alerting:
    """Run `run` in the cluster's nursery, once it is up."""

    def __init__(self, cluster: Cluster, given: Iterable[rules.Rule] | None = None) -> None:
        self._cluster = cluster
        self._told: dict[str, str] = {}
        self.listeners: list[Callable[[Firing, bool], object]] = []
        """Told of each alert that begins to fire (True), or has ended."""
        self._alerts = Alerts(self._shipped() if given is None else given)
        self._wanted = frozenset(self._alerts.store.keep_s)
        self._nodes = NodeSeries(cluster)

    def _shipped(self) -> Sequence[rules.Rule]:
        """The shipped rules; a run goes on without them where they cannot be read."""
        try:
            return rules.shipped()
        except (ValueError, OSError) as error:
            self._cluster.log.warning("alert not evaluated", alert="all of them", why=str(error))
            return ()

    @property
    def active(self) -> list[Firing]:
        """What fires, and what would if it went on; the oldest first."""
        return self._alerts.active

    def shown(self) -> list[dict[str, Any]]:
        """The same for people and scripts, with `for_s`."""
        now_s = self._cluster.world.timers.now_s()
        return [{**each.to_json(), "for_s": round(now_s - each.since_s, 3)} for each in self.active]

    def fired(self) -> list[dict[str, Any]]:
        """Every firing of the run so far."""
        return [each.to_json() for each in self._alerts.fired]

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            every_s = scrape_interval_s(len(self._cluster.instances))
            await self._cluster.operator.sleep(every_s)

    async def settle(self, names: Sequence[str]) -> None:
        """Wait until none of these alerts fires, or for so long."""
        with self._cluster.operator.move_on_after(SETTLE_S):
            while any(each.alert in names and each.state == FIRING for each in self.active):
                await self._cluster.operator.sleep(1.0)

    async def look(self) -> None:
        """Read every registry once, and evaluate every rule."""
        cluster = self._cluster
        now_s = cluster.world.timers.now_s()
        store = self._alerts.store
        for place, (name, instance) in enumerate(list(cluster.instances.items())):
            if place % NODES_PER_TURN == NODES_PER_TURN - 1:
                await trio.lowlevel.checkpoint()
            answers = instance.running and not instance.handle.paused
            read = [instance.handle.metrics] if answers else []
            store.scraped(name, now_s, self._samples(name, read))
        store.scraped(OPERATOR, now_s, self._samples(OPERATOR, await self._own()))
        for name in store.told_by():
            if name != OPERATOR and name not in cluster.instances and RULES not in name:
                store.scraped(name, now_s, ())
        for firing, fires in self._alerts.evaluate(now_s):
            self._tell(firing, fires)
        self._tell_problems()

    async def _own(self) -> list[Metrics]:
        links = Metrics()
        tell(links, await sum_up(self._cluster))
        return [self._cluster.world.metrics, links, *self._nodes.registries()]

    def _samples(self, target: str, registries: Iterable[Metrics]) -> Iterable[Sample]:
        ours = ("cluster", self._cluster.topology.name), ("instance", target), ("job", JOB)
        for registry in registries:
            for name, labels, value in registry.samples(self._wanted):
                yield name, _sorted((*ours, *labels)), value

    def _tell(self, firing: Firing, fires: bool) -> None:
        for listener in self.listeners:
            listener(firing, fires)
        labels = dict(firing.labels)
        facts = {
            "alert": firing.alert,
            "severity": labels.get("severity"),
            "why": firing.summary,
        }
        if fires:
            self._cluster.log.warning(FIRES, **facts, look=firing.description)
        else:
            self._cluster.log.info(CLEARED, **facts)

    def _tell_problems(self) -> None:
        for name, why in self._alerts.problems.items():
            if self._told.get(name) != why:
                self._cluster.log.warning("alert not evaluated", alert=name, why=why)
        self._told = dict(self._alerts.problems)


def _sorted(labels: Labels) -> Labels:
    return tuple(sorted(labels))
