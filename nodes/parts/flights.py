"""Single flight: of those who want the same at the same time one fetches it, and all have it.

If that one is cancelled or fails, the next of them fetches: nobody waits for the dead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import trio

Result = TypeVar("Result")


class _Flight:
    """One fetch, and who waits for it."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.landed = False
        self.result: Any = None


class Flights(Generic[Result]):
    """By key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    async def run(self, key: Hashable, fetch: Callable[[], Awaitable[Result]]) -> Result:
        """What `fetch` brings, ours or another's. Raises what our own raises."""
        while True:
            flight = self._flights.get(key)
            if flight is None:
                break
            await flight.ended.wait()
            if flight.landed:
                landed: Result = flight.result
                return landed
        flight = self._flights[key] = _Flight()
        try:
            fetched = flight.result = await fetch()
            flight.landed = True
            return fetched
        finally:
            del self._flights[key]
            flight.ended.set()
