"""A cache's nodes as one client sees them: whose a key is, who does not answer, who is back.

A node that let a call fail is not asked again until it has answered a probe, and knows (or was made
to forget) what was made old meanwhile.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import trio

from nodes.base import RPC_PORT, Context
from nodes.wire.answers import current_call, deadline_in
from nodes.wire.client import Client
from nodes.wire.directory import Directory, TierView
from protocols import cache as words
from protocols.cache import MAX_KEYS, is_key, ring_of
from protocols.errors import RpcError
from protocols.hashing.slots import Ring

PROBE_S: Final = 0.5
PROBE_TIMEOUT_S: Final = 0.5
DELETE_TIMEOUT_S: Final = 0.25
SUSPECT_DELETE_TIMEOUT_S: Final = 0.1
AWAY: Final = frozenset({"unavailable", "disconnected", "timeout", "overloaded", "unknown_outcome"})
"""It may be gone: another is asked."""


class Missed(NamedTuple):
    """What a node may not have heard from us."""

    times: int = 0
    """How often; each counts."""
    lsn: int = 0
    """The newest commit whose deletions it missed: the log has them, too."""
    unlogged: bool = False
    """Whether it missed what no log tells: a plain set, or a deletion that names no commit."""


NOTHING: Final = Missed()


class CacheMember:
    """One node."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.client = client
        self.suspect = False
        self.in_doubt = False
        """Somebody looks whether it is there."""
        self.missed = NOTHING


class CacheMembers:
    """The nodes of one tier."""

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        directory: Directory,
        tier: str,
    ) -> None:
        self.tier = tier
        self._ctx = ctx
        self._nursery = nursery
        self._directory = directory
        self._members: dict[str, CacheMember] = {}
        self._ring: Ring | None = None

    async def start(self) -> None:
        await self._directory.follow(self.tier, self._follow)

    def _follow(self, view: TierView) -> None:
        """All of them have their keys, those too that are down: their keys are nobody else's."""
        names = [each.name for each in view.members]
        if self._ring is None or sorted(names) != list(self._ring.names):
            self._ring = ring_of(names)

    def owner(self, key: str) -> CacheMember | None:
        """None: the tier has no nodes."""
        if self._ring is None or not self._ring.names:
            return None
        name = self._ring.owner(key)
        member = self._members.get(name)
        if member is None:
            client = Client(self._ctx, self._nursery, name, RPC_PORT)
            member = self._members[name] = CacheMember(name, client)
        return member

    async def ask(self, key: str, method: str, *params: Any, timeout_s: float) -> Any:
        """The owner's answer. Raises RpcError: one of AWAY, if it cannot be had now."""
        member = self.owner(key)
        if member is None or member.suspect:
            raise RpcError("unavailable", f"nobody of {self.tier} has {key[:40]} now")
        clock = self._ctx.clock
        until_s = clock.monotonic_s() + timeout_s
        ours_s = deadline_in(clock, timeout_s)
        try:
            return await member.client.call(method, *params, timeout_s=timeout_s)
        except RpcError as error:
            if error.code in AWAY and ours_s < until_s and clock.monotonic_s() >= ours_s:
                self._doubt(member)  # our caller had no more time: that says little of the node
            elif error.code in AWAY:
                self._suspect(member, str(error))
            raise

    def notify(self, key: str, method: str, *params: Any) -> None:
        member = self.owner(key)
        if member is not None:
            member.client.notify(method, *params)

    async def delete(self, keys: list[str], lsn: int) -> bool:
        """Whether each key's owner has said that it is gone."""
        by_owner: dict[str, list[str]] = {}
        for key in keys:
            if not is_key(key):
                continue  # no cache has it
            member = self.owner(key)
            if member is None:
                return False
            by_owner.setdefault(member.name, []).append(key)
        questions = [
            (self._members[name], its_keys[place : place + MAX_KEYS])
            for name, its_keys in by_owner.items()
            for place in range(0, len(its_keys), MAX_KEYS)
        ]
        done: list[bool] = []
        async with trio.open_nursery() as nursery:
            for member, some in questions:
                nursery.start_soon(self._delete_at, member, some, lsn, done)
        return len(done) == len(questions)

    async def _delete_at(
        self, member: CacheMember, keys: list[str], lsn: int, done: list[bool]
    ) -> None:
        timeout_s = SUSPECT_DELETE_TIMEOUT_S if member.suspect else DELETE_TIMEOUT_S
        try:
            await member.client.call(words.DELETE, keys, lsn, timeout_s=timeout_s)
            done.append(True)
        except RpcError as error:
            if error.code in AWAY:
                self._has_missed(member, lsn, str(error))

    def set_elsewhere(self, key: str, why: str) -> None:
        """What another has been given instead of the key's owner: it must not show what it had."""
        member = self.owner(key)
        if member is not None:
            self._has_missed(member, 0, why)

    def _has_missed(self, member: CacheMember, lsn: int, why: str) -> None:
        missed = member.missed
        unlogged = missed.unlogged or not lsn
        member.missed = Missed(missed.times + 1, max(lsn, missed.lsn), unlogged)
        self._suspect(member, why)

    # --- who is away, and back -------------------------------------------------------------

    def _doubt(self, member: CacheMember) -> None:
        if not (member.in_doubt or member.suspect):
            member.in_doubt = True
            self._nursery.start_soon(self._look, member)

    async def _look(self, member: CacheMember) -> None:
        """Is it there, if one waits as long as for any other?"""
        current_call.set(None)
        try:
            await member.client.call(words.READY, 0, timeout_s=PROBE_TIMEOUT_S)
        except RpcError as error:
            if error.code in AWAY:
                self._suspect(member, str(error))
        finally:
            member.in_doubt = False

    def _suspect(self, member: CacheMember, why: str) -> None:
        if not member.suspect:
            member.suspect = True
            self._ctx.log.info("cache node away", server=member.name, why=why)
            self._nursery.start_soon(self._probe_until_back, member)

    async def _probe_until_back(self, member: CacheMember) -> None:
        current_call.set(None)
        clock, rng = self._ctx.clock, self._ctx.rng(f"cache-members/{self.tier}")
        while True:
            await clock.sleep(PROBE_S * (0.5 + rng.random()))
            if self._ring is None or member.name not in self._ring.names:
                self._members.pop(member.name, None)  # it is gone for good
                member.client.close()
                return
            try:
                if await self._is_ready(member):
                    break
            except RpcError:
                continue
        member.suspect = False
        self._ctx.log.info("cache node back", server=member.name)

    async def _is_ready(self, member: CacheMember) -> bool:
        """Whether it has nothing that we know to be old. Raises RpcError."""
        missed = member.missed
        told = await member.client.call(words.READY, missed.lsn, timeout_s=PROBE_TIMEOUT_S)
        if not told["ready"]:
            return False
        if missed.unlogged or (missed.times and not told["follows"]):
            await member.client.call(words.FLUSH, timeout_s=PROBE_TIMEOUT_S)
        if member.missed != missed:
            return False  # more was missed meanwhile
        member.missed = NOTHING
        return True
