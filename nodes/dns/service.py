"""How DNS messages come and go, over UDP and TCP, with their bounds; what is said is not here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from nodes.base import (
    DNS_PORT,
    Context,
    CpuBusy,
    CpuExpired,
    DatagramSocket,
    Listener,
    Peer,
    Stream,
)
from nodes.metrics import Counter
from nodes.parts.timing import move_on_after
from nodes.wire.accepting import accept_forever, contained
from nodes.wire.service import ERRORS_HELP, REQUESTS_HELP, SECONDS_HELP
from protocols import dns

TCP_CHUNK_BYTES: Final = 16384
MAX_CONNECTIONS: Final = 256
MAX_WAITING: Final = 1024
"""Datagrams in hand, where their answers have to wait; further ones are dropped."""
RCODES: Final = {
    dns.DROPPED: "dropped",
    dns.NOERROR: "noerror",
    dns.FORMERR: "formerr",
    dns.SERVFAIL: "servfail",
    dns.NXDOMAIN: "nxdomain",
    dns.NOTIMP: "notimp",
    dns.REFUSED: "refused",
    dns.BADVERS: "badvers",
}
Respond = Callable[[bytes, Peer, str, float], Awaitable[bytes]]
"""(message, who asks, udp or tcp, when it came) → the answer; empty: say nothing."""


class DnsService:
    """UDP and TCP at DNS_PORT. `waits`: whether an answer may take time, so that others must not
    wait behind it."""

    def __init__(
        self, ctx: Context, respond: Respond, tcp_idle_timeout_s: float, *, waits: bool = False
    ) -> None:
        self.ctx = ctx
        self._respond = respond
        self._idle_timeout_s = tcp_idle_timeout_s
        self._waits = waits
        self._waiting = 0
        self._queries: dict[tuple[str, int], Counter] = {}
        self._errors = ctx.metrics.counter("request_errors_total", ERRORS_HELP)
        self._seconds = {
            over: ctx.metrics.histogram("request_seconds", SECONDS_HELP, method=over)
            for over in ("udp", "tcp")
        }

    async def open(self) -> tuple[DatagramSocket, Listener]:
        network = self.ctx.network
        return await network.open_datagram(DNS_PORT), await network.listen(DNS_PORT)

    async def serve(self, socket: DatagramSocket, listener: Listener) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_datagrams, socket, nursery)
            await accept_forever(
                self.ctx, listener, self._serve_stream, max_connections=MAX_CONNECTIONS
            )

    def count(self, over: str, rcode: int, took_s: float) -> None:
        """One message that was answered so."""
        counter = self._queries.get((over, rcode))
        if counter is None:
            counter = self._queries[over, rcode] = self.ctx.metrics.counter(
                "requests_total",
                REQUESTS_HELP,
                method=over,
                code=RCODES.get(rcode, "other"),
            )
        counter.value += 1
        self._seconds[over].observe(took_s)

    async def _serve_datagrams(self, socket: DatagramSocket, nursery: trio.Nursery) -> None:
        while True:
            data, peer = await socket.receive_from()
            if not (self.ctx.cpu.cores or self._waits):
                await self._answer_datagram(socket, data, peer, self.ctx.clock.monotonic_s())
            elif self._waiting < MAX_WAITING:
                self._waiting += 1
                nursery.start_soon(self._answer_in_time, socket, data, peer)
            else:
                self._errors.value += 1

    async def _answer_in_time(self, socket: DatagramSocket, data: bytes, peer: Peer) -> None:
        arrived_s = self.ctx.clock.monotonic_s()
        try:
            if self.ctx.cpu.cores:
                await self.ctx.cpu.run()
            await self._answer_datagram(socket, data, peer, arrived_s)
        except (CpuBusy, CpuExpired):
            self._errors.value += 1  # dropped, as a busy server's kernel would
        finally:
            self._waiting -= 1

    async def _answer_datagram(
        self, socket: DatagramSocket, data: bytes, peer: Peer, arrived_s: float
    ) -> None:
        with contained(self.ctx, peer, "datagram failed"):
            reply = await self._respond(data, peer, "udp", arrived_s)
            if not reply:
                return
            try:
                await socket.send_to(reply, peer.address, peer.port)
            except OSError as error:
                self.ctx.log.debug("answer not sent", to=peer.address, error=str(error))

    async def _serve_stream(self, stream: Stream) -> None:
        frames = dns.TcpFrames()
        while messages := await self._next_messages(stream, frames):
            arrived_s = self.ctx.clock.monotonic_s()
            for message in messages:
                if self.ctx.cpu.cores:
                    try:
                        await self.ctx.cpu.run()
                    except (CpuBusy, CpuExpired):
                        self._errors.value += 1
                        return
                reply = await self._respond(message, stream.peer, "tcp", arrived_s)
                if not reply:
                    return
                with move_on_after(self.ctx.clock, self._idle_timeout_s) as scope:
                    await stream.send_all(dns.frame(reply))
                if scope.cancelled_caught:
                    return  # it does not read

    async def _next_messages(self, stream: Stream, frames: dns.TcpFrames) -> list[bytes]:
        """Those that end next; none when the client has ended, or takes too long for one."""
        with move_on_after(self.ctx.clock, self._idle_timeout_s):
            while data := await stream.receive_some(TCP_CHUNK_BYTES):
                if messages := frames.receive_data(data):
                    return messages
        return []
