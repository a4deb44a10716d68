"""The disk of one machine: a page cache, one device whose bandwidth all files share,
and its fault switches.

How long things take, and who waits for what, lives here; where the bytes are, and what a power cut
leaves of them, is the world's (emu/live/files.py, emu/sim/files.py). Not modelled: a read cache
(every read pays the device), write-back without a sync, partial appends.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, Protocol

import trio

from emu.machine.life import Life
from emu.machine.parking import Parked
from emu.machine.syncing import Sync, Syncing, Waiter
from emu.machine.world import DiskSpec, Timers
from nodes.metrics import Metrics

FILE_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}")
SYNC_BUCKETS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)

Done = Callable[[OSError | None], None]


class Work(NamedTuple):
    """What is to be made really durable: whoever does it closes the descriptor, or keeps it."""

    fd: int
    names_too: bool = False
    """It is a folder whose names changed."""
    is_kept: bool = False
    """The descriptor stays its owner's, who says before it is closed."""


Submit = Callable[[Work, Done], None]
"""Do some work off the loop, then call `done` on it."""


@dataclass(slots=True)
class Pending:
    """A change that is in the page cache but not on the platter yet."""

    commit: Callable[[], None]
    """It, and what it covers, is durable now."""
    dirty_bytes: int = 0
    late_s: float = 0.0
    """How much longer than the model says this one takes."""
    prepare: Callable[[], Work] | None = None
    """Where a real file is: what a thread shall do to make it really durable."""


class Files(Protocol):
    """One machine's flat files as the page cache shows them. Nothing here waits.

    Unknown names raise FileNotFoundError.
    """

    used_bytes: int

    def append(self, name: str, data: bytes) -> int: ...
    def room_bytes(self) -> float:
        """What the device has left for all that share it; `math.inf` where there is none."""
        ...

    def read(self, name: str, offset: int, size_bytes: int) -> bytes: ...
    def size_bytes(self, name: str) -> int: ...
    def names(self) -> list[str]: ...
    def scratch(self) -> AbstractContextManager[str | None]: ...
    def begin_sync(self, name: str) -> Pending:
        """Covers what is in the file now; at most one per file at a time."""
        ...

    def rename(self, old: str, new: str) -> Pending: ...
    def truncate(self, name: str, size_bytes: int) -> Pending: ...
    def remove(self, name: str) -> Pending: ...
    def flip_bit(self, name: str, byte_offset: int, bit: int) -> None: ...
    def wipe(self) -> None: ...
    def cut(self) -> None:
        """Power is lost: keep only what a power cut leaves."""
        ...

    def close(self) -> None: ...


class MachineDisk:
    """`emu.machine.world.DiskControl`: the device, which outlives every generation.

    What a killed process had under way goes on, as in a kernel; a power cut ends it. A failed sync
    leaves what it covered unsynced.
    """

    def __init__(
        self, files: Files, timers: Timers, spec: DiskSpec, submit: Submit | None = None
    ) -> None:
        """`submit` serves `sync_mode` real; without it every sync is modelled."""
        self.slow_factor = 1.0
        self.fail_reads = False
        self.fail_writes = False
        self.full = False
        self.here = True
        self.on_change: Callable[[str], object] | None = None
        self.files = files
        self.spec = spec
        self.bandwidth_bytes_per_s = spec.bandwidth_bytes_per_s
        self.capacity_bytes = spec.capacity_bytes
        self.timers = timers
        self._submit = submit if spec.sync_mode == "real" else None
        self._free_at_s = 0.0
        self._syncs: dict[str, Sync] = {}
        self._cuts = 0

    @property
    def is_real(self) -> bool:
        """Whether syncs take the time of a real disk, and not a modelled one."""
        return self._submit is not None

    def flip_bit(self, name: str, byte_offset: int, bit: int) -> None:
        """Offsets beyond either end are moved into the file. Where there is none of that name, it
        is the last of those that are called `NAME-` and a number.

        Raises FileNotFoundError, and ValueError if the file is empty.
        """
        names = self.files.names()
        if name not in names:
            parts = [each for each in names if re.fullmatch(rf"{re.escape(name)}-\d+", each)]
            name = max(parts, default=name)
        size_bytes = self.files.size_bytes(name)
        if not size_bytes:
            raise ValueError(f"{name} is empty: there is no bit to flip")
        if byte_offset < 0:
            byte_offset += size_bytes
        self.files.flip_bit(name, min(max(byte_offset, 0), size_bytes - 1), bit & 7)

    def names(self) -> list[str]:
        return self.files.names()

    def read(self, name: str) -> bytes:
        return self.files.read(name, 0, self.files.size_bytes(name))

    def wipe(self) -> None:
        self.files.wipe()
        self._syncs.clear()

    def load(self, files: Mapping[str, bytes]) -> None:
        self.wipe()
        for name, data in files.items():
            _check_name(name)
            self.check_space(len(data))
            self.files.append(name, data)
            self.files.begin_sync(name).commit()

    def cut(self) -> None:
        """Power is lost: whatever was under way never ends."""
        self._cuts += 1
        self._syncs.clear()
        self._free_at_s = 0.0
        self.files.cut()

    def free_bytes(self) -> float:
        """What it could still take: as declared, and as a real device has it."""
        if self.full:
            return 0.0
        left_bytes = self.capacity_bytes - self.files.used_bytes
        return max(0.0, min(left_bytes, self.files.room_bytes()))

    def check_space(self, more_bytes: int) -> None:
        """Raises OSError ENOSPC."""
        if self.full or self.files.used_bytes + more_bytes > self.capacity_bytes:
            raise _error(errno.ENOSPC)

    def ready_s(self, size_bytes: int, latency_s: float) -> float:
        """When the device has moved that much, behind what it was asked for before.

        Latencies overlap; the bandwidth is shared.
        """
        slow = self.slow_factor
        start_s = max(self.timers.now_s(), self._free_at_s)
        self._free_at_s = start_s + size_bytes * slow / self.bandwidth_bytes_per_s
        return self._free_at_s + latency_s * slow

    def join_sync(self, name: str, waiter: Waiter) -> None:
        """Wake `waiter` when all that is in the file now is on the platter."""
        sync = self._syncs.get(name)
        if sync is not None:
            sync.followers.append(waiter)
            return
        sync = Sync(name)
        sync.waiters.append(waiter)
        self._start(sync)

    def _start(self, sync: Sync) -> None:
        pending = self.files.begin_sync(sync.name)
        self._syncs[sync.name] = sync
        self.write_out(sync.name, pending, partial(self._synced, sync))

    def _synced(self, sync: Sync, error: OSError | None) -> None:
        """The device goes on before anybody hears of it."""
        done, sync.waiters, sync.followers = sync.waiters, sync.followers, []
        if self._syncs.get(sync.name) is not sync:  # the file was removed or replaced
            done += sync.waiters
        elif sync.waiters:
            self._start(sync)
        else:
            del self._syncs[sync.name]
        for waiter in done:
            waiter.finish(error)

    def moved(self, old: str, new: str | None) -> None:
        """The file `old` is called `new` now (None: it is gone), with the sync it may have."""
        sync = self._syncs.pop(old, None)
        if new is not None:
            self._syncs.pop(new, None)
            if sync is not None:
                sync.name = new
                self._syncs[new] = sync

    def write_out(self, name: str, pending: Pending, done: Done) -> None:
        """Make a change of this file durable, in the modelled or the real time, then call
        `done`."""
        cuts = self._cuts
        tell, self.on_change = self.on_change, None
        if tell is not None:
            tell(name)

        def written(error: OSError | None = None) -> None:
            if cuts != self._cuts:
                return
            if error is None and self.fail_writes:
                error = _error(errno.EIO)
            if error is None:
                pending.commit()
            done(error)

        latency_s = self.spec.sync_latency_s
        if self._submit is None or pending.prepare is None:
            ready_s = self.ready_s(pending.dirty_bytes, latency_s) + pending.late_s
            self.timers.call_at(ready_s, written)
            return

        def really_written(error: OSError | None) -> None:
            if self.slow_factor <= 1.0:
                written(error)
            else:
                extra_s = latency_s * (self.slow_factor - 1.0)
                self.timers.call_at(self.timers.now_s() + extra_s, lambda: written(error))

        self._submit(pending.prepare(), really_written)


class NodeDisk:
    """`nodes.base.Disk`: what one generation sees of its machine's disk."""

    def __init__(self, disk: MachineDisk, life: Life, metrics: Metrics) -> None:
        self._disk = disk
        self._files = disk.files
        self._life = life
        self._appended_bytes = metrics.counter(
            "disk_written_bytes_total", "Bytes appended to files."
        )
        self._read_bytes = metrics.counter("disk_read_bytes_total", "Bytes read from files.")
        self._errors = metrics.counter("disk_errors_total", "Calls that the disk failed.")
        self._syncs_s = metrics.histogram(
            "disk_sync_seconds", "How long callers waited for a sync.", SYNC_BUCKETS_S
        )
        metrics.gauge("disk_used_bytes", "Size of all files.", lambda: self._files.used_bytes)
        metrics.gauge("disk_free_bytes", "Room for more of them.", disk.free_bytes)

    def append(self, name: str, data: bytes) -> int:
        """Write at the end of the page cache; all of `data` or nothing. The new size in bytes."""
        self._life.check()
        _check_name(name)
        disk = self._disk
        try:
            if disk.fail_writes:
                raise _error(errno.EIO)
            disk.check_space(len(data))
            size_bytes = self._files.append(name, data)
        except OSError:
            self._errors.value += 1
            raise
        self._appended_bytes.value += len(data)
        return size_bytes

    def check_room(self, size_bytes: int) -> None:
        """Raises OSError if so much could not be appended now."""
        self._life.check()
        try:
            if self._disk.fail_writes:
                raise _error(errno.EIO)
            self._disk.check_space(size_bytes)
            if self._files.room_bytes() < size_bytes:
                raise _error(errno.ENOSPC)
        except OSError:
            self._errors.value += 1
            raise

    async def sync(self, name: str) -> None:
        """Return when everything that was appended before this call is on the platter."""
        await self._enter(name)
        await self.begin_sync(name).wait()

    def begin_sync(self, name: str) -> Syncing:
        """Start what `sync` does, to be waited for later."""
        self._life.check()
        _check_name(name)
        self._files.size_bytes(name)
        waiter = Waiter()
        if self._disk.fail_writes:
            waiter.finish(_error(errno.EIO))
        else:
            self._disk.join_sync(name, waiter)
        return Syncing(self, waiter)

    def now_s(self) -> float:
        return self._disk.timers.now_s()

    @property
    def is_real(self) -> bool:
        """syncing.Disk."""
        return self._disk.is_real

    def call(self, callback: Callable[[], object]) -> None:
        """syncing.Disk."""
        self._life.call(callback)

    def synced(self, error: OSError | None, asked_s: float) -> None:
        """A sync has ended. Raises what it failed with, and Fenced."""
        self._life.check()
        if error is not None:
            self._errors.value += 1
            raise error
        self._syncs_s.observe(self.now_s() - asked_s)

    async def read(self, name: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        """What is there once the device has answered; short at the end of the file."""
        assert offset >= 0 and (size_bytes is None or size_bytes >= 0)
        disk = self._disk
        await self._enter(name)
        left_bytes = max(0, self._files.size_bytes(name) - offset)
        wanted_bytes = left_bytes if size_bytes is None else min(size_bytes, left_bytes)
        parked = Parked()
        ready_s = disk.ready_s(wanted_bytes, disk.spec.read_latency_s)
        timer = disk.timers.call_at(ready_s, parked.wake)
        try:
            await parked.wait()
        finally:
            timer.cancel()
        self._life.check()
        if disk.fail_reads:
            self._errors.value += 1
            raise _error(errno.EIO)
        self._read_bytes.value += wanted_bytes
        return self._files.read(name, offset, wanted_bytes)

    def peek(self, name: str, offset: int, size_bytes: int) -> bytes:
        """What is there, at once: the page cache has it, and the device is not asked."""
        self._life.check()
        _check_name(name)
        disk = self._disk
        if disk.fail_reads:
            self._errors.value += 1
            raise _error(errno.EIO)
        return self._files.read(name, offset, size_bytes)

    async def rename(self, old: str, new: str) -> None:
        """Visible at once, durable when it returns."""

        def begin(waiter: Waiter) -> None:
            pending = self._files.rename(old, new)
            if old != new:
                self._disk.moved(old, new)
            self._disk.write_out(new, pending, waiter.finish)

        _check_name(new)
        await self._durable(begin, old)

    async def truncate(self, name: str, size_bytes: int) -> None:
        """Cut the file at once, durably when it returns. It never grows: ValueError."""

        def begin(waiter: Waiter) -> None:
            if not 0 <= size_bytes <= self._files.size_bytes(name):
                raise ValueError(f"cannot truncate {name} to {size_bytes} bytes")
            self._disk.write_out(name, self._files.truncate(name, size_bytes), waiter.finish)

        await self._durable(begin, name)

    async def remove(self, name: str) -> None:
        """Gone at once, durably when it returns."""

        def begin(waiter: Waiter) -> None:
            pending = self._files.remove(name)
            self._disk.moved(name, None)
            self._disk.write_out(name, pending, waiter.finish)

        await self._durable(begin, name)

    def size_bytes(self, name: str) -> int:
        self._life.check()
        return self._files.size_bytes(name)

    def names(self) -> list[str]:
        self._life.check()
        return self._files.names()

    def scratch(self) -> AbstractContextManager[str | None]:
        """On the computer's disk, not the machine's: it takes no room and no time there. None where
        the machine syncs for real: a file system's syncs wait for what others wrote, too."""
        self._life.check()
        return nullcontext() if self._disk.is_real else self._files.scratch()

    async def _enter(self, name: str) -> None:
        """Refuse what cannot be done, after a checkpoint, so that a retry loop does not spin."""
        _check_name(name)
        if not self._life.dead and self._has(name):
            return
        await trio.lowlevel.checkpoint()
        self._life.check()
        self._files.size_bytes(name)

    def _has(self, name: str) -> bool:
        try:
            self._files.size_bytes(name)
        except FileNotFoundError:
            return False
        return True

    async def _durable(self, begin: Callable[[Waiter], None], name: str) -> None:
        """Start a change and wait until it is on the platter. It goes on if the wait ends first."""
        await self._enter(name)
        waiter = Waiter()
        try:
            if self._disk.fail_writes:
                await trio.lowlevel.checkpoint()
                self._life.check()
                raise _error(errno.EIO)
            begin(waiter)
            await waiter.wait()
            self._life.check()
            if waiter.error is not None:
                raise waiter.error
        except OSError:
            self._errors.value += 1
            raise


def _check_name(name: str) -> None:
    if FILE_NAME.fullmatch(name) is None:
        raise ValueError(f"not a file name: {name!r} (letters, digits, `.`, `-`, `_`)")


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
