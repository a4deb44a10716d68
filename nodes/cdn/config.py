"""What a topology may say of a tier of edges, and nothing that happens there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, get_args

from nodes.base import HTTP_PORT
from nodes.parts.eviction import EvictionName
from nodes.wire.http_server import HttpLimits
from protocols.http import message as http

LEAST_TIMEOUT_S: Final = 0.001
_OUTSIDE: Final = re.compile(
    r"http://(\d{1,3}(?:\.\d{1,3}){3}|localhost)(?::(\d{1,5}))?/?", re.ASCII
)
LOCALHOST: Final = "127.0.0.1"
MOST_DOUBLINGS: Final = 2
"""Of `backoff`, after failures in a row: what is well again is found out within four of it."""


class Address(NamedTuple):
    """Of an origin outside the cluster."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class CdnConfig:
    """What a topology may say of a tier of edges. Times are seconds, sizes bytes."""

    origin: str
    """Where objects come from: a tier (`origin: lb`; another tier of edges is an origin shield,
    which hears of purges if it is named here, and not behind a balancer), or an address outside, so
    that an edge stands before a server of your own: `origin: http://127.0.0.1:8000`."""
    capacity_bytes: int = 64 << 20
    """Of all objects together; beyond it some are evicted."""
    eviction: EvictionName = "lru"
    """Who leaves a full edge: `lru`, `fifo`, `sieve` or `s3fifo`."""
    max_object_bytes: int = 4 << 20
    """A larger object is passed on and not kept."""
    max_variants: int = 16
    """Of one URL, by `Vary`; the oldest goes."""
    grace_s: float = 0.0
    """Where the origin says nothing of `stale-if-error`: for how long a stale object is served when
    it fails."""
    hit_for_miss_s: float = 10.0
    """An object that may not be kept: for so long its requests do not wait for each other."""
    obey_clients: bool = True
    """Whether a client's own `Cache-Control` counts: reload, only-if-cached, max-stale ..."""
    timeout_s: float = 5.0
    """The time that the origin has for an answer."""
    fails: int = 3
    """So many times in a row unreachable or silent, and the origin is left alone for `backoff`."""
    backoff_s: float = 1.0
    """For how long; of a single object, too, whose stale copy is served. It doubles with each trial
    that fails, up to four times this."""
    max_in_flight: int = 1024
    """Requests in hand; further ones are answered 503."""
    max_body_bytes: int = 1 << 20
    """Of a request; a larger one is answered 413."""
    idle_timeout_s: float = 60.0
    """A connection without a request is closed after so long."""

    def __post_init__(self) -> None:
        if self.eviction not in get_args(EvictionName):
            known = ", ".join(get_args(EvictionName))
            raise ValueError(f"`eviction: {self.eviction}` is not known; choose from {known}")
        if self.is_outside:
            self.address()
        if min(self.max_in_flight, self.max_body_bytes) < 1:
            raise ValueError("`max_in_flight` and `max_body` must be at least 1: 0 lets nothing in")
        for name in ("timeout", "backoff", "idle_timeout"):
            if getattr(self, f"{name}_s") < LEAST_TIMEOUT_S:
                raise ValueError(f"`{name}` must be at least {LEAST_TIMEOUT_S * 1000:g}ms")
        if min(self.grace_s, self.hit_for_miss_s) < 0:
            raise ValueError("`grace` and `hit_for_miss` must not be below 0")
        if min(self.fails, self.max_variants, self.capacity_bytes, self.max_object_bytes) < 1:
            raise ValueError("`fails`, `max_variants`, `capacity` and `max_object` must be above 0")

    @property
    def is_outside(self) -> bool:
        return "://" in self.origin

    def address(self) -> Address:
        """Of an origin outside. Raises ValueError."""
        found = _OUTSIDE.fullmatch(self.origin)
        if found is None:
            raise ValueError(
                f"`origin`: {self.origin} is no address: write http://127.0.0.1:PORT, without a "
                "path; names are not looked up, but localhost"
            )
        host = LOCALHOST if found[1] == "localhost" else found[1]
        port = int(found[2] or 80)
        if not 0 < port < 65536 or any(int(each) > 255 for each in host.split(".")):
            raise ValueError(f"`origin`: there is no address {host}:{port}")
        return Address(host, port)

    @property
    def port(self) -> int:
        return self.address().port if self.is_outside else HTTP_PORT

    def http_limits(self) -> HttpLimits:
        connection = http.Limits(
            max_body_bytes=self.max_body_bytes, idle_timeout_s=self.idle_timeout_s
        )
        return HttpLimits(connection, self.max_in_flight, 2 * self.timeout_s)
