"""What undoes the end, the pause or the scaling of nodes: they live again, unless somebody was
quicker, and are as many again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.running.targets import TargetError

if TYPE_CHECKING:
    from emu.running.supervisor import Cluster


@dataclass(frozen=True, slots=True)
class Revive:
    """Undoes an end: starts those of the nodes that are still down."""

    cluster: Cluster
    names: tuple[str, ...]

    async def __call__(self) -> None:
        await start_all(self.cluster, self.names)

    def over(self) -> bool:
        """Whether somebody else has started them all meanwhile."""
        instances = self.cluster.instances
        return all(instances[name].running for name in self.names if name in instances)


@dataclass(frozen=True, slots=True)
class Resume:
    """Undoes a pause."""

    cluster: Cluster
    names: tuple[str, ...]

    async def __call__(self) -> None:
        for name in self.names:
            if name in self.cluster.instances:
                self.cluster.unpause(name)

    def over(self) -> bool:
        """Whether none of them is paused any more."""
        instances = self.cluster.instances
        return not any(
            instances[name].shown_state == "paused" for name in self.names if name in instances
        )


@dataclass(slots=True)
class ScaleBack:
    """Undoes a scaling: the tier has as many members as those before it, and after it, say."""

    cluster: Cluster
    tier: str
    take_back: Callable[[], int | None]
    """Of what scalings have set (layers.py)."""
    _nodes: int | None = None

    def lift(self) -> None:
        nodes = self.take_back()
        if nodes is not None:
            self._nodes = nodes

    async def __call__(self) -> None:
        self.lift()
        if self._nodes is None:
            return
        try:
            await self.cluster.scale(self.tier, self._nodes)
        except TargetError as error:  # who cannot leave its group stays
            self.cluster.log.warning("tier not scaled back", tier=self.tier, why=str(error))


async def start_all(cluster: Cluster, names: Sequence[str]) -> None:
    """Start those that are down, one after the other, each until it is up or has failed."""
    for name in names:
        if name in cluster.instances and not cluster.instances[name].running:
            await cluster.start(name)
