"""Voting without data: a coordinator as the third voter of shards that have two replicas.

Each shard's witness is a member of that shard's group with a log of its own that stays empty; its
files live beside the coordinator's under the shard's name.
"""

from __future__ import annotations

import random
from typing import Any, Final

import trio

from nodes.base import Context, Disk, Syncing
from nodes.replica.driver import REPLICATE, ReplicaDriver
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
        self._receivers: dict[str, Any] = {}
        """Member of a shard → who takes its messages."""
        self._joined: dict[str, None] = {}

    def route(self, service: Service) -> None:
        """Messages of shards go to their witness, all others to whoever took them before."""
        own = service.notified[REPLICATE]

        def receive(call: Call, wire: Any) -> None:
            self._receivers.get(call.peer, own)(call, wire)

        service.notified[REPLICATE] = receive

    async def join(self, tier: str) -> None:
        """Become the witness of that shard, if it has two replicas and we are the one; once."""
        if tier in self._joined:
            return
        shard = await self._directory.follow(tier)
        coordinators = await self._directory.follow(self.ctx.tier)
        members = [each.name for each in shard.members if each.founder]
        if not members:
            return
        self._joined[tier] = None
        names = [each.name for each in coordinators.members if each.founder]
        founders = founders_with_witness(members, tier, names)
        if (self.ctx.name, WITNESS) not in founders:
            return
        group = GroupConfig(
            name=self.ctx.name, witness=True, detection_timeout_s=self._detection_timeout_s
        )
        driver = ReplicaDriver(
            _Compartment(self.ctx, tier), self._nursery, _Nothing(), group, founders
        )
        await driver.recover()
        inner = Service(self.ctx, charge_cpu=False)
        driver.add_methods(inner)
        for name in members:
            self._receivers[name] = inner.notified[REPLICATE]
        self._nursery.start_soon(driver.run)
        self.ctx.log.info("witness joined", shard=tier)


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

    def __init__(self, ctx: Context, name: str) -> None:
        self.name, self.tier, self.kind, self.region = ctx.name, ctx.tier, ctx.kind, ctx.region
        self.generation = ctx.generation
        self.network, self.clock, self.cpu = ctx.network, ctx.clock, ctx.cpu
        self.metrics, self.log, self.history = ctx.metrics, ctx.log, ctx.history
        self.reached = ctx.reached
        self.disk: Disk = _Files(ctx.disk, f"{name}.")
        self._ctx = ctx
        self._name = name

    def rng(self, name: str) -> random.Random:
        return self._ctx.rng(f"{self._name}/{name}")

    def rare(self, name: str) -> bool:
        return self._ctx.rare(name)


class _Files:
    """The files of a disk whose names begin alike."""

    def __init__(self, disk: Disk, prefix: str) -> None:
        self._disk = disk
        self._prefix = prefix

    def append(self, name: str, data: bytes) -> int:
        return self._disk.append(self._prefix + name, data)

    async def sync(self, name: str) -> None:
        await self._disk.sync(self._prefix + name)

    def begin_sync(self, name: str) -> Syncing:
        return self._disk.begin_sync(self._prefix + name)

    async def read(self, name: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        return await self._disk.read(self._prefix + name, offset, size_bytes)

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
