"""Forwarding between two live streams without waking a task for every piece.

One task of the world watches, with an epoll of its own, every connection that is being relayed; a
piece that can be read and written at once costs two system calls. Whatever cannot (a shaped link,
a full buffer, an end, an error) goes back to the task that asked.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import outcome
from trio import lowlevel

from emu.machine.life import Life
from nodes.base import Stream

EVENTS_PER_ROUND: Final = 32
ROUNDS_PER_TURN: Final = 4
"""So much is moved before other tasks have their turn: at most about a millisecond's work."""
PIECE_BYTES: Final = 16 * 1024
"""A read that fills this is bulk: the caller's own, larger reads move that faster."""

Count = Callable[[int], object]


class End(Protocol):
    """One end of a connection, as far as bytes go past it (streams.LiveStream)."""

    @property
    def socket(self) -> socket.socket: ...
    @property
    def life(self) -> Life | None: ...
    def as_broken(self, error: OSError) -> Exception: ...


class _Relay:
    """One direction of one connection."""

    __slots__ = ("count", "fd", "is_direct", "receive", "send", "source", "task")

    def __init__(self, source: End, sink: End, is_direct: Callable[[], bool], count: Count) -> None:
        self.source = source
        self.is_direct = is_direct
        self.count = count
        self.fd = source.socket.fileno()
        self.receive = source.socket.recv
        self.send = sink.socket.send
        self.task: lowlevel.Task | None = None


async def relay_by_pipe(source: Stream, sink: Stream, count: Count) -> bytes:
    """Where bytes must pass a link: what its window takes wakes no task. Answers as `run`."""
    left = b""

    def take(data: bytes | bytearray) -> bool:
        nonlocal left
        sent = sink.send_nowait(bytes(data)) if data else 0
        if sent:
            count(sent)
        left = bytes(data[sent:])
        return sent > 0 and not left

    await source.receive_each(take)
    return left


class Relays:
    """All relays of a world. `spawn` runs a task of the world's own."""

    available: Final = hasattr(select, "epoll")

    def __init__(self, spawn: Callable[[Callable[[], Awaitable[Any]]], None]) -> None:
        self._spawn = spawn
        self._epoll: select.epoll | None = None
        self._by_fd: dict[int, _Relay] = {}

    async def run(
        self, source: End, sink: End, is_direct: Callable[[], bool], count: Count
    ) -> bytes | None:
        """Forward until something needs its caller: returns bytes that were read and not sent,
        b"" at the end of the stream, None if the streams must be looked at again.

        `is_direct` is asked before each piece: whether it may go past all pipes still.

        Raises trio.BrokenResourceError when the source broke.
        """
        relay = _Relay(source, sink, is_direct, count)
        relay.task = lowlevel.current_task()
        self._watch(relay)

        def abort(_: Any) -> lowlevel.Abort:
            self._forget(relay)
            return lowlevel.Abort.SUCCEEDED

        left: bytes | None = await lowlevel.wait_task_rescheduled(abort)
        return left

    def _watch(self, relay: _Relay) -> None:
        if relay.task is None:
            return  # cancelled meanwhile
        if relay.source.socket.fileno() != relay.fd:  # closed while its node was paused
            self._wake(relay, outcome.Value(None))
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._spawn(self._move_forever)
        self._by_fd[relay.fd] = relay
        self._epoll.register(relay.fd, select.EPOLLIN | select.EPOLLRDHUP)

    def _forget(self, relay: _Relay) -> None:
        relay.task = None
        if self._by_fd.get(relay.fd) is relay:  # else closed, and its number given to another
            del self._by_fd[relay.fd]
            self._ignore(relay.fd)

    def closing(self, fd: int) -> None:
        """This socket is about to be closed: epoll would forget it without a word."""
        relay = self._by_fd.get(fd)
        if relay is not None:
            self._wake(relay, outcome.Value(None))

    def _ignore(self, fd: int) -> None:
        if self._epoll is not None:
            with suppress(OSError, ValueError):
                self._epoll.unregister(fd)

    def _wake(self, relay: _Relay, result: outcome.Outcome[bytes | None]) -> None:
        task = relay.task
        self._forget(relay)
        if task is not None:
            lowlevel.reschedule(task, result)

    async def _move_forever(self) -> None:
        epoll = self._epoll
        assert epoll is not None
        try:
            while True:
                await lowlevel.wait_readable(epoll.fileno())
                for _ in range(ROUNDS_PER_TURN):
                    ready = epoll.poll(0, EVENTS_PER_ROUND)
                    for fd, _ in ready:
                        relay = self._by_fd.get(fd)
                        if relay is None:
                            self._ignore(fd)
                        else:
                            self._move(relay)
                    if not ready:
                        break
        finally:
            self._epoll = None
            epoll.close()

    def _move(self, relay: _Relay) -> None:
        """The socket is readable: forward one piece, or hand over."""
        source = relay.source
        life = source.life
        if life is not None and life.paused:
            self._ignore(relay.fd)
            self._by_fd.pop(relay.fd, None)
            life.call(lambda: self._watch(relay))  # at resume, or never
            return
        if not relay.is_direct():
            self._wake(relay, outcome.Value(None))
            return
        try:
            data = relay.receive(PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._wake(relay, outcome.Error(source.as_broken(error)))
            return
        length = len(data)
        if not 0 < length < PIECE_BYTES:  # the end, or bulk
            self._wake(relay, outcome.Value(data))
            return
        try:
            sent = relay.send(data)
        except OSError:  # full, or broken: the caller's own send will tell
            sent = 0
        relay.count(sent)
        if sent < length:
            self._wake(relay, outcome.Value(data[sent:]))
