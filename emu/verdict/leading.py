"""What must be true of whoever has been promoted: nobody else answers as the leader any more, and
it has all that was decided before.

Clients see it only if they ask the old one just then for what the new one has changed, or read what
is gone; so members are asked, from each promotion on for as long as a lease may last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from emu.machine.events import Event
from emu.running.asking import ask_each
from emu.running.supervisor import Cluster
from emu.running.views import leads_now
from nodes.kind import Leader
from protocols import control

LOOKS: Final = 8
PAUSE_RATIO: Final = 0.15
"""Of the time that one leads without hearing from others."""
ANSWER_S: Final = 1.0
FOUNDING: Final = 1
"""The first epoch: nobody led before."""


Facts = dict[str, Any]


class Leading:
    """Looks at a cluster's promotions; `found` says what must not have been, a line each."""

    def __init__(self, cluster: Cluster) -> None:
        self.found: dict[str, None] = {}
        self._cluster = cluster

    def look(self, event: Event) -> None:
        """An event listener."""
        cluster = self._cluster
        if cluster.nursery.cancel_scope.cancel_called:
            return  # it is over
        if int(event.get("epoch", FOUNDING)) > FOUNDING and leads_now(cluster, event):
            placement = cluster.instances[str(event["node"])].placement
            leader, members = placement.kind.leader, len(self._others(event)) + 1
            assert leader is not None, "so it leads"
            may_lose = placement.kind.may_lose
            if leader.serves and not (may_lose and may_lose(placement.config, members)):
                lease_s = float(getattr(placement.config, leader.timeout, 0.0))
                if lease_s:  # a family may keep that time to itself
                    cluster.nursery.start_soon(self._watch, event, leader, lease_s)

    async def _watch(self, event: Event, leader: Leader, lease_s: float) -> None:
        cluster, suspects = self._cluster, dict.fromkeys(self._others(event))
        own_name = str(event["node"])
        for _ in range(LOOKS):
            answers = await ask_each(
                [name for name in (own_name, *suspects) if self._runs(name)],
                lambda name: cluster.call_admin(name, control.DESCRIBE, timeout_s=ANSWER_S),
            )
            own = answers.pop(own_name, None)
            for name, facts in answers.items():
                if isinstance(facts, dict) and self._is_over(event, leader, name, facts):
                    del suspects[name]
                elif isinstance(facts, dict) and isinstance(own, dict):
                    self._compare(event, own, name, facts)
            await cluster.operator.sleep(PAUSE_RATIO * lease_s)
            suspects = {name: None for name in suspects if name in cluster.instances}
            if not suspects:
                return

    def _is_over(self, event: Event, leader: Leader, name: str, facts: Facts) -> bool:
        """Whether it knows of the new office, or has just been found in an old one."""
        epoch = int(facts.get("epoch", FOUNDING))
        if epoch >= event["epoch"]:
            return True
        if not facts.get(leader.serves):
            return False
        now_s = self._cluster.world.timers.now_s()
        self.found[
            f"{event.get('tier')}: {name} still answered as {leader.role} of epoch {epoch} at "
            f"{now_s:.3f} s, and {event['node']} had been promoted in epoch {event['epoch']} at "
            f"{event['time_s']:.3f} s"
        ] = None
        return True

    def _compare(self, event: Event, own: Facts, name: str, facts: Facts) -> None:
        """With one who has not heard of the new office: what it knows to be decided was before."""
        lsn = int(facts["committed_lsn"])
        if own["founding"] != facts["founding"] or own["epoch"] != event["epoch"] or not lsn:
            return
        ours, theirs = (_epoch_at(lsn, each["epochs"]) for each in (own, facts))
        if own["lsn"] < lsn or (ours and theirs and ours != theirs):
            self.found[
                f"{event.get('tier')}: {event['node']} was promoted in epoch {event['epoch']} at "
                f"{event['time_s']:.3f} s and lacks record {lsn}, which {name} knows to be decided"
            ] = None

    def _runs(self, name: str) -> bool:
        instance = self._cluster.instances.get(name)
        return instance is not None and instance.running

    def _others(self, event: Event) -> list[str]:
        members = self._cluster.tier_instances(str(event.get("tier")))
        return [each.spec.name for each in members if each.spec.name != event["node"]]


def _epoch_at(lsn: int, epochs: Sequence[Sequence[int]]) -> int:
    """Of that record of a log; 0 where it does not say."""
    return next((epoch for epoch, first_lsn in reversed(epochs) if first_lsn <= lsn), 0)
