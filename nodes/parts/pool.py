"""The balancer's decisions: who is usable, who gets the next connection, who waits, who is ejected.

Pure and synchronous: it is told the time, its random numbers are passed in, and it moves no byte.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from nodes.parts.health import Health, Outlier
from nodes.parts.picking import algorithm_named
from nodes.parts.server import ADMIN_STATES, READY, Server, Waiting
from protocols.control import Member

ALL_DOWN: Final = "all down"
QUEUE_FULL: Final = "queue full"
EVENTS: Final = {
    "server added": "The balancer knows of a new server; its checks begin.",
    "server up": "A server passes its checks: it gets connections.",
    "server down": "A server fails its checks: it gets no new connections.",
    "server draining": "A server is about to end: it gets no new connections.",
    "server left": "A server is no longer in the directory.",
    "server ejected": "Real traffic failed at a server too often in a row: it is out for a while.",
    "server set to ready": "An operator lets a server have connections again.",
    "server set to drain": "An operator gives a server no new connections; it keeps its own.",
    "server set to maint": "An operator takes a server out of use.",
    "all servers down": "No server passes its checks: clients get what `when_down` says.",
    "servers available": "Some server passes its checks again.",
    "panic begins": "So few servers are well that all are used (`panic_threshold`).",
    "panic ends": "Enough servers are well again.",
}


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """What the decisions depend on; the tier's Config carries the same names."""

    algorithm: str = "roundrobin"
    region: str = ""
    """Prefer servers of this region while one of them is usable; empty: no preference."""
    weights: dict[str, int] = field(default_factory=dict)
    rise: int = 2
    fall: int = 3
    starts_up: bool = True
    max_conn: int = 0
    max_queue: int = 1024
    slow_start_s: float = 0.0
    flow_ttl_s: float = 60.0
    panic_threshold_ratio: float = 0.0
    eject_after_failures: int = 5
    ejection_time_s: float = 30.0
    max_ejected_ratio: float = 0.1


class Pool:
    """The servers of one balancer. `note(event, **fields)` hears of what an operator
    would want to know."""

    def __init__(
        self, config: PoolConfig, rng: random.Random, note: Callable[..., Any] = lambda *_, **__: 0
    ) -> None:
        self.config = config
        self.algorithm = algorithm_named(
            config.algorithm,
            rng=rng,
            slow_start_s=config.slow_start_s,
            flow_ttl_s=config.flow_ttl_s,
        )
        self.servers: dict[str, Server] = {}
        self.queue: deque[Waiting] = deque()
        """Connections that any server may take."""
        self.queued = 0
        """All who wait, here and for one server."""
        self.panic = False
        self._note = note
        self._picks = 0
        self._usable: tuple[Server, ...] = ()
        self._usable_until_s = float("-inf")

    # --- who is there ------------------------------------------------------------------------

    def set_members(self, members: Sequence[Member], now_s: float) -> list[Server]:
        """Follow the directory; returns the servers that are new, or new generations."""
        fresh: list[Server] = []
        listed = {member.name: member for member in members if member.ready}
        for name, member in listed.items():
            server = self.servers.get(name)
            if server is None:
                server = self._add(member)
                fresh.append(server)
                self._note("server added", server=name)
            elif server.generation != member.generation:
                server.generation = member.generation
                server.outlier = Outlier()
                if not self.config.starts_up:
                    server.health.forget()
                fresh.append(server)
            server.address, server.port = member.address, member.port
            server.departed = False
            if member.draining and not server.leaving:
                self._note("server draining", server=name, sessions=server.sessions)
            server.leaving = member.draining
        for name, server in self.servers.items():
            if name not in listed and not server.departed:
                server.departed = server.leaving = True
                self._note("server left", server=name, sessions=server.sessions)
        self._changed(now_s)
        return fresh

    def _add(self, member: Member) -> Server:
        config = self.config
        health = Health(config.rise, config.fall, starts_up=config.starts_up)
        server = Server(member, config.weights.get(member.name, 1), health)
        self.servers[member.name] = server
        return server

    def remove_finished(self) -> list[Server]:
        """Forget the departed that have no connection left; returns them."""
        gone = [server for server in self.servers.values() if server.departed and server.load == 0]
        for server in gone:
            del self.servers[server.name]
        return gone

    def set_state(self, name: str, state: str, now_s: float) -> None:
        """An operator's word. Raises LookupError for an unknown server or state."""
        if state not in ADMIN_STATES:
            raise LookupError(f"no state `{state}`; there are {', '.join(ADMIN_STATES)}")
        server = self.servers.get(name)
        if server is None:
            raise LookupError(f"no server `{name}`; there are {', '.join(self.servers)}")
        if server.admin != state:
            server.admin = state
            if state == READY:
                server.came_up_s = now_s
            self._note(f"server set to {state}", server=name, sessions=server.sessions)
            self._changed(now_s)

    def checked(self, server: Server, why: str, now_s: float) -> bool:
        """An active check passed (empty `why`) or failed; True if the server changed sides."""
        if not why:
            if not server.health.passed():
                return False
            server.came_up_s = now_s
            server.outlier = Outlier()
            self._note("server up", server=server.name)
        else:
            if not server.health.failed(why):
                return False
            self._note("server down", server=server.name, why=why, sessions=server.sessions)
        self._changed(now_s)
        return True

    def tick(self, now_s: float) -> None:
        """Time passed: an ejection may have ended."""
        if now_s >= self._usable_until_s:
            self._changed(now_s)

    # --- who may be used ---------------------------------------------------------------------

    def usable(self, now_s: float) -> tuple[Server, ...]:
        """The servers that may get a connection now."""
        if now_s >= self._usable_until_s:
            self._find_usable(now_s)
        return self._usable

    @property
    def load(self) -> int:
        """Connections that were given a server or wait for one."""
        return len(self.queue) + sum(server.load for server in self.servers.values())

    def up_count(self, now_s: float) -> int:
        return sum(each.wanted and each.healthy(now_s) for each in self.servers.values())

    def _find_usable(self, now_s: float) -> None:
        wanted = [server for server in self.servers.values() if server.wanted]
        region = self.config.region
        near = [server for server in wanted if region and server.region == region]
        if not any(server.healthy(now_s) for server in near):
            near = wanted
        before, self._usable = self._usable, tuple(self._healthy(near, now_s))
        ends = [each.outlier.ejected_until_s for each in wanted if each.outlier.ejected(now_s)]
        self._usable_until_s = min(ends, default=float("inf"))
        if self._usable != before:
            self.algorithm.changed(self._usable)
        if before and not self._usable:
            self._note("all servers down", servers=len(self.servers))
        elif self._usable and not before:
            self._note("servers available", servers=len(self._usable))

    def _healthy(self, servers: list[Server], now_s: float) -> list[Server]:
        """Those of them that are healthy; all of them in panic (too few, but not none, are)."""
        healthy = [server for server in servers if server.healthy(now_s)]
        panic = 0 < len(healthy) < self.config.panic_threshold_ratio * len(servers)
        if servers and panic != self.panic:
            self.panic = panic
            self._note("panic begins" if panic else "panic ends", healthy=len(healthy))
        return servers if panic else healthy

    def _changed(self, now_s: float) -> None:
        """States moved: choose anew who is usable, and let the queue follow."""
        self._usable_until_s = float("-inf")
        self._resettle(now_s)

    # --- connections -------------------------------------------------------------------------

    def take(
        self,
        key: str,
        now_s: float,
        on_settled: Callable[[], None],
        tried: Sequence[Server] = (),
    ) -> Server | Waiting | str:
        """A server for a new connection of the client `key`, none of those in `tried`.

        Or a place in the queue; or why not: ALL_DOWN, QUEUE_FULL.
        """
        candidates: Sequence[Server] = self.usable(now_s)
        if tried:
            candidates = [each for each in candidates if each not in tried]
        if not candidates:
            return ALL_DOWN
        server = self._choose(candidates, key, now_s)
        if server is not None and self._free(server):
            self._give(server, now_s)
            return server
        if self.queued >= self.config.max_queue:
            return QUEUE_FULL
        self._picks += 1
        waiting = Waiting(self._picks, key, tried, on_settled)
        self._enqueue(waiting, server)
        return waiting

    def _choose(self, candidates: Sequence[Server], key: str, now_s: float) -> Server | None:
        """None: all are full, whoever is free first may have it."""
        if not self.algorithm.sticky and self.config.max_conn:
            candidates = [each for each in candidates if self._free(each)]
            if not candidates:
                return None
        return self.algorithm.pick(candidates, key, now_s)

    def _free(self, server: Server) -> bool:
        most = self.config.max_conn
        return not most or server.sessions < most

    def _give(self, server: Server, now_s: float) -> None:
        assert server.wanted and (self.panic or server.healthy(now_s)), server
        assert self._free(server), server
        server.sessions += 1
        self._picks += 1
        server.picked = self._picks

    def _enqueue(self, waiting: Waiting, server: Server | None) -> None:
        waiting.wanted = server
        (self.queue if server is None else server.waiting).append(waiting)
        self.queued += 1
        assert self.queued <= self.config.max_queue, self.queued

    def give_up(self, waiting: Waiting) -> None:
        """It waited for too long, or its client left. A server it was given is
        given back by `release`."""
        line = self.queue if waiting.wanted is None else waiting.wanted.waiting
        if waiting in line:
            line.remove(waiting)
            self.queued -= 1

    def release(self, server: Server, now_s: float) -> None:
        """A connection ended: whoever waited longest gets the place."""
        assert server.sessions > 0, server
        server.sessions -= 1
        while self.queued and server in self.usable(now_s) and self._free(server):
            waiting = self._next_for(server)
            if waiting is None:
                return
            self._settle(waiting, server, now_s)

    def _next_for(self, server: Server) -> Waiting | None:
        shared = next((each for each in self.queue if server not in each.tried), None)
        own = server.waiting[0] if server.waiting else None
        if shared is None or own is None:
            return own or shared
        return own if own.number < shared.number else shared

    def _settle(self, waiting: Waiting, server: Server, now_s: float) -> None:
        self.give_up(waiting)
        self._give(server, now_s)
        waiting.server = server
        waiting.on_settled()

    def _turn_away(self, waiting: Waiting, why: str) -> None:
        self.give_up(waiting)
        waiting.refused = why
        waiting.on_settled()

    def _everyone_waiting(self) -> Iterator[Waiting]:
        yield from self.queue
        for server in self.servers.values():
            yield from server.waiting

    def _resettle(self, now_s: float) -> None:
        """The usable set may be another: the queue is offered to it again, in order."""
        usable = self.usable(now_s)
        if not self.queued:
            return
        for waiting in sorted(self._everyone_waiting(), key=lambda each: each.number):
            if not usable:
                self._turn_away(waiting, ALL_DOWN)
                continue
            if waiting.wanted in usable:
                continue
            left = [each for each in usable if each not in waiting.tried] or usable
            server = self._choose(left, waiting.key, now_s)
            if server is not None and self._free(server):
                self._settle(waiting, server, now_s)
            elif server is not waiting.wanted:
                self.give_up(waiting)
                self._enqueue(waiting, server)

    # --- what traffic says -------------------------------------------------------------------

    def succeeded(self, server: Server) -> None:
        server.outlier.succeeded()

    def failed(self, server: Server, now_s: float) -> None:
        """A connection to it could not be made, or broke before any answer."""
        limit = self.config.eject_after_failures
        if not server.health.up:
            return  # the checks took it out already
        if not limit or server.outlier.failed() < limit or server.outlier.ejected(now_s):
            return
        most = max(1, int(len(self.servers) * self.config.max_ejected_ratio))
        out = sum(each.outlier.ejected(now_s) for each in self.servers.values())
        if out >= most or self.usable(now_s) == (server,):
            return  # never the last one: a server that fails at times is better than none
        until_s = server.outlier.eject(now_s, self.config.ejection_time_s)
        self._note("server ejected", server=server.name, for_s=round(until_s - now_s, 3))
        self._changed(now_s)
