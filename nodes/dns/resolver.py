"""A caching resolver, as a provider or a public service runs: it asks the DNS tier for its clients,
and remembers what was answered for as long as that holds, and for whom it holds."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio

from nodes.base import Context, Peer
from nodes.dns.service import DnsService
from nodes.parts.dns_cache import DnsCache, Entry, Failures, span_of
from nodes.parts.flights import Flights
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.dns_client import DnsClient
from protocols import dns

CLIENT_BITS: Final = {4: 24, 6: 56}
"""What of a client's address is passed on at most (RFC 7871, 11.1)."""
RESOLUTIONS_HELP: Final = "Names resolved, from the cache (hit) or by asking (miss)."


@dataclass(frozen=True, slots=True)
class ResolverConfig:
    """A resolver of a region's people, or one for everybody."""

    asks: str
    """The dns tier that it asks, the nearest server first: `asks: dns`."""
    min_ttl_s: float = 0.0
    """Answers are kept at least so long, whatever they say, as some providers do:
    `min_ttl: 30s`."""
    max_ttl_s: float = 86400.0
    """And at most so long."""
    tcp_idle_timeout_s: float = 10.0
    """A connection over TCP without a question is closed after so long."""
    hosts: tuple[str, ...] = ()
    """The names of the site that it can find; those of the tier that it asks, if not said:
    `hosts: [www.shop.test]`."""

    def __post_init__(self) -> None:
        if self.max_ttl_s < self.min_ttl_s:
            raise ValueError("`max_ttl` must not be below `min_ttl`")


class ResolverNode:
    """UDP and TCP at DNS_PORT; each question is asked once at a time, for all who want it."""

    def __init__(self, ctx: Context, config: ResolverConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.cache: DnsCache[bytes] = DnsCache()
        self._failures = Failures()
        self._flights: Flights[Entry[bytes] | None] = Flights()
        self.service = DnsService(ctx, self._answer, config.tcp_idle_timeout_s, waits=True)
        self._hits = ctx.metrics.counter("resolutions_total", RESOLUTIONS_HELP, result="hit")
        self._misses = ctx.metrics.counter("resolutions_total", RESOLUTIONS_HELP, result="miss")

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        ctx = self.ctx
        doors = await self.service.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Admin(ctx, facts=self._facts).listen_and_serve)
            view = await Directory(ctx, nursery).follow(self.config.asks)
            self._client = DnsClient(
                ctx,
                lambda: [each.address for each in view.nearest(ctx.region)],
            )
            task_status.started()
            await self.service.serve(*doors)

    async def _answer(self, wire: bytes, peer: Peer, over: str, arrived_s: float) -> bytes:
        limit = dns.MAX_TCP_BYTES
        try:
            query = dns.decode_query(wire)
        except dns.Malformed as error:
            reply = error.reply
        else:
            limit = query.udp_bytes if over == "udp" else limit
            reply = await self._resolve(query, limit)
        took_s = self.ctx.clock.monotonic_s() - arrived_s
        self.service.count(over, dns.rcode_of(reply), took_s)
        return reply

    async def _resolve(self, query: dns.Query, limit: int) -> bytes:
        if query.edns_version > 0:
            return dns.encode_answer(query, dns.Answer(dns.BADVERS), None, limit)
        if query.rdtype in dns.ZONE_TRANSFERS or query.rdclass != 1:
            return dns.failure(query, dns.REFUSED)
        subnet = _shortened(query.subnet)
        region = query.region or ("" if subnet else self.ctx.region)
        question = (query.name, query.rdtype, region)
        span = span_of(*subnet) if subnet else None
        now_s = self.ctx.clock.monotonic_s()
        entry = self.cache.get(question, span, now_s)
        counted = self._hits
        if entry is None and not self._failures.covers(question, now_s):
            ask = partial(self._ask, query, question, region, subnet)
            entry, ours = await self._flights.run((question, subnet), ask)
            counted = self._misses if ours else self._hits
        counted.value += 1
        if entry is None:
            return dns.failure(query, dns.SERVFAIL)
        return self._handed_on(entry, query, self.ctx.clock.monotonic_s(), limit)

    async def _ask(
        self, query: dns.Query, question: Hashable, region: str, subnet: tuple[str, int] | None
    ) -> Entry[bytes] | None:
        """The DNS tier, for all who want to know; None: nobody could say."""
        said = await self._client.ask(query.name, region=region, rdtype=query.rdtype, subnet=subnet)
        now_s = self.ctx.clock.monotonic_s()
        if said is None:
            self._failures.add(question, now_s)
            return None
        self._failures.forget(question)
        response, config = said.response, self.config
        ttl_s = min(max(response.ttl_s, config.min_ttl_s), config.max_ttl_s)
        return self.cache.put(question, said.wire, now_s, ttl_s, subnet, response.scope)

    def _handed_on(self, entry: Entry[bytes], query: dns.Query, now_s: float, limit: int) -> bytes:
        age_s = int(now_s - entry.stored_s)
        scope = entry.span.bits if entry.span is not None else 0
        least_s = int(self.config.min_ttl_s)
        return dns.relay(entry.value, query, age_s, scope, limit, least_ttl_s=least_s)

    def _facts(self) -> dict[str, Any]:
        asked = self._hits.value + self._misses.value
        return {
            "role": "resolver",
            "hit_ratio": round(self._hits.value / asked, 3) if asked else None,
        }


def _shortened(subnet: tuple[str, int] | None) -> tuple[str, int] | None:
    """What is passed on of a client's subnet: where it is, not who."""
    if subnet is None:
        return None
    address, bits = subnet
    return address, min(bits, CLIENT_BITS[6 if ":" in address else 4])
