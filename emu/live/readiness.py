"""Which sockets can be read: one epoll of the network's own, in which every connection stays
registered, so that to wait for the next bytes is no system call.

trio registers a socket anew for every wait; under many small requests that, and the task that it
takes to ask, is a third of what they cost. Where there is no epoll (macOS) trio's own serves.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import trio
from trio import lowlevel

from emu.live.timers import HOG_S

if TYPE_CHECKING:
    from emu.machine.life import Life
    from emu.machine.links import Link

MOST_EVENTS: Final = 64
"""Taken at a time, as what comes may be handled at once; more are taken in the next turn."""
ENDS: Final = (
    select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR if hasattr(select, "epoll") else 0
)
PUSH_BYTES: Final = 32768
"""malloc tidies up whenever 64 KB are freed at once: that would cost more than a second read."""


class Reader:
    """One socket's readiness. It is edge-triggered: `wait` returns once bytes (or an end) have come
    since the last time; whoever has not read all of them must not wait."""

    __slots__ = ("_fd", "_readiness", "_ready", "ended", "take", "task")

    def __init__(self, readiness: Readiness, sock: socket.socket) -> None:
        self._readiness = readiness
        self._fd = sock.fileno()
        self._ready = False
        """Something came while nobody waited."""
        self.ended = False
        """An end or a reset is there: what is read never blocks again."""
        self.task: lowlevel.Task | None = None
        self.take: Callable[[], bool] | None = None
        readiness.add(self._fd, self)

    async def wait(self) -> None:
        """May return although nothing can be read, as `wait_readable` may; once closed at once."""
        if self._ready or self.ended:
            self._ready = False
            await lowlevel.checkpoint_if_cancelled()
            return
        self.task = lowlevel.current_task()
        await lowlevel.wait_task_rescheduled(self._abort)

    async def wait_while(self, take: Callable[[], bool]) -> None:
        """Whenever bytes have come call `take()`, which reads all of them, without waking this
        task; return once that is False, or at an end."""
        if not self._ready:
            self.take = take
        await self.wait()

    def _abort(self, _: Any) -> lowlevel.Abort:
        self.task = self.take = None
        return lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        task, self.task, self.take = self.task, None, None
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
        self.afterwards: list[Callable[[], object]] | None = None
        """While what has come is handed out: what to do when all of it is. Answers leave then: to
        wake a client costs more than to answer it, and the first ones are awake for the rest."""

    def add(self, fd: int, reader: Reader) -> None:
        assert self._epoll is not None
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self._readers[fd] = reader

    def remove(self, fd: int) -> None:
        assert self._epoll is not None
        if self._readers.pop(fd, None) is not None and not self._epoll.closed:
            self._epoll.unregister(fd)

    async def run(self, held: Callable[[lowlevel.Task, float], object]) -> None:
        """Wake whoever can read, until cancelled; `held(task, seconds)` when what was done in the
        place of a task has taken long."""
        epoll = self._epoll
        if epoll is None:
            return
        try:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                left = MOST_EVENTS
                while left > 0 and (ready := epoll.poll(0, left)):
                    left -= len(ready)
                    self.afterwards = []
                    self._hand_out(ready, held)
                    afterwards, self.afterwards = self.afterwards, None
                    for call in afterwards:
                        call()
        finally:
            epoll.close()

    def _hand_out(
        self, ready: list[tuple[int, int]], held: Callable[[lowlevel.Task, float], object]
    ) -> None:
        readers, began_s = self._readers, perf_counter()
        for fd, events in ready:
            reader = readers.get(fd)
            if reader is None:
                continue  # closed by what another one's bytes have led to
            take, task = reader.take, reader.task
            if events & ENDS:
                reader.ended = True
            elif take is not None and task is not None:
                done = take()
                now_s = perf_counter()
                if now_s - began_s > HOG_S:
                    held(task, now_s - began_s)
                began_s = now_s
                if done:
                    continue
            reader.wake()


class Pushing:
    """A stream's `receive_each` while it waits: what arrives is given to `take` from the readiness'
    own task, in the context of the one that waits."""

    def __init__(
        self,
        sock: socket.socket,
        life: Life | None,
        shaped: Link | None,
        take: Callable[[bytes | bytearray], bool],
    ) -> None:
        """`shaped`: the link from an outside client, whose bytes go through a pipe unless it is
        plain."""
        self._receive = sock.recv
        self._life = life
        self._shaped = shaped
        self._run = lowlevel.current_task().context.run
        self._take = take
        self._over = False
        self._failure: Exception | None = None

    def take(self) -> bool:
        """Whether to wait on; else the waiting task looks for itself."""
        life, shaped = self._life, self._shaped
        if life is not None and (life.dead or life.paused):
            return False
        if shaped is not None and not shaped.plain:
            return False
        try:
            data = self._receive(PUSH_BYTES)
            if data and self._run(self._take, data):
                return len(data) < PUSH_BYTES
            self._over = bool(data)
        except BlockingIOError:
            return True
        except Exception as error:
            self._failure = error
        return False

    def over(self) -> bool:
        """Whether `take` wants no more. Raises what it, or the socket (OSError), has raised."""
        if self._failure is not None:
            raise self._failure
        return self._over
