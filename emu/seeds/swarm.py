"""The swarm: what goes wrong in the run of one seed, drawn beforehand as an ordinary timeline.

Each seed draws which faults there are at all, how often they come and how long they last, then
what they hit: nodes, roles, tiers, regions. Every fault undoes itself, and only so many are active
at once, in a tier fewer than half of its members, so that progress stays possible.
"""

from __future__ import annotations

from typing import Final

from emu.model.topology import FaultItem, Topology
from emu.seeds.chances import FIRST_S, QUIET_END_S, Chances, Damage
from emu.seeds.makers import MAKERS, cut, kill, operate, region
from emu.seeds.themes import THEMES

TRIES: Final = 8
"""Draws for one place in time before it stays empty."""
GAPS_S: Final = (2.0, 5.0, 12.0)


def draw(
    topology: Topology, seed: int | str, for_s: float, *, damage: Damage | None = None
) -> tuple[FaultItem, ...]:
    """The timeline of a run of `for_s` under this seed, in the order of its times."""
    drawn = _Draw(Chances(topology, seed, damage or Damage())).items(for_s)
    return tuple(sorted(drawn, key=lambda item: (not item.on, item.at_s or 0.0)))


class _Draw:
    """What one seed draws, in this order."""

    def __init__(self, chances: Chances) -> None:
        self._chances = chances
        rng = chances.rng
        self._gap_s = rng.choice(GAPS_S)
        # each kind of fault is there or not: seeds that differ in this find what averages hide
        of_regions = [region] if len(chances.topology.regions) > 1 else []
        makers = [*MAKERS, *of_regions, *map(operate, chances.operations)]
        self._makers = [maker for maker in makers if rng.random() < 0.5] or [kill, cut]
        self._weights = [rng.choice((1, 1, 4)) for _ in self._makers]

    def items(self, for_s: float) -> list[FaultItem]:
        chances, rng, last_s = self._chances, self._chances.rng, for_s - QUIET_END_S
        found = self._moving(for_s)
        if last_s > FIRST_S:
            for theme in THEMES:
                found += theme(chances, last_s)
        at_s = FIRST_S + rng.expovariate(1 / self._gap_s)
        while at_s < last_s:
            item = self._one(round(at_s, 3), chances.lasts_s(last_s - at_s))
            if item is not None:
                found.append(item)
            at_s += rng.expovariate(1 / self._gap_s)
        return found

    def _one(self, at_s: float, lasts_s: float) -> FaultItem | None:
        chances = self._chances
        for _ in range(TRIES):
            maker = chances.rng.choices(self._makers, self._weights)[0]
            drawn = maker(chances)
            if drawn is not None and chances.book(at_s, lasts_s, drawn.takes):
                return chances.item(drawn.fault, at_s, lasts_s)
        return None

    def _moving(self, for_s: float) -> list[FaultItem]:
        """Where slots can move, they mostly do, so that the other faults meet them on their way."""
        chances, found = self._chances, list[FaultItem]()
        for each in chances.operations:
            is_drawn = each.mostly and chances.rng.random() < 0.8
            drawn = chances.operate(each) if is_drawn else None
            if drawn is not None:
                at_s = round(chances.rng.uniform(FIRST_S, for_s / 2), 3)
                found.append(FaultItem(drawn.fault, at_s))
        return found
