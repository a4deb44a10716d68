"""One request of a user, followed: by which address, through whom, what each decided, why, and how
long it took (`emu why`).
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from nodes.base import HTTP_PORT, Context
from nodes.users.resolver import ResolveError, Resolver
from nodes.users.visiting import Place, Places
from nodes.wire.directory import TierView
from nodes.wire.hops import Hop, Hops
from nodes.wire.http_client import HttpClient
from nodes.wire.service import Call, current_call
from protocols.errors import RpcError

WHY: Final = "why"
TIMEOUT_S: Final = 10.0
SHOWN: Final = ("cache-status", "cache-control", "age", "content-type")
MOST_CHARS: Final = 2048


class Follower:
    """Asks as a user of this node would. `resolver` None: they know the tier's members."""

    def __init__(
        self, ctx: Context, places: Places, visited: TierView, resolver: Resolver | None, host: str
    ) -> None:
        self.ctx = ctx
        self.places = places
        self.visited = visited
        self.resolver = resolver
        self.host = host

    async def why(self, call: Call, url: str) -> dict[str, Any]:
        """`url`: `/path` at the site, or a whole one. Raises RpcError."""
        host, port, path = _parsed(url)
        clock = self.ctx.clock
        began_s = clock.monotonic_s()
        found: list[Hop] = []
        if host in ("", self.host):
            place, how = await self._find()
            found.append(how._replace(time_s=clock.monotonic_s() - began_s))
        else:
            place = Place(host, port)
        node = self._node_at(place)
        hops = Hops(clock.monotonic_s())
        asking = Call(deadline_s=clock.monotonic_s() + TIMEOUT_S, trace=call.trace)
        asking.hops = hops
        token = current_call.set(asking)
        client = HttpClient(self.ctx, max_idle=0, agent="emu-why")
        try:
            response = await client.request(
                "GET", path, host=node, port=place.port, timeout_s=TIMEOUT_S,
                host_header=self.host if host in ("", self.host) else host,
            )  # fmt: skip
        finally:
            current_call.reset(token)
            client.close()
        ended_s = clock.monotonic_s()
        own, *others = hops.ended(self.ctx.name, self.ctx.tier, ended_s)
        if others:  # the way there and back is of whom it leads to
            others[0] = others[0]._replace(time_s=others[0].time_s + own.time_s)
        found += others
        told = {name: response.header(name) for name in SHOWN}
        return {
            "url": url,
            "status": response.status,
            "time_s": round(ended_s - began_s, 6),
            "region": self.ctx.region,
            "hops": [{**hop._asdict(), "time_s": round(hop.time_s, 6)} for hop in found],
            "headers": {name: value for name, value in told.items() if value is not None},
        }

    async def _find(self) -> tuple[Place, Hop]:
        """Where the site is, and who said so."""
        if self.resolver is None:
            place = await self.places.choose("why", 0)
            why = "users without a resolver know the members"
            return place, Hop("directory", "directory", place.host, why, 0.0)
        asked = self._asked()
        try:
            addresses = await self.resolver.resolve(self.host, client="why")
        except ResolveError as error:
            raise RpcError("unavailable", f"DNS: {error}") from error
        kept = self._asked() == asked
        why = "kept by the resolver: its time to live is not over" if kept else "asked of DNS"
        members = self.visited.members
        place = Place(addresses[0], members[0].port if members else HTTP_PORT)
        decision = f"{self.host} is {', '.join(map(self._named, addresses))}"
        return place, Hop("resolver", "dns", decision, why, 0.0)

    def _asked(self) -> float:
        return self.ctx.metrics.total("resolutions_total", result="miss") or 0.0

    def _node_at(self, place: Place) -> str:
        for member in self.visited.members:
            if place.host in (member.address, member.name):
                return member.name
        return place.host

    def _named(self, address: str) -> str:
        name = self._node_at(Place(address, 0))
        return name if name == address else f"{address} ({name})"


def _parsed(url: str) -> tuple[str, int, str]:
    """(host or "", port, path). Raises RpcError."""
    if not isinstance(url, str) or not url.isascii() or len(url) > MOST_CHARS or " " in url:
        raise RpcError("bad_request", "a URL: ASCII, without blanks")
    if url.startswith("/"):
        return "", HTTP_PORT, url
    parts = urlsplit(url)
    try:
        port = parts.port or HTTP_PORT
    except ValueError as error:
        raise RpcError("bad_request", str(error)) from None
    if parts.scheme != "http" or not parts.hostname:
        raise RpcError("bad_request", f"{url[:60]} is no http:// URL, and no path")
    query = f"?{parts.query}" if parts.query else ""
    return parts.hostname, port, (parts.path or "/") + query
