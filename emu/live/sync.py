"""One thread that syncs the files of all nodes, off the loop (FACTS: faster than one per log).

The loop hands over work and goes on; an eventfd tells it what has ended.
Only `sync_mode: real` comes here.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from queue import SimpleQueue

import trio

from emu.disk import Done, Work


class SyncThread:
    """Run `run` in the world's nursery. The thread starts with the first work."""

    def __init__(self) -> None:
        self._todo: SimpleQueue[tuple[Work, Done] | None] = SimpleQueue()
        self._ended: deque[tuple[Done, OSError | None]] = deque()
        self._thread: threading.Thread | None = None
        self._read_fd, self._write_fd = _wake_pair()
        self._closed = False

    def submit(self, work: Work, done: Done) -> None:
        """Do `work` in the thread, in the order asked for; then call `done` on the loop."""
        assert not self._closed
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="emu-sync", daemon=True)
            self._thread.start()
        self._todo.put((work, done))

    def _serve(self) -> None:
        while (item := self._todo.get()) is not None:
            work, done = item
            error: OSError | None = None
            try:
                work()
            except OSError as problem:
                error = problem
            self._ended.append((done, error))
            with suppress(BlockingIOError):  # full: the loop will wake anyway
                os.write(self._write_fd, b"\1\0\0\0\0\0\0\0")

    async def run(self) -> None:
        """Call what is done, until cancelled; then wait for the work that was handed over."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._read_fd)
                with suppress(BlockingIOError):
                    os.read(self._read_fd, 4096)
                while self._ended:
                    done, error = self._ended.popleft()
                    done(error)
        finally:
            self.close()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join()
        for fd in dict.fromkeys((self._read_fd, self._write_fd)):
            os.close(fd)


def _wake_pair() -> tuple[int, int]:
    """(to read, to write); one eventfd where there is one."""
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return fd, fd
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    return read_fd, write_fd
