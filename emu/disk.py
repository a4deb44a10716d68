"""A node's disk in both worlds: page cache, modelled sync, and the faults a disk can have.

What really holds the bytes is a `Files` backend (live: real files; simulated: memory that
forgets). One sync is
in flight per file; whoever asks meanwhile shares the next one.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from emu.clock import NodeClock
from emu.life import Life
from emu.world import DiskSpec

GOOD_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")


class Files(Protocol):
    """Where the bytes are. Synchronous; raises OSError as files do."""

    def append(self, name: str, data: bytes) -> int: ...
    def read(self, name: str, offset: int, size_bytes: int | None) -> bytes: ...
    def size_bytes(self, name: str) -> int: ...
    def names(self) -> list[str]: ...
    def mark_synced(self, name: str, size_bytes: int) -> None:
        """Everything up to here survives a power cut from now on."""
        ...

    def rename(self, old: str, new: str) -> None: ...
    def truncate(self, name: str, size_bytes: int) -> None: ...
    def remove(self, name: str) -> None: ...
    def overwrite(self, name: str, offset: int, data: bytes) -> None: ...
    def cut_power(self) -> None:
        """Lose or tear what was not synced."""
        ...


RealSync = Callable[[str], Awaitable[None]]


class MachineDisk:
    """The hardware: it outlives generations, and is what faults turn (emu.world.DiskControl)."""

    def __init__(self, files: Files, spec: DiskSpec) -> None:
        self.files = files
        self.spec = spec
        self.slow_factor = 1.0
        self.fail_reads = False
        self.fail_writes = False
        self.full = False

    def flip_bit(self, name: str, byte_offset: int, bit: int) -> None:
        size_bytes = self.files.size_bytes(name)
        at = byte_offset if byte_offset >= 0 else max(0, size_bytes + byte_offset)
        byte = self.files.read(name, at, 1)
        if byte:
            self.files.overwrite(name, at, bytes([byte[0] ^ (1 << (bit & 7))]))

    def wipe(self) -> None:
        for name in self.files.names():
            self.files.remove(name)

    def used_bytes(self) -> int:
        return sum(self.files.size_bytes(name) for name in self.files.names())


class NodeDisk:
    """What one generation sees of it (nodes.base.Disk)."""

    def __init__(
        self,
        machine: MachineDisk,
        clock: NodeClock,
        life: Life,
        real_sync: RealSync | None = None,
    ) -> None:
        self._machine = machine
        self._files = machine.files
        self._clock = clock
        self._life = life
        self._real_sync = real_sync
        self._used_bytes: int | None = None
        self._syncing: dict[str, _Sync] = {}
        self._last_synced: dict[str, int] = {}
        self.syncs_total = 0
        life.own(self)

    def end(self, *, crash: bool) -> None:
        if crash:
            self._files.cut_power()

    def append(self, name: str, data: bytes) -> int:
        self._may_write(name)
        if self._used_bytes is None:
            self._used_bytes = self._machine.used_bytes()
        if self._machine.full or self._used_bytes + len(data) > self._machine.spec.capacity_bytes:
            raise OSError(errno.ENOSPC, "no space left on this node's disk", name)
        self._used_bytes += len(data)
        return self._files.append(name, data)

    async def sync(self, name: str) -> None:
        """One sync in flight per file: it covers what was there at its start."""
        self._may_write(name)
        wanted = self._files.size_bytes(name)
        while True:
            running = self._syncing.get(name)
            if running is None:
                await self._sync_now(name)
                return
            await running.done.wait()
            self._life.check()
            if running.failed is None and running.covers >= wanted:
                return

    async def _sync_now(self, name: str) -> None:
        size_bytes = self._files.size_bytes(name)
        this = self._syncing[name] = _Sync(size_bytes)
        spec, slow = self._machine.spec, self._machine.slow_factor
        try:
            if self._real_sync is not None and slow == 1.0:
                await self._real_sync(name)
            else:
                fresh = max(0, size_bytes - self._last_synced.get(name, 0))
                await self._clock.sleep(
                    slow * (spec.sync_latency_s + fresh / spec.bandwidth_bytes_per_s)
                )
            self._may_write(name)
            self._files.mark_synced(name, size_bytes)
            self._last_synced[name] = size_bytes
            self.syncs_total += 1
        except BaseException as error:
            this.failed = error
            raise
        finally:
            del self._syncing[name]
            this.done.set()

    async def read(self, name: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        self._check(name)
        spec = self._machine.spec
        data = self._files.read(name, offset, size_bytes)
        await self._clock.sleep(
            self._machine.slow_factor
            * (spec.read_latency_s + len(data) / spec.bandwidth_bytes_per_s)
        )
        if self._machine.fail_reads:
            raise OSError(errno.EIO, "this node's disk cannot read", name)
        return data

    async def rename(self, old: str, new: str) -> None:
        self._check(old)
        self._may_write(new)
        await self._latency()
        self._files.rename(old, new)
        self._last_synced.pop(old, None)
        self._last_synced.pop(new, None)
        self._used_bytes = None

    async def truncate(self, name: str, size_bytes: int) -> None:
        self._may_write(name)
        await self._latency()
        self._files.truncate(name, size_bytes)
        self._last_synced.pop(name, None)
        self._used_bytes = None

    async def remove(self, name: str) -> None:
        self._may_write(name)
        await self._latency()
        self._files.remove(name)
        self._last_synced.pop(name, None)
        self._used_bytes = None

    def size_bytes(self, name: str) -> int:
        self._check(name)
        return self._files.size_bytes(name)

    def names(self) -> list[str]:
        self._life.check()
        return self._files.names()

    async def _latency(self) -> None:
        await self._clock.sleep(self._machine.slow_factor * self._machine.spec.sync_latency_s)

    def _may_write(self, name: str) -> None:
        self._check(name)
        if self._machine.fail_writes:
            raise OSError(errno.EIO, "this node's disk cannot write", name)

    def _check(self, name: str) -> None:
        self._life.check()
        if not GOOD_NAME.match(name):
            raise ValueError(f"not a file name of an emulated disk: {name!r}")


class _Sync:
    __slots__ = ("covers", "done", "failed")

    def __init__(self, covers: int) -> None:
        self.covers = covers
        self.done = trio.Event()
        self.failed: BaseException | None = None
