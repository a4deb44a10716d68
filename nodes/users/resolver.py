"""The users' side of DNS: a stub resolver with a cache, as a laptop or a provider's resolver has.

Names are asked for once while the answer lives, failures are remembered too, and some clients keep
an address past its time to live, as some browsers and runtimes do.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from nodes.base import DNS_PORT, Context, DatagramSocket
from nodes.parts.timing import move_on_after
from protocols import dns

TRY_TIMEOUT_S: Final = 2.0
TRIES: Final = 3
MAX_NAMES: Final = 1024
MAX_TTL_S: Final = 86400
FAILURE_TTL_S: Final = 1.0
"""How long a failure to reach any server is remembered."""


class ResolveError(Exception):
    """No address: `reason` is nxdomain, nodata, refused, servfail or unreachable."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Entry:
    """A remembered answer; `reason` is why there are no addresses."""

    addresses: tuple[str, ...]
    reason: str
    expires_s: float


class Cache:
    """Answers by name until they expire, the oldest forgotten first. Pure.

    Expired addresses stay for those who pin, until others take their place.
    """

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._pinned: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._max_names = max_names

    def get(self, name: str, now_s: float) -> Entry | None:
        entry = self._entries.get(name)
        return entry if entry is not None and now_s < entry.expires_s else None

    def put(self, name: str, entry: Entry) -> None:
        self._entries[name] = entry
        self._entries.move_to_end(name)
        if entry.addresses and name not in self._pinned:
            self._pinned[name] = entry.addresses
        for table in (self._entries, self._pinned):
            while len(table) > self._max_names:
                table.popitem(last=False)

    def pinned(self, name: str) -> tuple[str, ...]:
        """The first addresses ever learnt for the name."""
        return self._pinned.get(name, ())

    def unpin(self, name: str) -> None:
        self._pinned.pop(name, None)


class Resolver:
    """`servers` are the DNS servers' IP addresses (or a function that gives them), tried in order.

    `pin_share` of the clients (told apart by the `client` they pass) never ask again while the
    address that they have works; call `failed(name)` when it does not.
    """

    def __init__(
        self,
        ctx: Context,
        servers: Sequence[str] | Callable[[], Sequence[str]],
        *,
        pin_share: float = 0.0,
        region: str | None = None,
    ) -> None:
        self.ctx = ctx
        self.pin_share = pin_share
        self.region = ctx.region if region is None else region
        self._servers = servers if callable(servers) else lambda: servers
        self._rng = ctx.rng("resolver")
        self._cache = Cache()
        self._asking: dict[str, trio.Event] = {}
        metrics = ctx.metrics
        self._hits = metrics.counter("resolutions_total", RESOLUTIONS_HELP, result="hit")
        self._misses = metrics.counter("resolutions_total", RESOLUTIONS_HELP, result="miss")
        self._stale = metrics.counter(
            "stale_routed_requests_total", "Requests routed by an address past its time to live."
        )

    async def resolve(self, name: str, *, client: str = "") -> list[str]:
        """Addresses in the order in which they shall be tried. Raises ResolveError."""
        name = _canonical(name)
        while True:
            now_s = self.ctx.clock.monotonic_s()
            entry = self._cache.get(name, now_s)
            pinned = self._cache.pinned(name) if self.pins(client) else ()
            if pinned and (entry is None or entry.addresses != pinned):
                self._stale.value += 1
                return list(pinned)
            if entry is not None:
                self._hits.value += 1
                if not entry.addresses:
                    raise ResolveError(name, entry.reason)
                return list(entry.addresses)
            other = self._asking.get(name)
            if other is not None:
                await other.wait()
                continue
            entry = await self._ask_once(name)
            if not entry.addresses:
                raise ResolveError(name, entry.reason)
            return list(entry.addresses)

    def pins(self, client: str) -> bool:
        """Whether this client is one of those that keep an address past its time."""
        return zlib.crc32(client.encode()) < self.pin_share * 2**32

    def failed(self, name: str) -> None:
        """What was resolved does not answer: even those who pin ask again."""
        self._cache.unpin(_canonical(name))

    async def _ask_once(self, name: str) -> Entry:
        """Ask the servers, on behalf of everyone who wants this name now."""
        self._misses.value += 1
        done = self._asking[name] = trio.Event()
        try:
            entry = await self._ask(name)
            self._cache.put(name, entry)
            return entry
        finally:
            del self._asking[name]
            done.set()

    async def _ask(self, name: str) -> Entry:
        servers = list(self._servers())
        for number in range(TRIES if servers else 0):
            server = servers[number % len(servers)]
            response = await self._exchange(server, name)
            if response is None or response.rcode in (dns.SERVFAIL, dns.REFUSED):
                continue
            return self._entry(response)
        now_s = self.ctx.clock.monotonic_s()
        return Entry((), "unreachable", now_s + FAILURE_TTL_S)

    def _entry(self, response: dns.Response) -> Entry:
        reason = ""
        if not response.addresses:
            reason = "nxdomain" if response.rcode == dns.NXDOMAIN else "nodata"
            if response.rcode not in (dns.NOERROR, dns.NXDOMAIN):
                reason = "servfail"
        ttl_s = min(response.ttl_s, MAX_TTL_S)
        if reason == "servfail":
            ttl_s = 1
        return Entry(response.addresses, reason, self.ctx.clock.monotonic_s() + ttl_s)

    async def _exchange(self, server: str, name: str) -> dns.Response | None:
        """One question to one server, over TCP if the answer was cut; None: no (valid) answer."""
        message_id = self._rng.randrange(1 << 16)
        query = dns.encode_query(message_id, name, region=self.region)
        try:
            with move_on_after(self.ctx.clock, TRY_TIMEOUT_S):
                socket = await self.ctx.network.open_datagram()
                try:
                    response = await self._ask_by_datagram(socket, server, query, name)
                finally:
                    socket.close()
                if response.truncated:
                    return await self._ask_by_stream(server, query)
                return response
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, dns.Malformed):
            pass
        return None

    async def _ask_by_datagram(
        self, socket: DatagramSocket, server: str, query: bytes, name: str
    ) -> dns.Response:
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
                return response

    async def _ask_by_stream(self, server: str, query: bytes) -> dns.Response:
        async with await self.ctx.network.open_stream(server, DNS_PORT) as stream:
            await stream.send_all(dns.frame(query))
            frames = dns.TcpFrames()
            while True:
                data = await stream.receive_some(4096)
                if not data:
                    raise dns.Malformed("the connection ended without an answer")
                for message in frames.receive_data(data):
                    return dns.decode_response(message)


def _canonical(name: str) -> str:
    """As answers have it; a name that can be none is left for its question to fail."""
    if not name.isascii():
        with suppress(ValueError):
            return dns.canonical(name)
    return name.strip(".").lower()


RESOLUTIONS_HELP: Final = "Names resolved, from the cache (hit) or by asking (miss)."
