"""Warming up a cold node: it takes over from the others what is its own since it came.

Each key is taken under a token, so that a delete meanwhile voids it; and only from who knows of
everything that was made old before that token was given.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from nodes.base import RPC_PORT, Context
from nodes.cache import arguments
from nodes.cache.arguments import SetOptions
from nodes.cache.desk import Desk
from nodes.wire.client import Client, Clients
from nodes.wire.directory import Directory, TierView
from nodes.wire.service import Call
from protocols import cache as words
from protocols.cache import ring_of
from protocols.errors import RpcError

PAGE_TIMEOUT_S: Final = 5.0
TAKEN_AT_ONCE: Final = 50
"""Keys whose tokens are out together: they end soon."""
PAUSE_S: Final = 0.002
"""Between pages: readers come first."""


class Warming:
    """One node's."""

    def __init__(
        self, ctx: Context, nursery: trio.Nursery, directory: Directory, desk: Desk
    ) -> None:
        self._ctx = ctx
        self._nursery = nursery
        self._directory = directory
        self._desk = desk
        self._clients = Clients(ctx, nursery)
        self._over = True
        self._taken = 0
        self._last = ""

    def begin(self, call: Call) -> bool:
        """Unless it is under way already. Raises RpcError: refused, where nothing tells a node
        which of another's values are old."""
        if self._desk.follower is None:
            raise RpcError("refused", "without `fills_from` a cold node fills as it is asked")
        if not self._over:
            return False
        self._over, self._taken, self._last = False, 0, ""
        self._nursery.start_soon(self._run)
        return True

    def progress(self) -> dict[str, Any]:
        text = self._last or "values taken over from the other nodes"
        return {"done": self._taken, "of": self._taken, "text": text, "over": self._over}

    async def _run(self) -> None:
        try:
            view = await self._directory.follow(self._ctx.tier)
            for member in view.ready:
                if member.name != self._ctx.name:
                    await self._take_from(member.name, view)
        finally:
            self._over = True

    async def _take_from(self, name: str, view: TierView) -> None:
        client, ring = self._clients(name, RPC_PORT), ring_of(each.name for each in view.members)
        place = None
        try:
            while True:
                page = await client.call(words.KEYS, place, timeout_s=PAGE_TIMEOUT_S)
                ours = [key for key in page["keys"] if ring.owner(key) == self._ctx.name]
                for first in range(0, len(ours), TAKEN_AT_ONCE):
                    await self._take(client, ours[first : first + TAKEN_AT_ONCE])
                place = page["next"]
                if place is None:
                    return
                await self._ctx.clock.sleep(PAUSE_S)
        except RpcError as error:
            self._last = f"{name} was not asked to its end: {error}"

    async def _take(self, client: Client, keys: list[str]) -> None:
        """Tokens first, then the values, as they are after that."""
        desk, now_s = self._desk, self._ctx.clock.monotonic_s()
        desk.check_fresh(now_s)
        tokens = {
            key: token
            for key in keys
            if key not in desk.store
            and desk.leases.held(key, now_s) is None
            and (token := desk.give(key, now_s))
        }
        known_lsn, left = desk.newest_lsn, list(tokens)
        try:
            while left:
                page = await client.call(words.VALUES, left, timeout_s=PAGE_TIMEOUT_S)
                del left[: max(1, page["looked_at"])]
                for key, value, ttl_ms in page["rows"]:
                    token = tokens.pop(key, 0)
                    if token and page["lsn"] >= known_lsn and desk.redeem(key, token):
                        given = SetOptions(ttl_ms / 1000, None, 0.0, value is None)
                        desk.fill(key, value, arguments.size_of(value), given)
                        self._taken += 1
        finally:
            for key, token in tokens.items():
                desk.drop(key, token)
