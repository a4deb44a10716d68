"""Single flight: of those who want the same at the same time one fetches it, and all have it.

If that one is cancelled or fails, the next of them fetches: nobody waits for the dead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio


class _Flight:
    """One fetch, and who waits for it."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.landed = False
        self.result: Any = None


class Flights:
    """By key."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    async def run(self, key: str, fetch: Callable[[], Awaitable[Any]]) -> Any:
        """What `fetch` brings, ours or another's. Raises what our own raises."""
        while True:
            flight = self._flights.get(key)
            if flight is None:
                break
            await flight.ended.wait()
            if flight.landed:
                return flight.result
        flight = self._flights[key] = _Flight()
        try:
            flight.result = await fetch()
            flight.landed = True
            return flight.result
        finally:
            del self._flights[key]
            flight.ended.set()
