"""Voting without data: a coordinator as the third voter of shards that have two replicas.

Each shard's witness is a member of that shard's group with a log of its own that stays empty; its
files live beside the coordinator's under the shard's name, and when there has been a shard of that
name before, since when it is there: a witness remembers for one group, and not for the next.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import trio

from nodes.base import Context, Disk, Log, Syncing
from nodes.replica.driver import ReplicaDriver
from nodes.replica.hearing import REPLICATE, read_message
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from protocols.kv.coordinator import shard_number
from protocols.replication.messages import Members
from protocols.replication.pieces import Content
from protocols.replication.replica import VOTER, WITNESS, GroupConfig

SHARD_OF_TWO: Final = 2


def witness_of(tier: str, coordinators: list[str]) -> str:
    """Which coordinator is the witness of that shard: they take turns by its number."""
    return coordinators[(shard_number(tier) - 1) % len(coordinators)]


def founders_with_witness(members: list[str], tier: str, coordinators: list[str]) -> Members:
    """The founders of a shard: two replicas and a witness, or replicas alone."""
    founders = [(name, VOTER) for name in members]
    if len(members) == SHARD_OF_TWO and coordinators:
        founders.append((witness_of(tier, coordinators), WITNESS))
    return tuple(founders)


class Witnesses:
    """All shards that this coordinator is the witness of."""

    def __init__(
        self, ctx: Context, nursery: trio.Nursery, directory: Directory, detection_timeout_s: float
    ) -> None:
        self.ctx = ctx
        self._nursery = nursery
        self._directory = directory
        self._detection_timeout_s = detection_timeout_s
        self._joined: dict[str, _Witness] = {}
        """By the group's name, which is the shard's."""

    def route(self, service: Service, own: ReplicaDriver) -> None:
        """Messages of a shard go to its witness; all others to our own group's member, which
        refuses what is not of its group."""

        def receive(call: Call, wire: Any) -> None:
            message = read_message(call, wire)
            witness = self._joined.get(message.group)
            (own if witness is None else witness.driver).take(message)

        service.notified[REPLICATE] = receive

    async def join(self, tier: str, since: int) -> None:
        """Become the witness of the shard that is there `since` a version of the map (0: always),
        if it has two replicas and we are the one; once."""
        joined = self._joined.get(tier)
        if joined is not None and joined.since == since:
            return
        if joined is not None:
            await self._leave(tier, joined)
        shard = await self._directory.follow(tier)
        coordinators = await self._directory.follow(self.ctx.tier)
        members = [each.name for each in shard.members if each.founder]
        if not members:
            return
        names = [each.name for each in coordinators.members if each.founder]
        founders = founders_with_witness(members, tier, names)
        if (self.ctx.name, WITNESS) not in founders:
            return
        group = GroupConfig(
            name=self.ctx.name,
            group=tier,
            witness=True,
            detection_timeout_s=self._detection_timeout_s,
        )
        place = _Compartment(self.ctx, f"{tier}-since-{since}" if since else tier, tier)
        driver = ReplicaDriver(place, self._nursery, _Nothing(), group, founders)
        await driver.recover()
        witness = self._joined[tier] = _Witness(driver, since)
        self._nursery.start_soon(witness.run)
        self.ctx.log.info("witness joined", shard=tier)

    async def leave_all_but(self, tiers: Sequence[str]) -> None:
        """The other shards are gone, and whoever takes such a name again is another group."""
        for tier, witness in list(self._joined.items()):
            if tier not in tiers:
                await self._leave(tier, witness)

    async def _leave(self, tier: str, witness: _Witness) -> None:
        del self._joined[tier]
        await witness.end()
        self.ctx.log.info("witness left", shard=tier)


class _Witness:
    """The member of one shard's group, and what it remembers."""

    def __init__(self, driver: ReplicaDriver, since: int) -> None:
        self.driver, self.since = driver, since
        self._life = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self) -> None:
        with self._life:
            await self.driver.run()
        self._ended.set()

    async def end(self) -> None:
        """Stop, and forget everything."""
        self._life.cancel()
        await self._ended.wait()
        disk = self.driver.ctx.disk
        for name in disk.names():
            await disk.remove(name)


class _Nothing:
    """The state machine of a member that never has records."""

    def apply(self, payload: bytes, lsn: int) -> None:
        raise AssertionError("a witness has no records")

    def dump(self) -> bytes:
        return b""

    def restore(self, data: Content | None) -> None: ...

    def describe(self, payload: bytes) -> Any:
        return None


class _Compartment:
    """A part of this node's machine: the same, but for the names of files and random streams."""

    def __init__(self, ctx: Context, name: str, group: str) -> None:
        self.name, self.tier, self.kind, self.region = ctx.name, ctx.tier, ctx.kind, ctx.region
        self.generation, self.run = ctx.generation, ctx.run
        self.network, self.clock, self.cpu = ctx.network, ctx.clock, ctx.cpu
        self.metrics, self.history = ctx.metrics, ctx.history
        self.log: Log = _GroupsLog(ctx.log, group)
        self.reached, self.access = ctx.reached, ctx.access
        self.disk: Disk = _Files(ctx.disk, f"{name}.")
        self._ctx = ctx
        self._name = name

    def rng(self, name: str) -> random.Random:
        return self._ctx.rng(f"{self._name}/{name}")

    def rare(self, name: str) -> bool:
        return self._ctx.rare(name)


class _GroupsLog:
    """The node's, where each event says which group it is of: the node's tier is another."""

    def __init__(self, log: Log, group: str) -> None:
        self._log = log
        self._group = group

    def debug(self, event: str, /, **fields: Any) -> Any:
        return self._log.debug(event, **{"group": self._group, **fields})

    def info(self, event: str, /, **fields: Any) -> Any:
        return self._log.info(event, **{"group": self._group, **fields})

    def warning(self, event: str, /, **fields: Any) -> Any:
        return self._log.warning(event, **{"group": self._group, **fields})

    def error(self, event: str, /, **fields: Any) -> Any:
        return self._log.error(event, **{"group": self._group, **fields})


class _Files:
    """The files of a disk whose names begin alike."""

    def __init__(self, disk: Disk, prefix: str) -> None:
        self._disk = disk
        self._prefix = prefix

    def append(self, name: str, data: bytes) -> int:
        return self._disk.append(self._prefix + name, data)

    def check_room(self, size_bytes: int) -> None:
        self._disk.check_room(size_bytes)

    async def sync(self, name: str) -> None:
        await self._disk.sync(self._prefix + name)

    def begin_sync(self, name: str) -> Syncing:
        return self._disk.begin_sync(self._prefix + name)

    async def read(self, name: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        return await self._disk.read(self._prefix + name, offset, size_bytes)

    def peek(self, name: str, offset: int, size_bytes: int) -> bytes:
        return self._disk.peek(self._prefix + name, offset, size_bytes)

    async def rename(self, old: str, new: str) -> None:
        await self._disk.rename(self._prefix + old, self._prefix + new)

    async def truncate(self, name: str, size_bytes: int) -> None:
        await self._disk.truncate(self._prefix + name, size_bytes)

    async def remove(self, name: str) -> None:
        await self._disk.remove(self._prefix + name)

    def size_bytes(self, name: str) -> int:
        return self._disk.size_bytes(self._prefix + name)

    def names(self) -> list[str]:
        size = len(self._prefix)
        return [name[size:] for name in self._disk.names() if name.startswith(self._prefix)]

    def scratch(self) -> AbstractContextManager[str | None]:
        return self._disk.scratch()
