"""A web port: PROXY v2, HTTP and MessagePack-RPC on one listener, told apart by the first byte."""

from __future__ import annotations

from typing import Final

from nodes.base import Context, Stream
from nodes.parts.timing import move_on_after
from nodes.wire.http_server import HttpService
from nodes.wire.service import CHUNK_BYTES, Service
from protocols import proxy

FIRST_BYTES_TIMEOUT_S: Final = 10.0
"""A connection that says nothing at all is closed after this."""
MESSAGEPACK_ARRAY: Final = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
"""First bytes that no HTTP request has: an RPC message is an array."""


class Front:
    """Both services behind one port."""

    def __init__(self, ctx: Context, http: HttpService, rpc: Service) -> None:
        self.ctx = ctx
        self.http = http
        self.rpc = rpc

    @property
    def in_flight(self) -> int:
        return self.http.in_flight + self.rpc.in_flight

    @property
    def connections(self) -> int:
        return self.http.draining.connections + self.rpc.draining.connections

    async def serve_stream(self, stream: Stream) -> None:
        """One connection."""
        received, client = b"", ""
        with move_on_after(self.ctx.clock, FIRST_BYTES_TIMEOUT_S) as scope:
            received = bytes(await stream.receive_some(CHUNK_BYTES))
            if received[:1] == proxy.SIGNATURE[:1]:
                header, received = await _read_proxy_header(stream, received)
                client = header.source
                received = received or bytes(await stream.receive_some(CHUNK_BYTES))
        if scope.cancelled_caught or not received:
            return
        if received[0] in MESSAGEPACK_ARRAY:
            await self.rpc.serve_stream(stream, received)
        else:
            await self.http.serve_stream(stream, received, client)


async def _read_proxy_header(stream: Stream, received: bytes) -> tuple[proxy.Header, bytes]:
    """The header and what came after it; a broken one ends the connection."""
    while True:
        try:
            decoded = proxy.decode(received)
        except proxy.RemoteProtocolError:
            return proxy.LOCAL, received  # the HTTP parser says what is wrong with it
        if decoded is not None:
            header, size = decoded
            return header, received[size:]
        data = await stream.receive_some(CHUNK_BYTES)
        if not data:
            return proxy.LOCAL, b""
        received += data
