"""How long tiers that one member leads were led by nobody, as events tell it."""

from __future__ import annotations

from typing import Any, Final

from emu.machine.events import Event
from emu.model.faults import VERBS
from emu.running.supervisor import Cluster
from emu.running.views import leads_now

GONE: Final = ("node killed", "node crashed", "node failed", "node stopped", "node paused")
CAUSE_S: Final = 10.0
"""Who leads in place of one that still runs does so for what was broken so long before, at most: a
leader that is cut off goes silently."""


class Failovers:
    """Looks at a cluster's events from before its boot."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._leads: dict[str, str] = {}
        """Tier → who leads it, or did last."""
        self._since_s: dict[str, float] = {}
        """Tier → since when nobody leads it."""
        self._broken_s = float("-inf")
        """When something was broken last."""
        self._longest_s = 0.0

    def look(self, event: Event) -> None:
        """An event listener."""
        name, node, now_s = event["event"], str(event.get("node")), float(event["time_s"])
        if leads_now(self._cluster, event):
            self._promoted(str(event.get("tier")), node, now_s)
        elif name == "fault started" and _breaks(event.get("verb")):
            self._broken_s = now_s
        elif name in GONE:
            for tier, leader in self._leads.items():
                if leader == node:
                    self._since_s.setdefault(tier, now_s)
        elif name == "node resumed":  # and nobody else was promoted meanwhile
            for tier in [tier for tier, leader in self._leads.items() if leader == node]:
                self._is_led(tier, now_s)

    def _promoted(self, tier: str, node: str, now_s: float) -> None:
        if self._leads.get(tier, node) != node and now_s - self._broken_s <= CAUSE_S:
            self._since_s.setdefault(tier, self._broken_s)
        self._leads[tier] = node
        self._is_led(tier, now_s)

    def _is_led(self, tier: str, now_s: float) -> None:
        self._longest_s = max(self._longest_s, now_s - self._since_s.pop(tier, now_s))

    def longest_s(self, now_s: float) -> float | None:
        """The longest time without a leader, until now; None where no tier has one."""
        if all(tier.kind.leader is None for tier in self._cluster.topology.tiers):
            return None
        lasting = (now_s - since_s for since_s in self._since_s.values())
        return max(self._longest_s, *lasting, 0.0)


def _breaks(verb: Any) -> bool:
    return verb in VERBS and VERBS[verb].breaks
