"""What a load run is told: against what, how hard, how long. Pure; its limits have names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from nodes.parts.changing import Constant, Rate

MAX_RATE_PER_S: Final = 1_000_000.0
MAX_CONNECTIONS: Final = 10_000
MAX_DEPTH: Final = 1_024
DEFAULT_PORTS: Final = {"http": 80, "rpc": 7000}
NO_RATE: Final = Constant(0.0)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server to ask, and in which language."""

    protocol: Literal["http", "rpc"]
    host: str
    port: int
    path: str = "/"

    @property
    def shown(self) -> str:
        path = self.path if self.protocol == "http" else ""
        return f"{self.protocol}://{self.host}:{self.port}{path}"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. With a rate it is an open loop (requests come when they are due, whatever the
    answers do), without one a closed loop (a connection asks again when it has its answer)."""

    endpoints: tuple[Endpoint, ...]
    for_s: float
    rate: Rate = NO_RATE
    """It may change while it runs."""
    connections: int = 10
    depth: int = 1
    """Requests in flight on one connection (HTTP: 1)."""
    timeout_s: float = 5.0
    method: str = "ping"
    params: tuple[Any, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def is_open(self) -> bool:
        """Whether requests come by themselves, at a rate."""
        return self.rate.peak_per_s > 0

    def __post_init__(self) -> None:
        _within("rate", self.rate.least_per_s, 0, MAX_RATE_PER_S)
        _within("rate", self.rate.peak_per_s, 0, MAX_RATE_PER_S)
        _within("connections", self.connections, 1, MAX_CONNECTIONS)
        _within("depth", self.depth, 1, MAX_DEPTH)
        if not self.endpoints:
            raise ValueError("there is nothing to ask")
        if self.depth > 1 and self.endpoints[0].protocol == "http":
            raise ValueError("depth: HTTP answers one request at a time on a connection; use 1")


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name}: {value:g} is not between {least:g} and {most:g}")


def parse_url(text: str) -> Endpoint:
    """`http://host:port/path` or `rpc://host:port`. Raises ValueError that says what to write."""
    parts = urlsplit(text)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"`{text}`: write http://HOST:PORT/PATH, rpc://HOST:PORT or a tier")
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"`{text}`: the port is not a number up to 65535") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    protocol: Literal["http", "rpc"] = "http" if parts.scheme == "http" else "rpc"
    return Endpoint(protocol, parts.hostname, port or DEFAULT_PORTS[parts.scheme], path)
