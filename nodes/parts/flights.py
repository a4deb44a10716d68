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

    async def run(
        self, key: Hashable, fetch: Callable[[], Awaitable[Result]]
    ) -> tuple[Result, bool]:
        """What `fetch` brings, and whether it was our own. Raises what that raises."""
        while True:
            flight = self._flights.get(key)
            if flight is None:
                break
            await flight.ended.wait()
            if flight.landed:
                landed: Result = flight.result
                return landed, False
        flight = self._flights[key] = _Flight()
        try:
            fetched = flight.result = await fetch()
            flight.landed = True
            return fetched, True
        finally:
            del self._flights[key]
            flight.ended.set()
