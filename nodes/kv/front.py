"""What a router can do about hot keys: near cache, copies of a key, counters in parts.

Each is asked for by configuration, and each gives something up: a near cache shows values that are
a little old, copies are not written at once, a counter in parts is read as a sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio

from nodes.kv.client import KvClient
from nodes.kv.near_cache import MISSING, NearCache
from nodes.kv.scatter import Scatter
from protocols.errors import RpcError
from protocols.kv import words

MAX_PARTS: Final = 64


def part_of(key: str, number: int) -> str:
    """The name of one part of a key: its tag takes it to a slot of its own."""
    return f"{{{number}/{key}}}"


class Front:
    """Commands as KvClient has them, with the declared keys split."""

    def __init__(
        self,
        client: KvClient,
        scatter: Scatter,
        *,
        near_cache_s: float = 0.0,
        copies: Mapping[str, int] | None = None,
        counters: Mapping[str, int] | None = None,
    ) -> None:
        self._client = client
        self._scatter = scatter
        self._near = NearCache(near_cache_s) if near_cache_s > 0 else None
        self._copies = copies or {}
        self._counters = counters or {}
        self._rng = client.ctx.rng("kv-front")
        client.ctx.metrics.counter(
            "near_cache_hits_total", "Reads that the near cache answered.",
            lambda: self._near.hits if self._near is not None else 0,
        )  # fmt: skip

    async def call(self, command: str, *params: Any, timeout_s: float) -> Any:
        """One command about one key (or one slot). Raises RpcError."""
        key = params[0] if params else None
        if self._near is None or type(key) is not str:
            return await self._through(command, key, params, timeout_s)
        if command != words.GET:
            self._near.forget(key)
            return await self._through(command, key, params, timeout_s)
        now_s = self._client.ctx.clock.monotonic_s()
        value = self._near.get(key, now_s)
        if value is MISSING:
            value = await self._through(command, key, params, timeout_s)
            self._near.put(key, value, now_s)
        else:
            await trio.lowlevel.checkpoint()
        return value

    async def _through(
        self, command: str, key: Any, params: tuple[Any, ...], timeout_s: float
    ) -> Any:
        if type(key) is str and key in self._counters:
            return await self._counter(command, key, params, timeout_s)
        if type(key) is str and key in self._copies:
            return await self._copied(command, key, params, timeout_s)
        return await self._client.call(command, *params, timeout_s=timeout_s)

    async def _copied(
        self, command: str, key: str, params: tuple[Any, ...], timeout_s: float
    ) -> Any:
        """Read any copy; write them all, one after the other."""
        parts = [part_of(key, number) for number in range(self._copies[key])]
        if command in (words.GET, words.TTL, words.READ):
            chosen = self._rng.choice(parts)
            return await self._client.call(command, chosen, *params[1:], timeout_s=timeout_s)
        if command not in (words.SET, words.DELETE, words.EXPIRE, words.UPDATE):
            raise RpcError("refused", f"`{key}` has copies: `{command}` needs a single owner")
        results = [
            await self._client.call(command, part, *params[1:], timeout_s=timeout_s)
            for part in parts
        ]
        return results[0]

    async def _counter(
        self, command: str, key: str, params: tuple[Any, ...], timeout_s: float
    ) -> Any:
        """Count at any part (the answer is that part's); read the sum."""
        parts = [part_of(key, number) for number in range(self._counters[key])]
        if command == words.INCR:
            chosen = self._rng.choice(parts)
            return await self._client.call(command, chosen, *params[1:], timeout_s=timeout_s)
        if command != words.GET:
            raise RpcError("refused", f"`{key}` is a counter in parts: `incr` and `get` only")
        answer = await self._scatter.mget(parts, timeout_s=timeout_s)
        known = [value for value in answer["values"] if value is not None]
        return sum(known) if known else None
