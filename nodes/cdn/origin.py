"""Whom an edge asks for what it has not: members of a tier, or one address outside; and when it
stops asking, because nothing comes of it.
"""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

import trio

from nodes.base import Context
from nodes.cdn.config import MOST_DOUBLINGS, CdnConfig
from nodes.parts.breaker import Breaker, State
from nodes.wire.directory import Directory, TierView
from nodes.wire.http_client import Answer, HttpClient
from protocols.caching.keys import Key
from protocols.control import Member
from protocols.errors import RpcError
from protocols.http.message import Body

SILENT: Final = frozenset({"unavailable", "timeout"})


class Place(NamedTuple):
    host: str
    port: int


class _Question(NamedTuple):
    method: str
    where: Key
    headers: list[tuple[str, str]]
    body: bytes | Body
    length_bytes: int | None


class Origin:
    """Asks one member, and where that cannot be reached another one."""

    def __init__(self, ctx: Context, config: CdnConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.breaker = Breaker(failures=config.fails, open_s=config.backoff_s)
        self._client = HttpClient(ctx, agent="")
        self._view: TierView | None = None
        self._found = trio.Event()
        metrics = ctx.metrics
        self._asked = {
            outcome: metrics.counter(
                "cdn_origin_requests_total",
                "Requests to the origin, by what came: an answer, a failure, or (left alone) none, "
                "because it failed too often just before.",
                outcome=outcome,
            )
            for outcome in ("answered", "failed", "left_alone")
        }
        self._seconds = metrics.histogram(
            "cdn_origin_seconds", "Seconds that the origin took for an answer."
        )
        metrics.gauge(
            "cdn_origin_up",
            "1 while the origin is asked, 0 while it is left alone after failures.",
            lambda: float(self.up),
        )  # fmt: skip

    @property
    def up(self) -> bool:
        return self.breaker.state is not State.OPEN

    async def find(self, directory: Directory) -> None:
        if not self.config.is_outside:
            self._view = await directory.follow(self.config.origin)
        self._found.set()

    async def caches(self) -> list[str]:
        """Its members that are edges themselves (a shield), once these are known."""
        await self._found.wait()
        members = () if self._view is None else self._view.members
        return [each.name for each in members if each.kind == self.ctx.kind]

    async def ask(
        self,
        method: str,
        where: Key,
        headers: list[tuple[str, str]],
        body: bytes | Body = b"",
        length_bytes: int | None = None,
    ) -> Answer:
        """Its answer, whose body is to be read, or aborted. Raises RpcError: nothing came, or it is
        left alone just now."""
        clock, breaker = self.ctx.clock, self.breaker
        began_s = clock.monotonic_s()
        if not breaker.allow(began_s):
            self._asked["left_alone"].value += 1
            raise RpcError("unavailable", f"{self.config.origin} is left alone for a while")
        try:
            answer = await self._ask(_Question(method, where, headers, body, length_bytes))
        except RpcError as error:
            self._failed(error)
            raise
        finally:
            breaker.ended()
        self._seconds.observe(clock.monotonic_s() - began_s)
        self._asked["answered"].value += 1
        self._answered()
        return answer

    async def _ask(self, question: _Question) -> Answer:
        places = self._places(question.where)
        if not places:
            raise RpcError("unavailable", f"the origin {self.config.origin} has no members")
        for place in places[:-1]:
            try:
                return await self._ask_at(place, question)
            except RpcError as error:
                if error.code != "unavailable":  # it may have heard of it
                    raise
        return await self._ask_at(places[-1], question)

    async def _ask_at(self, place: Place, question: _Question) -> Answer:
        method, where, headers, body, length_bytes = question
        return await self._client.stream(
            method, where.target, host=place.host, port=place.port, headers=headers, body=body,
            length_bytes=length_bytes, timeout_s=self.config.timeout_s,
            host_header=where.host or place.host,
        )  # fmt: skip

    def _places(self, where: Key) -> list[Place]:
        """Whom to ask, in this order: two at most."""
        if self._view is None:
            return [Place(*self.config.address())] if self.config.is_outside else []
        members = self._view.ready or self._view.members
        near = [each for each in members if each.region == self.ctx.region]
        return [Place(each.name, each.port) for each in self._ordered(near or members, where)[:2]]

    def _ordered(self, members: tuple[Member, ...] | list[Member], where: Key) -> list[Member]:
        """A URL's is always the same while it is there: a shield has it once."""
        text = str(where)
        return sorted(
            members, key=lambda each: zlib.crc32(f"{each.name} {text}".encode()), reverse=True
        )

    def _failed(self, error: RpcError) -> None:
        """One that takes no connection, or says nothing, is down; what breaks may be one page's own
        fault."""
        self._asked["failed"].value += 1
        if error.code not in SILENT:
            return
        opened = self.breaker.opened
        self.breaker.failure(self.ctx.clock.monotonic_s())
        if self.breaker.opened == opened:
            return
        self.ctx.log.warning("origin left alone", origin=self.config.origin,
                             for_s=self.breaker.open_s)  # fmt: skip
        most_s = 2**MOST_DOUBLINGS * self.config.backoff_s
        self.breaker.open_s = min(most_s, 2 * self.breaker.open_s)

    def _answered(self) -> None:
        was_up = self.breaker.state is State.CLOSED
        self.breaker.success()
        if not was_up and self.breaker.state is State.CLOSED:
            self.breaker.open_s = self.config.backoff_s
            self.ctx.log.info("origin answers again", origin=self.config.origin)
