"""A simulated connection: two ends in memory, joined by the same pipes as live ones.

What a kernel would do at either end happens here; when and whether bytes cross is the
pipes' and links' business.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any, Final

import trio
from trio import lowlevel
from trio.lowlevel import checkpoint, checkpoint_if_cancelled

from emu.machine.life import Life
from emu.machine.links import Link
from emu.machine.pipe import Pipe
from emu.sim.network import SimNetwork
from nodes.base import Peer, Stream

BUFFER_BYTES: Final = 256 * 1024
"""What an end takes in before its node reads, as live sockets do."""
RECEIVE_BYTES: Final = 65536


class SimStream(Stream):
    """One end of a connection; the other end's pipe delivers into it."""

    def __init__(self, network: SimNetwork, life: Life | None, local: str, peer: Peer) -> None:
        self.peer = peer
        self.broken = False
        self.closed = False
        self._network = network
        self._life = life
        self._local = local
        self._every = network.checkpoint_every
        self._calls = 0
        self._chunks: deque[bytes] = deque()
        self._on_their_way: deque[bytes] = deque()
        """What was put and has not arrived, where somebody looks at the order; of the first so many
        bytes have."""
        self._arrived_bytes = 0
        self._held_bytes = 0
        self._starved = False
        self._ended = False
        self._eof_sent = False
        self._sending = self._receiving = False
        self._reader: lowlevel.Task | None = None
        self._split_ratio = network.split_ratio
        self._split = network.split_random(peer.name, local)
        if life is not None:
            life.own(self)

    def join(self, far: SimStream, port: int, number: int) -> None:
        """Lay the pipe to the other end; `port` is the listener's, `number` the connection's."""
        network = self._network
        self._far = far
        self._route = f"{far._local}>{self._local}:{port}/{number}".encode()
        out = network.links.link(self._local, far._local)
        back = network.links.link(far._local, self._local)
        self._pipe = self._lay_pipe(out, back, network.links.user_timeout_s)

    def _lay_pipe(self, out: Link, back: Link, user_timeout_s: float) -> Pipe:
        network = self._network
        return Pipe(
            network.timers, out, back, self, self._far,
            user_timeout_s=user_timeout_s, least_latency_s=network.least_latency_s,
        )  # fmt: skip

    # --- the receiving end of the far end's pipe (emu.machine.pipe.Sink) --------------------------

    def deliver(self, data: bytes | memoryview) -> int:
        size = len(data)
        room = BUFFER_BYTES - self._held_bytes
        if self.closed:
            self._pipe.reset_after()
            self._far._on_their_way.clear()
            return size
        if size > room:
            self._starved = True
            if room <= 0:
                return 0
            data, size = data[:room], room
        trace = self._network.trace
        trace.message(self._network.timers.now, self._route, data)
        if trace.rules is not None and not self._far._let_arrive(data, size):
            trace.rules.overtaken(self._route)
        self._chunks.append(data if type(data) is bytes else bytes(data))
        self._held_bytes += size
        reader = self._reader
        if reader is not None:
            self._reader = None
            lowlevel.reschedule(reader)
        return size

    def deliver_end(self) -> None:
        self._note("end")
        self._ended = True
        self._wake()

    def deliver_reset(self) -> None:
        self._note("reset")
        self.broken = True
        self._pipe.break_now()
        self._wake()

    def lose(self) -> None:
        self.deliver_reset()
        self.reset_far_end()

    def _note(self, kind: str) -> None:
        network = self._network
        network.trace.note(network.timers.now, kind, self.peer.name, self._local)

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            lowlevel.reschedule(reader)

    # --- receiving -------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if max_bytes is None:
            max_bytes = RECEIVE_BYTES
        elif type(max_bytes) is not int:
            raise TypeError("max_bytes must be an integer")
        elif max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            self._check_open()
            if self._chunks or self._ended or self.broken:
                await self._fair()
                self._check_open()
            while not self._chunks:
                if self._ended:
                    return b""
                if self.broken:
                    raise trio.BrokenResourceError("the connection was reset")
                self._reader = lowlevel.current_task()
                await lowlevel.wait_task_rescheduled(self._abort_reading)
                self._check_open()
            return self._take(max_bytes)
        finally:
            self._receiving = False

    def has_arrived(self) -> bool:
        return self.broken or self.closed or self._ended or bool(self._chunks)

    def _abort_reading(self, _: Any) -> lowlevel.Abort:
        self._reader = None
        return lowlevel.Abort.SUCCEEDED

    def _take(self, max_bytes: int) -> bytes:
        """All that has arrived, up to `max_bytes`; now and then less, as a network may cut it."""
        chunks = self._chunks
        data = chunks.popleft()
        while chunks and len(data) + len(chunks[0]) <= max_bytes:
            data += chunks.popleft()
        size = len(data)
        if size > max_bytes:
            size = max_bytes
        if self._split_ratio and size > 1 and self._split() < self._split_ratio:
            size = 1 + int(self._split() * size)
        if size < len(data):
            chunks.appendleft(data[size:])
            data = data[:size]
        self._held_bytes -= size
        if self._starved and self._held_bytes <= BUFFER_BYTES // 2:
            self._starved = False
            self._far._pipe.unclog()
        return data

    # --- sending ---------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await self._fair()
            self._check()
            if self._eof_sent:
                raise trio.ClosedResourceError("end-of-file was sent already")
            size, pipe = len(data), self._pipe
            if not size:
                return
            if size <= pipe.window_left:
                self._put(data if type(data) is bytes else bytes(data))
                return
            sent = 0
            while sent < size:
                await pipe.wait_room()
                self._check()
                fits = min(size - sent, max(pipe.window_left, 0))
                if fits:
                    self._put(bytes(data[sent : sent + fits]))
                    sent += fits
        finally:
            self._sending = False

    def send_nowait(self, data: bytes) -> int:
        pipe, size = self._pipe, len(data)
        dead = self._life is not None and self._life.dead
        if dead or self._sending or self._eof_sent or self.broken or self.closed:
            return 0
        if size > pipe.window_left:
            return 0
        self._put(data)
        return size

    def _put(self, data: bytes) -> None:
        network = self._network
        if network.trace.keep:
            network.trace.sent(network.timers.now, self._far._route, data)
        if network.trace.rules is not None:
            self._on_their_way.append(data)
        self._pipe.put(data)

    def _let_arrive(self, data: bytes | memoryview, size: int) -> bool:
        """Whether these bytes are what was sent next: on a stream nothing overtakes."""
        waiting = self._on_their_way
        if not waiting:
            return False
        first, begin = waiting[0], self._arrived_bytes
        end = begin + size
        if end < len(first):
            self._arrived_bytes = end
            return data == first[begin:end]
        waiting.popleft()
        self._arrived_bytes = 0
        return data is first or data == first[begin:]

    async def wait_send_all_might_not_block(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await checkpoint()
            self._check()
            while self._pipe.window_left <= 0:
                await self._pipe.wait_room()
                self._check()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await checkpoint()
        self._check()
        if not self._eof_sent:
            self._eof_sent = True
            self._pipe.finish()

    # --- ending ----------------------------------------------------------------------------

    async def aclose(self) -> None:
        self._close(reset=False)
        await checkpoint()

    def abort(self) -> None:
        """Close at once with a reset, after what is already on its way."""
        self._close(reset=True)

    def end(self, *, crash: bool) -> None:
        """The node died (emu.machine.life.Handle)."""
        if self.closed:
            return
        if crash:
            self.closed = True
            self._pipe.break_now()
            self._network.leave_half_open(self._local, self)
        else:
            self._close(reset=False)

    def reset_far_end(self) -> None:
        """This end is gone: the far one hears of it as soon as the link lets it."""
        pipe = self._pipe
        self._pipe = self._lay_pipe(pipe.link, pipe.reverse, inf)
        self._pipe.reset_after()

    def _close(self, *, reset: bool) -> None:
        """As a kernel: FIN after what was sent, but a reset if bytes were left unread."""
        if self.closed:
            return
        self.closed = True
        if self._life is not None:
            self._life.disown(self)
        if reset or self._chunks:
            self._pipe.reset_after()
        elif not self._eof_sent:
            self._pipe.finish()
        self._pipe.wake_writers()
        self._wake()
        self._held_bytes = 0
        self._chunks.clear()
        if self._starved:
            self._starved = False
            self._far._pipe.unclog()

    def _check_open(self) -> None:
        if self._life is not None and self._life.dead:
            self._life.check()
        if self.closed:
            raise trio.ClosedResourceError("this stream is closed")

    def _check(self) -> None:
        self._check_open()
        if self.broken:
            raise trio.BrokenResourceError("the connection was reset")

    async def _fair(self) -> None:
        """A checkpoint every so many calls: a busy connection must not starve the others."""
        self._calls += 1
        if self._calls >= self._every:
            self._calls = 0
            await checkpoint()
        else:
            await checkpoint_if_cancelled()
