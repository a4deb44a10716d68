"""Which of these servers gets the connection: the balancing algorithms, each a pure class.

`pick(candidates, key, now_s)` chooses among servers that may be used; `sticky` ones choose the same
for the same key, so a connection waits for that very server when it is full.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Literal, Protocol, get_args

from nodes.parts.server import Server
from protocols.hashing.slots import MaglevBuilder, hash64

AlgorithmName = Literal["roundrobin", "least_conn", "source", "maglev", "p2c"]
ALGORITHMS: Final[tuple[str, ...]] = get_args(AlgorithmName)
MAX_REMEMBERED_KEYS: Final = 65536
"""Maglev's flow table; the least recently used key is forgotten first."""


class Algorithm(Protocol):
    """How to choose. `candidates` are never empty."""

    sticky: bool

    def pick(self, candidates: Sequence[Server], key: str, now_s: float) -> Server: ...

    def changed(self, servers: Sequence[Server]) -> None:
        """These are now all the servers that may be used."""
        ...


class RoundRobin:
    """Smooth weighted round robin: a server of weight 3 has 3 turns of 4, evenly spread."""

    sticky = False

    def __init__(self, slow_start_s: float = 0.0) -> None:
        self._slow_start_s = slow_start_s

    def pick(self, candidates: Sequence[Server], key: str, now_s: float) -> Server:
        total = 0.0
        best = candidates[0]
        for server in candidates:
            weight = server.effective_weight(now_s, self._slow_start_s)
            server.credit += weight
            total += weight
            if server.credit > best.credit:
                best = server
        best.credit -= total
        return best

    def changed(self, servers: Sequence[Server]) -> None:
        for server in servers:
            server.credit = 0.0


class LeastConn:
    """The smallest load per weight, queued connections included; round robin among equals."""

    sticky = False

    def __init__(self, slow_start_s: float = 0.0) -> None:
        self._slow_start_s = slow_start_s

    def pick(self, candidates: Sequence[Server], key: str, now_s: float) -> Server:
        def cost(server: Server) -> tuple[float, int]:
            weight = server.effective_weight(now_s, self._slow_start_s)
            return (server.load + 1) / weight, server.picked

        return min(candidates, key=cost)

    def changed(self, servers: Sequence[Server]) -> None:
        pass


class PowerOfTwo:
    """Two at random, the less loaded of them."""

    sticky = False

    def __init__(self, rng: random.Random, slow_start_s: float = 0.0) -> None:
        self._rng = rng
        self._slow_start_s = slow_start_s

    def pick(self, candidates: Sequence[Server], key: str, now_s: float) -> Server:
        if len(candidates) == 1:
            return candidates[0]
        first, second = self._rng.sample(candidates, 2)
        if self._cost(second, now_s) < self._cost(first, now_s):
            return second
        return first

    def _cost(self, server: Server, now_s: float) -> float:
        return (server.load + 1) / server.effective_weight(now_s, self._slow_start_s)

    def changed(self, servers: Sequence[Server]) -> None:
        pass


class SourceHash:
    """The client's hash modulo the total weight: the same client, the same server, until the set
    of servers changes (then most clients move)."""

    sticky = True

    def pick(self, candidates: Sequence[Server], key: str, now_s: float) -> Server:
        point = hash64(key) % sum(server.weight for server in candidates)
        for server in candidates:
            point -= server.weight
            if point < 0:
                return server
        return candidates[-1]

    def changed(self, servers: Sequence[Server]) -> None:
        pass


class Maglev:
    """The flow table first; then the lookup table, in which few clients move when servers change.

    The lookup table is rebuilt in steps (`build`); until it is complete the old one serves, and an
    entry whose server may not be used passes on to the next entry.
    """

    sticky = True

    def __init__(self, flow_ttl_s: float = 60.0) -> None:
        self._flow_ttl_s = flow_ttl_s
        self._flows: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._names: tuple[str, ...] = ()
        self._table: list[int] = []
        self._builder: MaglevBuilder | None = None
        self._fallback = SourceHash()

    @property
    def building(self) -> bool:
        return self._builder is not None

    def build(self, entries: int = 256) -> bool:
        """Go on with the new table for some entries; True when there is nothing left to do."""
        builder = self._builder
        if builder is None:
            return True
        if not builder.step(entries):
            return False
        self._names, self._table, self._builder = builder.names, builder.table, None
        return True

    def changed(self, servers: Sequence[Server]) -> None:
        weights = {server.name: server.weight for server in servers}
        self._builder = MaglevBuilder(sorted(weights), weights)

    def pick(self, candidates: Sequence[Server], key: str, now_s: float) -> Server:
        usable = {server.name: server for server in candidates}
        flow = self._flows.get(key)
        server = None
        if flow is not None and now_s < flow[1]:
            server = usable.get(flow[0])
        if server is None:
            server = self._look_up(usable, key) or self._fallback.pick(candidates, key, now_s)
        self._flows[key] = (server.name, now_s + self._flow_ttl_s)
        self._flows.move_to_end(key)
        if len(self._flows) > MAX_REMEMBERED_KEYS:
            self._flows.popitem(last=False)
        return server

    def _look_up(self, usable: dict[str, Server], key: str) -> Server | None:
        names, table = self._names, self._table
        if not any(name in usable for name in names):
            return None
        at = hash64(key) % len(table)
        while names[table[at]] not in usable:
            at = at + 1 if at + 1 < len(table) else 0
        return usable[names[table[at]]]


def algorithm_named(
    name: str, *, rng: random.Random, slow_start_s: float, flow_ttl_s: float
) -> Algorithm:
    """Raises ValueError for a name that is not in ALGORITHMS."""
    match name:
        case "roundrobin":
            return RoundRobin(slow_start_s)
        case "least_conn":
            return LeastConn(slow_start_s)
        case "p2c":
            return PowerOfTwo(rng, slow_start_s)
        case "source":
            return SourceHash()
        case "maglev":
            return Maglev(flow_ttl_s)
    raise ValueError(f"no algorithm `{name}`; there are {', '.join(ALGORITHMS)}")
