"""The orderly end of a service: its open connections answer what was asked, then close.

What a connection has in hand is its own business; here they are only told, and counted.
"""

from __future__ import annotations

from typing import Final, Protocol

import trio

DRAIN_QUIET_S: Final = 0.5
"""A draining service closes a connection on which nothing happens for so long."""


class Drainable(Protocol):
    """A connection that can be told to end."""

    def hurry(self) -> None:
        """From now on close when quiet for DRAIN_QUIET_S."""
        ...


class Draining:
    """The open connections of one service. `begun`: it shall end."""

    def __init__(self) -> None:
        self.begun = False
        self._open: dict[Drainable, None] = {}
        self._empty = trio.Event()

    def add(self, connection: Drainable) -> None:
        self._open[connection] = None

    def remove(self, connection: Drainable) -> None:
        del self._open[connection]
        if self.begun and not self._open:
            self._empty.set()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    async def drain(self) -> None:
        """Let every connection end; returns when none is left."""
        self.begun = True
        for connection in list(self._open):
            connection.hurry()
        while self._open:
            self._empty = trio.Event()
            await self._empty.wait()
