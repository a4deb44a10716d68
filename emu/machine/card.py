"""What a network card is in both worlds: of one machine, for one generation of its node."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from emu.machine.life import Life
from emu.machine.world import MachineSpec


class Machine(Protocol):
    """A machine as its world's network knows it."""

    spec: MachineSpec
    address: str


N = TypeVar("N")
H = TypeVar("H", bound=Machine)


class Card(Generic[N, H]):
    """Its worlds say how it dials and listens (nodes.base.Network)."""

    def __init__(self, network: N, host: H, life: Life | None) -> None:
        self.address = host.address
        self._network = network
        self._host = host
        self._life = life
        self._name = host.spec.name

    def _check(self) -> None:
        """Raises Fenced in a dead generation."""
        if self._life is not None:
            self._life.check()
