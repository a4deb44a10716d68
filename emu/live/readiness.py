"""Which sockets can be read: one epoll of the network's own, in which every connection stays
registered, so that to wait for the next bytes is no system call.

trio registers a socket anew for every wait; under many small requests that, and the task that it
takes to ask, is a third of what they cost. Where there is no epoll (macOS) trio's own serves.
"""

from __future__ import annotations

import select
import socket
import sys
from typing import Any, Final

import trio
from trio import lowlevel

MOST_EVENTS: Final = 1024
"""Taken at a time; more are taken in the next turn."""


class Reader:
    """One socket's readiness. It is edge-triggered: `wait` returns once bytes (or an end) have come
    since the last time; whoever has not read all of them must not wait."""

    __slots__ = ("_fd", "_readiness", "_ready", "ended", "task")

    def __init__(self, readiness: Readiness, sock: socket.socket) -> None:
        self._readiness = readiness
        self._fd = sock.fileno()
        self._ready = False
        """Something came while nobody waited."""
        self.ended = False
        """An end or a reset is there: what is read never blocks again."""
        self.task: lowlevel.Task | None = None
        readiness.add(self._fd, self)

    async def wait(self) -> None:
        """May return although nothing can be read, as `wait_readable` may; once closed at once."""
        if self._ready or self.ended:
            self._ready = False
            await lowlevel.checkpoint_if_cancelled()
            return
        self.task = lowlevel.current_task()
        await lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: Any) -> lowlevel.Abort:
        self.task = None
        return lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        task, self.task = self.task, None
        if task is None:
            self._ready = True
        else:
            lowlevel.reschedule(task)

    def close(self) -> None:
        """Before the socket is closed: its number may be another's at once."""
        self._readiness.remove(self._fd)
        self.ended = True
        self.wake()


class Readiness:
    """All readers of one network. `run` it in the world's nursery."""

    available: Final = sys.platform == "linux"

    def __init__(self) -> None:
        self._epoll = select.epoll() if self.available else None
        self._readers: dict[int, Reader] = {}

    def add(self, fd: int, reader: Reader) -> None:
        assert self._epoll is not None
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self._readers[fd] = reader

    def remove(self, fd: int) -> None:
        assert self._epoll is not None
        if self._readers.pop(fd, None) is not None and not self._epoll.closed:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        """Wake whoever can read, until cancelled."""
        epoll, readers = self._epoll, self._readers
        if epoll is None:
            return
        ends = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        try:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                for fd, events in epoll.poll(0, MOST_EVENTS):
                    reader = readers[fd]
                    if events & ends:
                        reader.ended = True
                    reader.wake()
        finally:
            epoll.close()
