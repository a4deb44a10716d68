"""The users' side of DNS: a stub resolver with a cache, as a laptop or a provider's resolver has.

Names are asked for once while the answer lives, failures are remembered too, and some clients keep
an address past its time to live, as some browsers and runtimes do.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import Final

from nodes.base import Context
from nodes.parts.dns_cache import DnsCache, Span, span_of
from nodes.parts.flights import Flights
from nodes.wire.dns_client import DnsClient
from protocols import dns

MAX_PINNED: Final = 1024
FAILURE_TTL_S: Final = 1.0
"""How long a failure to reach any server is remembered."""
CLIENT_BITS: Final = 24
"""What a resolver tells of a client's address: not whom, only where (RFC 7871, 11.1)."""
MAX_SUBNETS: Final = 256
RESOLUTIONS_HELP: Final = "Names resolved, from the cache (hit) or by asking (miss)."


class ResolveError(Exception):
    """No address: `reason` is nxdomain, nodata, refused, servfail or unreachable."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Known:
    """A remembered answer; `reason` is why there are no addresses."""

    addresses: tuple[str, ...]
    reason: str = ""


class Pinned:
    """The first addresses ever learnt for a name, for those who keep them. Pure."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[Hashable, tuple[str, ...]] = OrderedDict()

    def learn(self, key: Hashable, addresses: tuple[str, ...]) -> None:
        if addresses:
            self._addresses.setdefault(key, addresses)
        while len(self._addresses) > MAX_PINNED:
            self._addresses.popitem(last=False)

    def get(self, key: Hashable) -> tuple[str, ...]:
        return self._addresses.get(key, ())

    def forget(self, name: str) -> None:
        for key in [key for key in self._addresses if isinstance(key, tuple) and key[0] == name]:
            del self._addresses[key]


def client_subnets(network: str) -> list[tuple[str, int]]:
    """The subnets that a resolver passes on for the people of a network: each so small that it says
    where they are, and not who. Raises ValueError for what is none."""
    try:
        whole = ip_network(network)
    except ValueError:
        what = f"`{network[:60]}` is no network, or has bits beyond its prefix"
        raise ValueError(f"`network`: {what}; write 198.51.100.0/24") from None
    bits = max(whole.prefixlen, min(CLIENT_BITS, whole.max_prefixlen))
    found = []
    for each in whole.subnets(new_prefix=bits):
        found.append((str(each.network_address), bits))
        if len(found) == MAX_SUBNETS:
            break
    return found


class Resolver:
    """`servers` are the DNS servers' IP addresses (or a function that gives them), tried in order.

    `pin_share` of the clients (told apart by the `client` they pass) never ask again while the
    address that they have works; call `failed(name)` when it does not. `network`: where clients
    are, which is told to servers instead of the region.
    """

    def __init__(
        self,
        ctx: Context,
        servers: Sequence[str] | Callable[[], Sequence[str]],
        *,
        pin_share: float = 0.0,
        region: str | None = None,
        network: str = "",
    ) -> None:
        self.ctx = ctx
        self.pin_share = pin_share
        self.region = ctx.region if region is None else region
        self._client = DnsClient(ctx, servers if callable(servers) else lambda: servers)
        self._subnets = client_subnets(network) if network else []
        self._spans = [span_of(*subnet) for subnet in self._subnets]
        self._cache: DnsCache[Known] = DnsCache()
        self._pinned = Pinned()
        self._flights: Flights[Known] = Flights()
        metrics = ctx.metrics
        self._hits = metrics.counter("resolutions_total", RESOLUTIONS_HELP, result="hit")
        self._misses = metrics.counter("resolutions_total", RESOLUTIONS_HELP, result="miss")
        self._stale = metrics.counter(
            "stale_routed_requests_total", "Requests routed by an address past its time to live."
        )

    async def resolve(self, name: str, *, client: str = "") -> list[str]:
        """Addresses in the order in which they shall be tried. Raises ResolveError."""
        name = _canonical(name)
        place = self._place(client)
        key = (name, place)
        entry = self._cache.get(name, self._span(place), self.ctx.clock.monotonic_s())
        pinned = self._pinned.get(key) if self.pins(client) else ()
        if pinned and (entry is None or entry.value.addresses != pinned):
            self._stale.value += 1
            return list(pinned)
        if entry is not None:
            self._hits.value += 1
            return _addresses(name, entry.value)
        known, ours = await self._flights.run(key, partial(self._ask, name, place))
        (self._misses if ours else self._hits).value += 1
        return _addresses(name, known)

    def pins(self, client: str) -> bool:
        """Whether this client is one of those that keep an address past its time."""
        return zlib.crc32(client.encode()) < self.pin_share * 2**32

    def failed(self, name: str) -> None:
        """What was resolved does not answer: even those who pin ask again."""
        self._pinned.forget(_canonical(name))

    def _place(self, client: str) -> int:
        """Which of the subnets a client is in; 0 where there are none."""
        return zlib.crc32(client.encode()) % len(self._subnets) if self._subnets else 0

    def _span(self, place: int) -> Span | None:
        return self._spans[place] if self._spans else None

    async def _ask(self, name: str, place: int) -> Known:
        """Ask the servers, on behalf of everyone there who wants this name now."""
        subnet = self._subnets[place] if self._subnets else None
        said = await self._client.ask(name, region="" if subnet else self.region, subnet=subnet)
        now_s = self.ctx.clock.monotonic_s()
        if said is None:
            known, ttl_s, scope = Known((), "unreachable"), FAILURE_TTL_S, None
        else:
            known = Known(said.response.addresses, _reason(said.response))
            failed = known.reason == "servfail"
            ttl_s = FAILURE_TTL_S if failed else said.response.ttl_s
            scope = said.response.scope
        self._cache.put(name, known, now_s, ttl_s, subnet, scope)
        self._pinned.learn((name, place), known.addresses)
        return known


def _reason(response: dns.Response) -> str:
    """Why there are no addresses; "" where there are."""
    if response.addresses:
        return ""
    if response.rcode == dns.NXDOMAIN:
        return "nxdomain"
    return "nodata" if response.rcode == dns.NOERROR else "servfail"


def _addresses(name: str, known: Known) -> list[str]:
    if not known.addresses:
        raise ResolveError(name, known.reason)
    return list(known.addresses)


def _canonical(name: str) -> str:
    """As answers have it; a name that can be none is left for its question to fail."""
    if not name.isascii():
        with suppress(ValueError):
            return dns.canonical(name)
    return name.strip(".").lower()
