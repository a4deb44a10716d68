"""Asking DNS servers: over UDP, again where nobody answers, over TCP where the answer was cut.
What is remembered of answers is whoever's asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import trio

from nodes.base import DNS_PORT, Context, DatagramSocket
from nodes.parts.timing import move_on_after
from protocols import dns

TRY_TIMEOUT_S: Final = 2.0
TRIES: Final = 3
SHUN_S: Final = 10.0
"""So long a server that let a question time out is asked after all others."""
TCP_CHUNK_BYTES: Final = 4096


class Said(NamedTuple):
    response: dns.Response
    wire: bytes


class DnsClient:
    """`servers` gives the servers' IP addresses, the nearest first."""

    def __init__(
        self, ctx: Context, servers: Callable[[], Sequence[str]], rng_name: str = "resolver"
    ) -> None:
        self.ctx = ctx
        self._servers = servers
        self._rng = ctx.rng(rng_name)
        self._shunned_until_s: dict[str, float] = {}

    async def ask(
        self,
        name: str,
        *,
        region: str = "",
        rdtype: int = dns.A,
        subnet: tuple[str, int] | None = None,
    ) -> Said | None:
        """The first answer that is one; None: nobody answered in time."""
        servers = self._in_order()
        for number in range(TRIES if servers else 0):
            server = servers[number % len(servers)]
            message_id = self._rng.randrange(1 << 16)
            query = dns.encode_query(message_id, name, region=region, rdtype=rdtype, subnet=subnet)
            said = await self._exchange(server, query, name)
            if said is None:
                self._shunned_until_s[server] = self.ctx.clock.monotonic_s() + SHUN_S
            elif said.response.rcode not in (dns.SERVFAIL, dns.REFUSED):
                self._shunned_until_s.pop(server, None)
                return said
        return None

    def _in_order(self) -> list[str]:
        now_s = self.ctx.clock.monotonic_s()
        servers = list(self._servers())
        self._shunned_until_s = {
            server: until_s
            for server, until_s in self._shunned_until_s.items()
            if server in servers and now_s < until_s
        }
        return sorted(servers, key=lambda server: server in self._shunned_until_s)

    async def _exchange(self, server: str, query: bytes, name: str) -> Said | None:
        """One question to one server; None: no (valid) answer."""
        try:
            with move_on_after(self.ctx.clock, TRY_TIMEOUT_S):
                socket = await self.ctx.network.open_datagram()
                try:
                    said = await self._by_datagram(socket, server, query, name)
                finally:
                    socket.close()
                if said.response.truncated:
                    return await self._by_stream(server, query)
                return said
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, dns.Malformed):
            pass
        return None

    async def _by_datagram(
        self, socket: DatagramSocket, server: str, query: bytes, name: str
    ) -> Said:
        """Whatever does not answer this very question is ignored."""
        await socket.send_to(query, server, DNS_PORT)
        while True:
            data, peer = await socket.receive_from()
            if peer.address != server or data[:2] != query[:2]:
                continue
            try:
                response = dns.decode_response(data)
            except dns.Malformed:
                continue
            if response.name == name:
                return Said(response, data)

    async def _by_stream(self, server: str, query: bytes) -> Said:
        async with await self.ctx.network.open_stream(server, DNS_PORT) as stream:
            await stream.send_all(dns.frame(query))
            frames = dns.TcpFrames()
            while True:
                data = await stream.receive_some(TCP_CHUNK_BYTES)
                if not data:
                    raise dns.Malformed("the connection ended without an answer")
                for message in frames.receive_data(data):
                    return Said(dns.decode_response(message), message)
