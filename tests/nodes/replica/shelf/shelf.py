"""A shelf of lines: the smallest state that lies in files of its own (state_machine.KeepsFiles)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgpack
import trio

from nodes.base import RPC_PORT, Context, Disk
from nodes.kind import Kind, StateCheck
from nodes.replica import kind as replicated
from nodes.replica.driver import ReplicaDriver
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from protocols.errors import RpcError
from protocols.replication.messages import VOTER
from protocols.replication.pieces import Content
from protocols.replication.replica import GroupConfig
from protocols.replication.snapshot_file import StateFile
from protocols.stepping import Steps

FILE_BYTES = 1000


@dataclass(frozen=True, slots=True)
class ShelfConfig:
    snapshot_every_bytes: int = 3000
    retained_bytes: int = 2000


class Lines:
    """What was added since the last time that all was cleared (by an empty line)."""

    file_prefix = "lines-"

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.files: list[StateFile] = []
        self.count = 0
        self._is_open = False
        """Whether the last file is our own, and not full."""

    def apply(self, payload: bytes, lsn: int) -> None:
        if not payload:
            self.files, self.count, self._is_open = [], 0, False
            return
        if not self._is_open:
            taken = [name for name in self._disk.names() if name.startswith(self.file_prefix)]
            number = next(n for n in range(1 << 30) if f"{self.file_prefix}{n}" not in taken)
            self.files.append(StateFile(f"{self.file_prefix}{number}", 0))
        name = self.files[-1].name
        self.files[-1] = StateFile(name, self._disk.append(name, payload + b"\n"))
        self._is_open = self.files[-1].size_bytes < FILE_BYTES
        self.count += 1

    def dump(self) -> bytes:
        return msgpack.packb(self.count)

    def dumped_files(self) -> Sequence[StateFile]:
        return list(self.files)

    def files_in_use(self) -> Sequence[str]:
        return [each.name for each in self.files]

    def restore(self, data: Content | None) -> None:
        assert data is None, "a state in files is not restored without them"
        self._become(0, [])

    def restore_from_files(
        self, manifest: Content, files: Sequence[StateFile]
    ) -> Steps[Callable[[], None]]:
        yield
        return partial(self._become, msgpack.unpackb(bytes(manifest)), list(files))

    def _become(self, count: int, files: list[StateFile]) -> None:
        self.files, self.count, self._is_open = files, count, False

    def describe(self, payload: bytes) -> Any:
        return payload.decode()


class ShelfNode:
    def __init__(self, ctx: Context, config: ShelfConfig) -> None:
        self.ctx, self.config, self.lines = ctx, config, Lines(ctx.disk)

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        ctx, config = self.ctx, self.config
        async with trio.open_nursery() as nursery:
            view = await Directory(ctx, nursery).follow(ctx.tier)
            founders = tuple((each.name, VOTER) for each in view.members if each.founder)
            group = GroupConfig(ctx.name, ctx.tier, retained_bytes=config.retained_bytes)
            every_bytes = config.snapshot_every_bytes
            self.driver = ReplicaDriver(
                ctx, nursery, self.lines, group, founders, snapshot_every_bytes=every_bytes
            )
            await self.driver.recover()
            service = Service(ctx)
            self.driver.add_methods(service)
            service.add("add", self._add)
            admin = Admin(ctx, service=service, facts=self.driver.facts)
            admin.add("lines", self._digest)
            service.add("lines", self._digest)
            nursery.start_soon(service.serve, await ctx.network.listen(RPC_PORT))
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(self.driver.run)
            task_status.started()

    async def _add(self, call: Call, line: str) -> int:
        self.driver.check_can_write()
        payload = line.encode()
        self.lines.apply(payload, self.driver.next_lsn)
        try:
            lsn = self.driver.propose(payload)
        except RpcError:
            self.driver.rebuild()
            raise
        await self.driver.acknowledged(lsn)
        return lsn

    async def _digest(self, call: Call) -> dict[str, Any]:
        """How many lines there are, and what they say."""
        checksum, files, count = 0, list(self.lines.files), self.lines.count
        for name, size_bytes in files:
            data = await self.ctx.disk.read(name, 0, size_bytes)
            assert len(data) == size_bytes, f"{name} lacks what belongs to the state"
            checksum = zlib.crc32(data, checksum)
        return {"lines": count, "checksum": checksum}


SHELF = Kind(
    ShelfConfig,
    ShelfNode,
    peers=True,
    stores=True,
    roles=replicated.ROLES,
    leader=replicated.LEADER,
    facts=replicated.FACTS,
    marks=replicated.MARKS,
    cautions=replicated.CAUTIONS,
    checks=(StateCheck("replicas", "lines"),),
)
