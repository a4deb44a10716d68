"""Which connection a consumer last asked by: what it holds ends with that one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nodes.wire.answers import Ending


class Ties:
    """One server's."""

    def __init__(self, gone: Callable[[str], object]) -> None:
        """`gone` is called with a consumer whose connection has ended."""
        self._gone = gone
        self._connections: dict[str, Ending] = {}

    def tie(self, consumer: str, ending: Ending) -> None:
        if self._connections.get(consumer) is not ending:
            self._connections[consumer] = ending
            ending.add(partial(self._ended, ending, consumer))

    def _ended(self, ending: Ending, consumer: str) -> None:
        if self._connections.get(consumer) is ending:
            del self._connections[consumer]
            self._gone(consumer)
