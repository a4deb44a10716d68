"""A cache's nodes as one client sees them: whose a key is, who does not answer, who is back.

A node that let a call fail is not asked again until it has answered a probe, and knows (or was made
to forget) what was made old meanwhile.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from nodes.base import RPC_PORT, Context
from nodes.wire.answers import current_call
from nodes.wire.client import Client
from nodes.wire.directory import Directory, TierView
from protocols import cache as words
from protocols.cache import ring_of
from protocols.errors import RpcError
from protocols.hashing.slots import Ring

PROBE_S: Final = 0.5
PROBE_TIMEOUT_S: Final = 0.5
DELETE_TIMEOUT_S: Final = 0.25
SUSPECT_DELETE_TIMEOUT_S: Final = 0.1
AWAY: Final = frozenset({"unavailable", "disconnected", "timeout", "overloaded", "unknown_outcome"})
"""It may be gone: another is asked."""


class CacheMember:
    """One node."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.client = client
        self.suspect = False
        self.missed_lsn: int | None = None
        """The newest commit whose deletions it may not have heard from us."""


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
        try:
            return await member.client.call(method, *params, timeout_s=timeout_s)
        except RpcError as error:
            if error.code in AWAY:
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
            member = self.owner(key)
            if member is None:
                return False
            by_owner.setdefault(member.name, []).append(key)
        done: list[bool] = []
        async with trio.open_nursery() as nursery:
            for name, its_keys in by_owner.items():
                nursery.start_soon(self._delete_at, self._members[name], its_keys, lsn, done)
        return len(done) == len(by_owner)

    async def _delete_at(
        self, member: CacheMember, keys: list[str], lsn: int, done: list[bool]
    ) -> None:
        timeout_s = SUSPECT_DELETE_TIMEOUT_S if member.suspect else DELETE_TIMEOUT_S
        try:
            await member.client.call(words.DELETE, keys, lsn, timeout_s=timeout_s)
            done.append(True)
        except RpcError as error:
            if error.code in AWAY:  # what it refuses it could not have, and it is well
                member.missed_lsn = max(lsn, member.missed_lsn or 0)
                self._suspect(member, str(error))

    # --- who is away, and back -------------------------------------------------------------

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
        missed_lsn = member.missed_lsn
        told = await member.client.call(words.READY, missed_lsn or 0, timeout_s=PROBE_TIMEOUT_S)
        if not told["ready"]:
            return False
        if missed_lsn is not None and not (told["follows"] and missed_lsn):
            await member.client.call(words.FLUSH, timeout_s=PROBE_TIMEOUT_S)
        if member.missed_lsn != missed_lsn:
            return False  # another deletion was missed meanwhile
        member.missed_lsn = None
        return True
