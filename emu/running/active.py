"""A fault that lasts: what it met, since when, and how it is undone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from emu.model.faults import Fault

Undo = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class ActiveFault:
    """A fault that can still be undone."""

    number: int
    fault: Fault
    since_s: float
    until_s: float | None
    undo: Undo

    @property
    def nodes(self) -> tuple[str, ...]:
        """Whom it met, where it ends nodes or holds them."""
        return getattr(self.undo, "names", ())

    @property
    def over(self) -> bool:
        """Whether it was undone by other means (`start` after `kill`)."""
        check = getattr(self.undo, "over", None)
        return check is not None and bool(check())
