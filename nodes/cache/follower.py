"""Following a database's log: a cache node hears which keys are old, and knows how fresh it is.

A node that has not heard of the log for `max_stale_s` shows nothing: before it does again it
replays what it missed, or forgets everything where the log does not go back so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from nodes.base import Context
from nodes.cache import reach
from nodes.replica.client import GroupClient
from nodes.wire.directory import Directory
from protocols import database as words
from protocols.errors import RpcError

RETRY_S: Final = 0.1
WAIT_SHARE: Final = 8
"""A question waits at the database for this part of `max_stale_s`."""
MOST_WAIT_S: Final = 1.0
PATIENCE_S: Final = 1.0
NEVER: Final = float("-inf")


class ForgetAll(Protocol):
    """As `Desk.forget_all`."""

    def __call__(self, lsn: int, *, was_cut: bool) -> object: ...


class Follower:
    """One cache node's place in the log of the tier `database`."""

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        directory: Directory,
        database: str,
        max_stale_s: float,
        *,
        made_old: Callable[[Sequence[str], int], object],
        forget_all: ForgetAll,
    ) -> None:
        self.lsn = 0
        self.valid_until_s = NEVER
        """So long what is here is no older than it may be."""
        self._ctx = ctx
        self._group = GroupClient(ctx, nursery, directory, database)
        self._max_stale_s = max_stale_s
        self._wait_s = min(MOST_WAIT_S, max_stale_s / WAIT_SHARE)
        self._made_old = made_old
        self._forget_all = forget_all
        self._epoch: int | None = None

    def is_fresh(self, now_s: float) -> bool:
        return now_s < self.valid_until_s

    async def run(self) -> None:
        """Until cancelled."""
        clock = self._ctx.clock
        while True:
            try:
                await self._ask()
            except RpcError as error:
                self._ctx.log.debug("log not followed", why=str(error))
                await clock.sleep(RETRY_S)

    async def _ask(self) -> None:
        asked_s = self._ctx.clock.monotonic_s()
        was_fresh = self.is_fresh(asked_s)
        known = [self.lsn, self._epoch] if self._epoch is not None else [None, 0]
        answer = await self._group.ask(
            words.CHANGES,
            *known,
            {"wait_ms": int(self._wait_s * 1000) if was_fresh else 0},
            timeout_s=self._wait_s + PATIENCE_S,
            anywhere=True,
        )
        first = self._epoch is None
        if answer["gone"]:
            self._ctx.reached(reach.FLUSHED)
            self._ctx.log.warning("all forgotten", why="the log does not go back so far")
            self._forget_all(answer["lsn"], was_cut=answer["lsn"] < self.lsn)
        elif answer["keys"] or first:
            if not (was_fresh or first):
                self._ctx.reached(reach.REPLAYED)
            self._made_old(answer["keys"], answer["lsn"])
        self.lsn, self._epoch = answer["lsn"], answer["epoch"]
        until_s = asked_s - answer["lag_ms"] / 1000 + self._max_stale_s
        self.valid_until_s = max(self.valid_until_s, until_s)
