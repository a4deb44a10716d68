"""What a topology may say of a balancer tier, and nothing that happens there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from nodes.checking import CHECKS, CheckName
from nodes.parts.health import MIN_INTERVAL_S, expect_checks
from nodes.parts.picking import ALGORITHMS, AlgorithmName

HashOn = Literal["address", "address_port"]
WhenDown = Literal["close", "http_503"]
InitState = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class BalancerConfig:
    """What a topology may say of a balancer tier. Defaults are HAProxy's where it has one."""

    balances: str
    """The tier whose members get the connections: `balances: web`."""
    algorithm: AlgorithmName = "roundrobin"
    """How a server is chosen; source and maglev send a client to the same server each time."""
    hash_on: HashOn = "address"
    """What source and maglev hash of a client: `address`, or
    `address_port` (every connection apart)."""
    weights: dict[str, int] = field(default_factory=dict)
    """By server name; 1 where nothing is said, 0 for none: `weights: {web-1: 3}`."""
    prefer_local: bool = True
    """Servers of the balancer's own region first; others only when none of those is up."""
    check: CheckName = "rpc"
    """rpc (ping), http (GET check_path), tcp (connect) or none."""
    check_path: str = "/"
    """What a check by http asks for; 200 to 399 is well."""
    check_interval_s: float = 2.0
    """How often each server is checked."""
    check_fast_interval_s: float = 1.0
    """How often while it is about to change: not yet up, or not yet down."""
    check_timeout_s: float = 1.0
    """A check that has no answer by then has failed."""
    check_jitter_ratio: float = 0.2
    """By how much the intervals differ at random, so that checks do not come together."""
    rise: int = 2
    """Passed checks in a row until a server is used."""
    fall: int = 3
    """Failed checks in a row until it is not."""
    init_state: InitState = "up"
    """A server that is new or started anew: `up` until a check fails, or `down` until one passes
    (it is looked at very often until then)."""
    max_conn: int = 0
    """Connections at one server; more wait in the queue. 0: no limit."""
    max_queue: int = 1024
    """Connections that wait for a server at most; further ones are refused."""
    queue_timeout_s: float = 5.0
    """So long a connection waits for a server, then it is refused."""
    connect_timeout_s: float = 2.0
    """A server that has not accepted by then is taken for unreachable."""
    retries: int = 3
    """Further attempts to connect, each on a server not tried yet if there is one."""
    max_connections: int = 16384
    """Of clients at a time; further ones are closed at once."""
    idle_timeout_s: float = 300.0
    """A flow through which nothing moves is closed after so long."""
    client_fin_timeout_s: float = 30.0
    """A flow of which one direction has ended is closed when nothing moves for so long."""
    slow_start_s: float = 0.0
    """A server that has come up gets its full share only after so long."""
    panic_threshold_ratio: float = 0.0
    """When less than this part is healthy (but not none), use all. Envoy's default is 0.5."""
    eject_after_failures: int = 5
    """Failures of real traffic in a row that take a server out; 0: never."""
    ejection_time_s: float = 30.0
    """For how long, times the ejections so far."""
    max_ejected_ratio: float = 0.1
    """The part of the servers that may be out at a time."""
    flow_ttl_s: float = 60.0
    """Maglev's flow table forgets a client after so long without a new connection."""
    close_on_down: bool = False
    """Whether a server that is marked down loses its established connections."""
    when_down: WhenDown = "close"
    """close: at once. http_503: a 503 with Retry-After to clients that speak HTTP, a reset else."""
    proxy_protocol: bool = False
    """Begin each connection to a server with a PROXY v2 header."""

    def __post_init__(self) -> None:
        _expect("algorithm", self.algorithm, ALGORITHMS)
        _expect("check", self.check, CHECKS)
        _expect("when_down", self.when_down, get_args(WhenDown))
        _expect("init_state", self.init_state, get_args(InitState))
        _expect("hash_on", self.hash_on, get_args(HashOn))
        expect_checks(rise=self.rise, fall=self.fall, check_interval=self.check_interval_s,
                      check_fast_interval=self.check_fast_interval_s)  # fmt: skip
        if self.max_connections < 1:
            raise ValueError("`max_connections` must be at least 1")
        for name in ("connect_timeout", "queue_timeout", "idle_timeout", "client_fin_timeout"):
            if getattr(self, f"{name}_s") < MIN_INTERVAL_S:
                raise ValueError(f"`{name}` must be at least {MIN_INTERVAL_S * 1000:g}ms")
        if not 0 <= self.check_jitter_ratio < 1:
            raise ValueError("`check_jitter_ratio` must be at least 0 and below 1")


def _expect(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"`{name}: {value}` is not known; choose from {', '.join(known)}")
