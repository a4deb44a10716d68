"""fdatasync off the loop: one thread for all logs of the world, woken by a queue, answering by an
eventfd.

More threads were slower (the GIL is the contest), and never inline: one sync would stall every
link's timing.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from contextlib import suppress

import trio


class _Request:
    __slots__ = ("done", "error", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.done = trio.Event()
        self.error: OSError | None = None


class SyncThread:
    """`await sync(fd)` returns when fdatasync has. Run `run` in the world's nursery."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._finished: deque[_Request] = deque()
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._thread = threading.Thread(target=self._work, name="emu-sync", daemon=True)
        self._thread.start()

    async def sync(self, fd: int) -> None:
        """Raises OSError as fdatasync does."""
        request = _Request(os.dup(fd))
        self._asked.put(request)
        await request.done.wait()
        if request.error is not None:
            raise request.error

    async def run(self) -> None:
        """Hand out what the thread has finished, until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._read_end)
                with suppress(BlockingIOError):
                    os.read(self._read_end, 4096)
                while self._finished:
                    self._finished.popleft().done.set()
        finally:
            self._asked.put(None)
            self._thread.join()
            os.close(self._read_end)
            os.close(self._write_end)

    def _work(self) -> None:
        datasync = getattr(os, "fdatasync", os.fsync)
        while (request := self._asked.get()) is not None:
            try:
                datasync(request.fd)
            except OSError as error:
                request.error = error
            finally:
                os.close(request.fd)
            self._finished.append(request)
            with suppress(BlockingIOError):
                os.write(self._write_end, b"x")
