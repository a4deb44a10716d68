"""Real syncs by the kernel itself (io_uring): nobody is woken between the loop and the disk.

Where the kernel, or who guards it, does not let us, the process of sync.py does the same.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
import sys
from collections import deque
from contextlib import suppress
from typing import Any, Final

import trio

from emu.machine.disk import Done, Work

ENTRIES: Final = 64
"""Syncs that the kernel has at a time; further ones wait here."""
SETUP, ENTER, REGISTER = 425, 426, 427
"""System calls."""
ONE_MAPPING: Final = 1
"""A feature: both queues are in one mapping (Linux 5.4)."""
ENTRIES_AT: Final = 0x10000000
"""Where what is submitted is mapped."""
EVENTFD: Final = 4
WAIT: Final = 1
FSYNC: Final = 3
DATA_ONLY: Final = 1
SUBMITTED: Final = struct.Struct("=BBHiQQIIQ")
"""Operation, flags, priority, descriptor, offset, address, length, kind of sync, number."""
SUBMITTED_BYTES: Final = 64
COMPLETED: Final = struct.Struct("=QiI")
"""Number, result (an errno is negative), flags."""


class _Queue(ctypes.Structure):
    """Where the parts of a queue are in its mapping (`io_sqring_offsets`, `io_cqring_offsets`)."""

    _fields_ = [
        (name, ctypes.c_uint32)
        for name in ("head", "tail", "mask", "entries", "fifth", "sixth", "seventh", "reserved")
    ] + [("address", ctypes.c_uint64)]


class _Params(ctypes.Structure):
    """`io_uring_params`."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("submissions", "completions", "flags")),
        *((name, ctypes.c_uint32) for name in ("cpu", "idle", "features", "workers")),
        ("reserved", ctypes.c_uint32 * 3),
        ("sq", _Queue),
        ("cq", _Queue),
    ]


class Ring:
    """The queues that this process and the kernel share."""

    def __init__(self) -> None:
        """Raises OSError where there is none to be had."""
        if sys.platform != "linux" or platform.machine() != "x86_64":
            raise OSError(errno.ENOSYS, "syncs by the kernel are for Linux on x86-64")
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        params = _Params()
        self._fd = self._checked(SETUP, ENTRIES, ctypes.byref(params))
        self.ready_fd = -1
        """Can be read when something has been completed."""
        self._mapped: list[mmap.mmap] = []
        try:
            self._map(params)
            self.ready_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            told = (ctypes.c_int * 1)(self.ready_fd)
            self._checked(REGISTER, self._fd, EVENTFD, told, 1)
            self._try()
        except OSError:
            self.close()
            raise

    def _checked(self, number: int, *arguments: Any) -> int:
        result = int(self._call(number, *arguments))
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def _map(self, params: _Params) -> None:
        if not params.features & ONE_MAPPING:
            raise OSError(errno.ENOSYS, "this kernel is too old")
        sq, cq = params.sq, params.cq
        array, completed = sq.seventh, cq.sixth
        size_bytes = max(
            array + 4 * params.submissions, completed + COMPLETED.size * params.completions
        )
        self._queues = self._mapping(size_bytes, 0)
        self._entries = self._mapping(SUBMITTED_BYTES * params.submissions, ENTRIES_AT)
        self._words = memoryview(self._queues).cast("I")  # each is read and written whole
        for place in range(params.submissions):
            self._words[array // 4 + place] = place
        self._tail_at, self._mask = sq.tail // 4, params.submissions - 1
        self._done_head_at, self._done_tail_at = cq.head // 4, cq.tail // 4
        self._done_at, self._done_mask = completed, params.completions - 1

    def _mapping(self, size_bytes: int, offset: int) -> mmap.mmap:
        mapped = mmap.mmap(self._fd, size_bytes, flags=mmap.MAP_SHARED, offset=offset)
        self._mapped.append(mapped)
        return mapped

    def _try(self) -> None:
        """A sync of no file is refused by whoever knows what a sync is."""
        self.submit(-1, 0, 0)
        self.wait()
        if self.completed() != [(0, -errno.EBADF)]:
            raise OSError(errno.ENOSYS, "this kernel does not sync so")

    def submit(self, fd: int, kind: int, number: int) -> None:
        """The descriptor must be there until that is completed. Raises OSError."""
        tail = self._words[self._tail_at]
        at = SUBMITTED_BYTES * (tail & self._mask)
        SUBMITTED.pack_into(self._entries, at, FSYNC, 0, 0, fd, 0, 0, 0, kind, number)
        self._words[self._tail_at] = (tail + 1) & 0xFFFFFFFF
        try:
            self._checked(ENTER, self._fd, 1, 0, 0, None, 0)
        except OSError:
            self._words[self._tail_at] = tail
            raise

    def wait(self) -> None:
        """Until something is completed."""
        while True:
            try:
                self._checked(ENTER, self._fd, 0, 1, WAIT, None, 0)
                return
            except InterruptedError:
                continue

    def completed(self) -> list[tuple[int, int]]:
        """(number, result) of what was since the last call."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.ready_fd)
        words, found = self._words, []
        head, tail = words[self._done_head_at], words[self._done_tail_at]
        while head != tail:
            at = self._done_at + COMPLETED.size * (head & self._done_mask)
            number, result, _ = COMPLETED.unpack_from(self._queues, at)
            found.append((number, result))
            head = (head + 1) & 0xFFFFFFFF
        words[self._done_head_at] = head
        return found

    def close(self) -> None:
        """Nothing may be under way."""
        if self._mapped:
            self._words.release()
        for each in self._mapped:
            each.close()
        if self.ready_fd >= 0:
            os.close(self.ready_fd)
        os.close(self._fd)


class RingSyncer:
    """sync.Syncer, with the kernel in the place of a process."""

    def __init__(self) -> None:
        """Raises OSError where that is not to be had."""
        self._ring = Ring()
        self._todo: deque[tuple[Work, Done]] = deque()
        """With descriptors that are ours."""
        self._sent: dict[int, tuple[int, Done]] = {}
        """Number → descriptor, and whom to tell."""
        self._number = 0
        self._closed = False

    def submit(self, work: Work, done: Done) -> None:
        """Begin to sync the descriptor; then call `done` on the loop."""
        assert not self._closed
        if work.is_kept:
            work = work._replace(fd=os.dup(work.fd))  # its owner may close it meanwhile
        self._todo.append((work, done))
        self._send_more()

    def forget(self, fd: int) -> None:
        """What is under way has a descriptor of its own."""

    def _send_more(self) -> None:
        while self._todo and len(self._sent) < ENTRIES:
            work, done = self._todo.popleft()
            self._number += 1
            try:
                self._ring.submit(work.fd, 0 if work.names_too else DATA_ONLY, self._number)
            except OSError as error:
                if self._sent:  # there may be room when those are done
                    self._todo.appendleft((work, done))
                    return
                os.close(work.fd)
                done(error)
            else:
                self._sent[self._number] = work.fd, done

    async def run(self) -> None:
        """Call what is done, until cancelled; then wait for the work that was handed over."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._ring.ready_fd)
                self._take()
        finally:
            self.close()

    def _take(self) -> None:
        for number, result in self._ring.completed():
            fd, done = self._sent.pop(number)
            os.close(fd)
            done(OSError(-result, os.strerror(-result)) if result < 0 else None)
        self._send_more()

    def close(self) -> None:
        """Wait for what was handed over, telling nobody."""
        if self._closed:
            return
        self._closed = True
        self._sent = {number: (fd, _tell_nobody) for number, (fd, _) in self._sent.items()}
        self._todo = deque((work, _tell_nobody) for work, _ in self._todo)
        while self._sent or self._todo:
            if self._sent:
                self._ring.wait()
            self._take()
        self._ring.close()


def _tell_nobody(error: OSError | None) -> None:
    """At the end those that waited are gone."""
