"""Which worker process a node runs in. Pure.

A region's nodes stay together where there are several regions; beside that, the members of a tier
are spread evenly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


class Spread:
    """Of one cluster, over `workers` processes that are numbered from 1."""

    def __init__(self, workers: int, regions: Sequence[str]) -> None:
        """`regions`: in which nodes are declared, one for each node."""
        self._workers = range(1, workers + 1)
        self._nodes: Counter[int] = Counter()
        self._members: Counter[tuple[int, str, str]] = Counter()
        self._of_region = self._shared_out(Counter(regions))

    def _shared_out(self, sizes: Counter[str]) -> dict[str, list[int]]:
        """The workers of each region: as many regions as there are, or more, have one each."""
        names = sorted(sizes, key=lambda each: (-sizes[each], each))
        if len(names) == 1:
            return {}
        if len(names) <= len(self._workers):
            return {name: list(self._workers)[place :: len(names)]
                    for place, name in enumerate(names)}  # fmt: skip
        load: Counter[int] = Counter()
        found = {}
        for name in names:
            least = min(self._workers, key=lambda each: load[each])
            load[least] += sizes[name]
            found[name] = [least]
        return found

    def place(self, tier: str, region: str) -> int:
        """The worker of one more node."""
        among = self._of_region.get(region, self._workers)
        chosen = min(
            among, key=lambda each: (self._members[each, tier, region], self._nodes[each], each)
        )
        self._members[chosen, tier, region] += 1
        self._nodes[chosen] += 1
        return chosen

    def take_away(self, worker: int, tier: str, region: str) -> None:
        """A node is gone for good."""
        self._members[worker, tier, region] -= 1
        self._nodes[worker] -= 1
