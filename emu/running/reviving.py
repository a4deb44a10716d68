"""What undoes the end, the pause or the scaling of nodes: they live again, unless somebody was
quicker, and are as many again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.running.targets import TargetError

if TYPE_CHECKING:
    from emu.running.supervisor import Cluster


@dataclass(slots=True, eq=False)
class Hold:
    """What a fault holds down: each node lives again with the end of the last that holds it."""

    cluster: Cluster
    names: tuple[str, ...]
    """Whom it met."""
    held: set[str] = field(init=False)
    """Those whom nobody has let live since."""

    def __post_init__(self) -> None:
        self.held = set(self.names)

    async def __call__(self) -> None:
        others = [each.undo for each in self.cluster.active.values() if each.undo is not self]
        kept = {name for each in others if type(each) is type(self) for name in each.held}
        for name in self.names:
            if name in self.held - kept and self._holds(name):
                await self._let_live(name)

    def over(self) -> bool:
        """Lets go of who lives again by somebody else's hand; whether nobody is left."""
        self.held = {name for name in self.held if self._holds(name)}
        return not self.held

    def _holds(self, name: str) -> bool:
        raise NotImplementedError

    async def _let_live(self, name: str) -> None:
        raise NotImplementedError


class Revive(Hold):
    """Undoes an end: starts those of the nodes that are still down. Whose process is gone may wait
    for ever for another one: that is told, and not waited for."""

    def _holds(self, name: str) -> bool:
        return name in self.cluster.instances and not self.cluster.instances[name].running

    async def _let_live(self, name: str) -> None:
        await self.cluster.start(name, patient=False)


class Resume(Hold):
    """Undoes a pause."""

    def _holds(self, name: str) -> bool:
        return name in self.cluster.instances and self.cluster.instances[name].handle.paused

    async def _let_live(self, name: str) -> None:
        self.cluster.unpause(name)


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
