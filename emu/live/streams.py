"""A connection of a live node: a raw non-blocking socket, and the pipe that its
sender's bytes go through.

A plain link with an empty pipe costs one test, then the socket is used directly. trio is asked
only on EAGAIN.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, wait_readable, wait_writable

from emu.live.network import LiveNetwork
from emu.live.readiness import Pushing, Reader
from emu.live.relay import PIECE_BYTES, relay_by_pipe
from emu.live.sockets import RECEIVE_BYTES, SocketSink
from emu.machine.life import Life
from emu.machine.pipe import Pipe
from nodes.base import Peer, Stream

BULK_BYTES: Final = 262144
CORKED_BYTES: Final = 65536


class LiveStream(Stream):
    """One end of a connection between two nodes, or with a client from outside."""

    def __init__(
        self, network: LiveNetwork, sock: socket.socket, life: Life | None, peer: Peer, local: str
    ) -> None:
        self.peer = peer
        self.broken = False
        self._network = network
        self._sock = sock
        self._life = life
        self._every = network.checkpoint_every
        self._calls = 0
        self._closed = False
        self._eof_sent = False
        self._sending = self._receiving = self._bulk = False
        self._corked = b""
        links = network.links
        if local in network.shaped_at_acceptor:
            self._out = self._in = links.unshaped
        else:
            self._out, self._in = links.link(local, peer.name), links.link(peer.name, local)
        self._sink = sink = SocketSink(network, sock, self._out)
        sink.stream = self
        timeout_s = links.user_timeout_s
        self._pipe = sink.pipe = Pipe(
            network.timers, self._out, self._in, sink, sink, user_timeout_s=timeout_s
        )
        self._inbox: Inbox | None = None
        self._reader: Reader | None = None
        self._drained = False
        """The last read took all that there was: the next one waits before it tries."""
        self._from_outside = peer.name in network.shaped_at_acceptor
        if self._from_outside and not self._in.plain:
            self._start_inbox()
        if life is not None:
            life.own(self)

    # --- receiving -----------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if max_bytes is None:
            max_bytes = RECEIVE_BYTES
        elif not isinstance(max_bytes, int):
            raise TypeError("max_bytes must be an integer")
        elif max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            if self._inbox is not None:
                await self._fair()
                self._check()
                return await self._inbox.take(max_bytes)
            return await self._receive_direct(max_bytes)
        finally:
            self._receiving = False

    async def _receive_direct(self, max_bytes: int) -> bytes | bytearray:
        while True:
            if self._drained:
                self._drained = False
                await self._wait_readable()
            else:
                await self._fair()
            self._check()
            try:
                data = self._sock.recv(max_bytes)
            except BlockingIOError:
                self._drained = True
                continue
            except OSError as error:
                raise self.as_broken(error) from error
            if not data and self.broken:
                raise trio.BrokenResourceError("the connection was reset")
            if self._from_outside and not self._in.plain:
                inbox = self._start_inbox(data)
                return await inbox.take(max_bytes)
            self._drained = len(data) < max_bytes
            return data

    async def receive_each(self, take: Callable[[bytes | bytearray], bool]) -> None:
        while take(await self.receive_some(RECEIVE_BYTES)):
            if not self._drained or self._inbox is not None:
                continue
            reader = self._own_reader()
            if reader is None:
                continue
            pushing = Pushing(
                self._sock, self._life, self._in if self._from_outside else None, take
            )
            self._drained, self._receiving = False, True
            try:
                await reader.wait_while(pushing.take)
                if pushing.over():
                    return
            except OSError as error:
                raise self.as_broken(error) from error
            finally:
                self._receiving = False

    def _own_reader(self) -> Reader | None:
        if self._reader is None and self._network.readiness.available:
            self._check()  # the socket may be closed by now
            self._reader = Reader(self._network.readiness, self._sock)
        return self._reader

    async def _wait_readable(self) -> None:
        reader = self._own_reader()
        if reader is not None:
            await reader.wait()
        else:
            await self._wait_as_trio()

    async def _wait_as_trio(self) -> None:
        try:
            await wait_readable(self._sock)
        except trio.ClosedResourceError:
            pass
        except OSError as error:
            raise trio.BrokenResourceError("the connection is gone") from error

    def stop_waiting(self) -> None:
        """The socket is about to be closed."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def has_arrived(self) -> bool:
        if self.broken or self._closed:
            return True
        if self._inbox is not None:
            return self._inbox.filled
        try:
            self._sock.recv(1, socket.MSG_PEEK)
            return True
        except BlockingIOError:
            return False
        except OSError:
            self.broken = True  # told once: whoever reads next must hear of it too
            return True

    def _start_inbox(self, first: bytes | None = None) -> Inbox:
        """Hold what an outside client sends after reading it: we cannot stamp it at its sender."""
        inbox = self._inbox = Inbox()
        network = self._network
        timeout_s = network.links.user_timeout_s
        pipe = inbox.pipe = Pipe(
            network.timers, self._in, self._out, inbox, inbox, user_timeout_s=timeout_s
        )
        if first is not None:
            pipe.put(first) if first else pipe.finish()
        if first != b"":
            network.spawn(self._fill_inbox)
        return inbox

    async def _fill_inbox(self) -> None:
        inbox = self._inbox
        assert inbox is not None
        assert inbox.pipe is not None
        while not self._closed:
            try:
                await inbox.pipe.wait_room()
                data = self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                try:
                    await wait_readable(self._sock)
                except (OSError, trio.ClosedResourceError):
                    return
                continue
            except OSError:
                inbox.deliver_reset()
                return
            if not data:
                inbox.pipe.finish()
                return
            inbox.pipe.put(data)

    async def relay_to(self, sink: Stream, count: Callable[[int], object]) -> bytes | bytearray:
        relays = self._network.relays
        if not (relays.available and isinstance(sink, LiveStream)) or self._receiving:
            return await self.receive_some(RECEIVE_BYTES)
        if self._bulk:
            data: bytes | bytearray | None = await self.receive_some(BULK_BYTES)
            assert data is not None
            self._bulk = len(data) >= PIECE_BYTES
            return data
        is_direct = partial(self._is_direct_to, sink)
        while is_direct():
            await checkpoint_if_cancelled()
            self._check()
            self._receiving = True
            try:
                data = await relays.run(self, sink, is_direct, count)
            finally:
                self._receiving = False
            self._check()
            if data is not None:
                self._bulk = len(data) >= PIECE_BYTES
                return data
        return await relay_by_pipe(self, sink, count)

    def _is_direct_to(self, sink: LiveStream) -> bool:
        """Whether bytes may go from this socket to that one without passing a link's pipe."""
        return (
            sink._out.plain
            and sink._pipe.idle
            and self._inbox is None
            and (self._in.plain or not self._from_outside)
            and not (self.broken or self._closed)
            and not (sink.broken or sink._closed or sink._sending or sink._eof_sent)
        )

    @property
    def socket(self) -> socket.socket:
        return self._sock

    @property
    def life(self) -> Life | None:
        return self._life

    # --- sending -------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await self._fair()
            self._check()
            if self._eof_sent:
                raise trio.ClosedResourceError("end-of-file was sent already")
            with memoryview(data) as view:
                await self._send(view)
        finally:
            self._sending = False

    def send_nowait(self, data: bytes) -> int:
        pipe = self._pipe
        if self._corked:
            self._uncork()  # what of it the kernel does not take goes into the pipe
        dead = self._life is not None and self._life.dead
        if dead or self._sending or self._eof_sent or self.broken or self._closed:
            return 0
        if not (self._out.plain and pipe.idle):
            if len(data) > pipe.window_left:
                return 0
            pipe.put(data)
            return len(data)
        afterwards = self._network.readiness.afterwards
        if afterwards is not None and len(data) <= CORKED_BYTES:
            self._corked = data
            afterwards.append(self._uncork)
            return len(data)
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.as_broken(error)
            return 0

    def _uncork(self) -> None:
        """Send what was kept until everybody's bytes were handed out."""
        data, self._corked = self._corked, b""
        if not data or self.broken:
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.broken = True
            self._pipe.break_now()
            return
        if sent < len(data):
            self._pipe.put(data[sent:])

    async def _send(self, view: memoryview) -> None:
        sent = 0
        pipe = self._pipe
        self._uncork()
        while sent < len(view):
            if not (self._out.plain and pipe.idle):
                await pipe.wait_room()
                self._check()
                size = min(len(view) - sent, max(pipe.window_left, 0))
                if size:
                    pipe.put(bytes(view[sent : sent + size]))
                    sent += size
                continue
            try:
                sent += self._sock.send(view[sent:])
            except BlockingIOError:
                await self._wait_writable()
            except OSError as error:
                raise self.as_broken(error) from error

    async def _wait_writable(self) -> None:
        try:
            await wait_writable(self._sock)
        except trio.ClosedResourceError:
            pass
        except OSError as error:
            raise trio.BrokenResourceError("the connection is gone") from error
        self._check()

    async def wait_send_all_might_not_block(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await checkpoint()
            self._check()
            while not (self._out.plain and self._pipe.idle):
                if self._pipe.window_left > 0:
                    return
                await self._pipe.wait_room()
                self._check()
            await self._wait_writable()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await checkpoint()
        self._check()
        if self._eof_sent:
            return
        self._uncork()
        self._eof_sent = True
        if self._out.plain and self._pipe.idle:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        else:
            self._pipe.finish()

    # --- ending --------------------------------------------------------------------------

    async def aclose(self) -> None:
        if not self._closed:
            self._close()
        await checkpoint()

    def abort(self) -> None:
        """Close at once with a reset, after what is already on its way."""
        if self._closed:
            return
        self._uncork()
        self._closed = True
        self._leave_life()
        if self._is_direct():
            self._sink.close(reset=True)
        else:
            self._sink.read_on()
            self._pipe.reset_after()
        self._pipe.wake_writers()

    def end(self, *, crash: bool) -> None:
        """The node died (emu.machine.life.Handle)."""
        if self._closed:
            return
        if crash:
            self._closed = True
            self._pipe.break_now()
            self._network.leave_half_open(self._life, self._sink)
        else:
            self._close()

    def _close(self) -> None:
        self._uncork()
        self._closed = True
        self._leave_life()
        if self._inbox is not None and self._inbox.pipe is not None:
            self._inbox.pipe.break_now()
        if self._is_direct():
            self._sink.close(reset=False)
        else:
            self._sink.read_on()
            self._pipe.finish()
        self._pipe.wake_writers()

    def _is_direct(self) -> bool:
        """Nothing is on its way, and nothing delays an end."""
        pipe = self._pipe
        return pipe.broken or (self._out.plain and pipe.idle)

    def _leave_life(self) -> None:
        if self._life is not None:
            self._life.disown(self)

    def _check(self) -> None:
        if self._life is not None:
            self._life.check()
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if self.broken:
            raise trio.BrokenResourceError("the connection was reset")

    def as_broken(self, error: OSError) -> Exception:
        self._check()
        self.broken = True
        self._pipe.break_now()
        return trio.BrokenResourceError(f"the connection broke: {error.strerror or error}")

    async def _fair(self) -> None:
        """A checkpoint every so many calls: a busy connection must not starve the others."""
        self._calls += 1
        if self._calls >= self._every:
            self._calls = 0
            await checkpoint()
        else:
            await checkpoint_if_cancelled()


class Inbox:
    """Bytes of an outside client, held for the link's time before the node may read them."""

    def __init__(self) -> None:
        self.pipe: Pipe | None = None
        self._chunks: deque[bytes | memoryview] = deque()
        self._ended = False
        self._reset = False
        self._arrived = trio.Event()

    def deliver(self, data: bytes | memoryview) -> int:
        self._chunks.append(data)
        self._wake()
        return len(data)

    def deliver_end(self) -> None:
        self._ended = True
        self._wake()

    def deliver_reset(self) -> None:
        self._reset = True
        self._wake()

    lose = deliver_reset

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, trio.Event()
        arrived.set()

    @property
    def filled(self) -> bool:
        """Whether there is anything: bytes, the end, a reset."""
        return bool(self._chunks) or self._ended or self._reset

    async def take(self, max_bytes: int) -> bytes:
        """The next bytes, b"" at the end; raises BrokenResourceError after a reset."""
        while not self._chunks:
            if self._reset:
                raise trio.BrokenResourceError("the connection was reset")
            if self._ended:
                return b""
            await self._arrived.wait()
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        return bytes(chunk)
