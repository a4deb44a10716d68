"""What undoes the end or the pause of nodes: they live again, unless somebody was quicker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


async def start_all(cluster: Cluster, names: Sequence[str]) -> None:
    """Start those that are down, one after the other, each until it is up or has failed."""
    for name in names:
        if name in cluster.instances and not cluster.instances[name].running:
            await cluster.start(name)
