"""Real syncs of the files of all nodes, off the loop, where the kernel does not do it (ring.py): by
one process for all (see sync_child.py).

The loop hands over descriptors and goes on. Only `sync_mode: real` comes here.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from itertools import count
from typing import Final

import trio

from emu.live import sync_child
from emu.live.sync_child import ANSWER, FORGET, KEPT, NAMES_TOO, ORDER
from emu.machine.disk import Done, Work

MAX_SENT: Final = 64
"""Orders that the process has at a time; further ones wait here."""


class Syncer:
    """Run `run` in the world's nursery. The process starts with the first work."""

    def __init__(self) -> None:
        self._todo: deque[tuple[Work, Done]] = deque()
        self._sent: dict[int, Done] = {}
        self._kept: set[int] = set()
        """Descriptors that the process has copies of; only ever asked whether one is in it."""
        self._numbers = count(1)
        self._socket: socket.socket | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._started = trio.Event()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._child.pid if self._child is not None else None

    def submit(self, work: Work, done: Done) -> None:
        """Sync the descriptor, in the order asked for; then call `done` on the loop."""
        assert not self._closed
        if self._socket is None:
            self._start()
        if self._todo or not self._send(work, done):
            if work.is_kept:
                work = Work(os.dup(work.fd))  # by the time it is sent, this one may be closed
            self._todo.append((work, done))

    def forget(self, fd: int) -> None:
        """A descriptor that is kept is about to be closed."""
        if fd in self._kept:
            self._kept.remove(fd)
            assert self._socket is not None
            with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                self._socket.send(ORDER.pack(0, FORGET, fd))

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            # a session of its own: Ctrl-C is for emu, which still has files to sync then
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", sync_child.__file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours
        self._started.set()

    def _send(self, work: Work, done: Done) -> bool:
        """False: the process has enough to do; the next answer, or its end, is to come."""
        assert self._socket is not None
        if len(self._sent) >= MAX_SENT:
            return False
        fd, number = work.fd, next(self._numbers) & 0xFFFFFFFF
        order = ORDER.pack(number, NAMES_TOO * work.names_too + KEPT * work.is_kept, fd)
        try:
            if fd in self._kept:
                self._socket.send(order)
            else:
                socket.send_fds(self._socket, [order], [fd])
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        if not work.is_kept:
            os.close(fd)
        else:
            self._kept.add(fd)
        self._sent[number] = done
        return True

    def _send_more(self) -> None:
        while self._todo and self._send(*self._todo[0]):
            self._todo.popleft()

    async def run(self) -> None:
        """Call what is done, until cancelled; then wait for the work that was handed over."""
        try:
            held = b""
            while True:
                if self._socket is None:
                    self._started, held = trio.Event(), b""
                    await self._started.wait()
                else:
                    await trio.lowlevel.wait_readable(self._socket)
                    held = self._take(held)
        finally:
            self.close()

    def _take(self, held: bytes) -> bytes:
        """Read answers, and make room for further orders; what is left of the bytes."""
        assert self._socket is not None
        try:
            data = self._socket.recv(ANSWER.size * MAX_SENT)
        except BlockingIOError:
            return held
        except ConnectionResetError:
            data = b""
        if not data:
            self._give_up()
            return b""
        data = held + data
        whole = len(data) - len(data) % ANSWER.size
        for number, error in ANSWER.iter_unpack(data[:whole]):
            self._sent.pop(number)(OSError(error, os.strerror(error)) if error else None)
        self._send_more()
        return data[whole:]

    def _give_up(self) -> None:
        """The process is gone: nobody knows what is durable. The next work starts another."""
        self._stop()
        failed = list(self._sent.values())
        for work, done in self._todo:
            os.close(work.fd)
            failed.append(done)
        self._sent.clear()
        self._todo.clear()
        for done in failed:
            done(OSError(errno.EIO, "the process that syncs files has gone"))

    def _stop(self) -> None:
        if self._socket is not None and self._child is not None:
            self._socket.close()
            self._child.wait()
        self._socket = self._child = None
        self._kept.clear()

    def close(self) -> None:
        """Wait for what was handed over, telling nobody, and end the process."""
        if self._closed:
            return
        self._closed = True
        self._sent = dict.fromkeys(self._sent, _tell_nobody)
        self._todo = deque((work, _tell_nobody) for work, _ in self._todo)
        held = b""
        while self._socket is not None and (self._sent or self._todo):
            self._socket.setblocking(True)
            self._send_more()
            held = self._take(held)
        self._stop()


def _tell_nobody(error: OSError | None) -> None:
    """At the end those that waited are gone."""
