"""How an edge answers: from what it keeps, or through it from the origin, once for all who ask at a
time. The decisions are edge.py's, the way to the origin is fetching.py's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from nodes.base import Context
from nodes.cdn import answering, hits, reach
from nodes.cdn.asked import READING, Asked, asked, hops_left, understood, upstream, went_through
from nodes.cdn.edge import Edge, Look
from nodes.cdn.fetching import LENGTH, Flights, interim_on, passed_on
from nodes.cdn.flight import Carried, Flight
from nodes.cdn.hits import PURGED
from nodes.cdn.purges import Purge, decoded
from nodes.cdn.series import Series
from nodes.wire.http_connection import AnyResponse
from nodes.wire.http_server import Endpoint, Via
from nodes.wire.service import current_call
from protocols.caching import reuse, storing
from protocols.caching.reuse import Stored
from protocols.caching.storing import NOT_MODIFIED
from protocols.caching.telling import CacheStatus
from protocols.control import PURGE
from protocols.errors import RpcError
from protocols.http.message import Request, Response, StreamedResponse

LOOP: Final = 508
NO_CONTENT: Final = 204
NOT_IMPLEMENTED: Final = 501


class Desk:
    """Takes the requests of one edge."""

    def __init__(
        self,
        ctx: Context,
        edge: Edge,
        flights: Flights,
        purge: Callable[[Purge], Awaitable[int]],
    ) -> None:
        self.ctx = ctx
        self.edge = edge
        self.flights = flights
        self.ages = flights.ages
        self.purge = purge
        self.series = Series(ctx.metrics, edge)
        self._read = Endpoint("read", self._get)
        self._at_once = Endpoint("read", self._hit, at_once=True)
        self._found: hits.Ready | None = None
        self._written = Endpoint("write", self._pass, streams=True)

    def _say(self, told: CacheStatus) -> None:
        """To whoever follows the request."""
        call = current_call.get()
        if call is not None and call.hops is not None:
            word, _, why = told.detail.partition(": ")
            call.hops.say(word, why)

    def find(self, request: Request) -> Endpoint:
        if request.method not in READING:
            return self._written
        self._found = hits.ready(self.edge, request, self.ages.now_s())
        return self._read if self._found is None else self._at_once

    def _hit(self, request: Request, via: Via) -> Response:
        """What `find` has just found, or (where something waited in between) finds again."""
        found, self._found = self._found, None
        if found is None or found.request is not request:
            found = hits.ready(self.edge, request, self.ages.now_s())
        if found is None:
            raise RpcError("unavailable", "it was fresh a moment ago; ask again")
        self.series.hits.value += 1
        return hits.answer(found, self.edge.name)

    # --- reading -----------------------------------------------------------------------------

    async def _get(self, request: Request, via: Via) -> AnyResponse:
        if PURGED in request.headers and PURGE in via.rights:
            await self._catch_up(request.headers[PURGED])
        request = understood(request)
        wanted = asked(request, obey=self.edge.config.obey_clients)
        now_s = self.ages.now_s()
        look = self.edge.look(wanted, now_s)
        kept = look.kept
        if kept is not None:
            assert look.decision is not None
            if look.decision.use == "hit":
                return self._from_store(request, kept.stored, "HIT", look.why)
            if look.decision.use == "stale":
                self.ctx.reached(reach.WHILE)
                self.flights.refresh(request, wanted, kept)
                return self._from_store(request, kept.stored, "STALE", look.why)
            if resting := self.edge.resting(wanted, look, now_s):
                return self._from_store(request, kept.stored, "STALE", resting)
        if "only-if-cached" in wanted.policy:
            raise RpcError("timeout", f"only-if-cached, and {look.why}")
        if went_through(request, self.edge.name):
            return _loop()
        return await self._through(request, wanted, look)

    async def _catch_up(self, told: str) -> None:
        """An edge that asks us may know of a purge that missed us."""
        try:
            purge = decoded(told)
        except ValueError:
            return
        if purge.name not in self.edge.purges:
            self.ctx.reached(reach.TOLD)
            await self.purge(purge)

    async def _through(self, request: Request, wanted: Asked, look: Look) -> AnyResponse:
        """Ask the origin, or wait for the answer to somebody who asked the same just before."""
        shared = _may_wait(wanted, look)
        flight = self.flights.waiting_for(wanted) if shared else None
        if flight is not None:
            self.series.collapsed.value += 1
            self.ctx.reached(reach.COLLAPSED)
            await flight.done.wait()
            answer = self._shared(request, wanted, flight, look)
            if answer is not None:
                return answer
            self.ctx.reached(reach.NOT_SHARED)
            look = self.edge.look(wanted, self.ages.now_s())
            shared = False  # each of those who waited in vain asks for itself, at once
        flight = self.flights.begin(request, wanted, look.kept, shared=shared)
        try:
            await flight.done.wait()
            return self._own(request, wanted, flight, look)
        finally:
            flight.leave()

    # --- what becomes of a flight --------------------------------------------------------------

    def _own(self, request: Request, wanted: Asked, flight: Flight, look: Look) -> AnyResponse:
        """The answer to whoever began it."""
        if flight.stored is not None:
            return self._from_flight(request, flight, look, collapsed=False)
        if flight.error is not None or flight.content is None:
            return self._failed(request, wanted, flight, look)
        told = CacheStatus(self.edge.name, forward=look.forward)
        told.detail = f"BYPASS: {look.why}; {flight.why}"
        self.series.count("bypass")
        self._say(told)
        headers = answering.appended(flight.headers, told)
        return StreamedResponse(
            flight.status, headers, flight.take(), flight.length_bytes, flight.interim
        )

    def _shared(
        self, request: Request, wanted: Asked, flight: Flight, look: Look
    ) -> AnyResponse | None:
        """The answer to one who waited; None: it is not for them."""
        if flight.is_failure and flight.stored is None:
            return self._failed(request, wanted, flight, look, shared=True)
        again = self.edge.look(wanted, self.ages.now_s())
        if again.kept is None or again.kept.stored is not flight.stored:
            return None
        return self._from_flight(request, flight, look, collapsed=True)

    def _from_flight(
        self, request: Request, flight: Flight, look: Look, *, collapsed: bool
    ) -> AnyResponse:
        stored = flight.stored
        assert stored is not None
        confirmed = flight.status == NOT_MODIFIED
        word = "REVALIDATED" if confirmed else "MISS" if look.kept is None else "EXPIRED"
        now_s = self.ages.now_s()
        told = CacheStatus(
            self.edge.name,
            forward=look.forward,
            forward_status=flight.status if confirmed else 0,
            ttl_s=int(stored.left_s(now_s)),
            stored=not flight.why,
            collapsed=collapsed,
            detail=f"{word}: {look.why}; now {flight.why or stored.freshness.rule}",
        )
        if not collapsed:
            own = storing.for_one(flight.status, flight.headers, stored.policy)
            stored = reuse.with_fields(stored, own) if own else stored
        self.series.count(word.lower())
        before = "" if confirmed else answering.before(flight.headers)
        answer = self._answered(request, stored, told, before)
        if not flight.interim or collapsed:
            return answer
        content, length = Carried([answer.body]), len(answer.body)
        return StreamedResponse(answer.status, answer.headers, content, length, flight.interim)

    def _failed(
        self, request: Request, wanted: Asked, flight: Flight, look: Look, *, shared: bool = False
    ) -> AnyResponse:
        """What is stored, stale as it is, where that is allowed; else the failure, whose words are
        for the one who asked."""
        now_s = self.ages.now_s()
        told = CacheStatus(self.edge.name, forward=look.forward, forward_status=flight.status)
        allowed = self.edge.stale_if_error(wanted, look.kept, now_s)
        if allowed and flight.is_failure and look.kept is not None:
            self.ctx.reached(reach.IF_ERROR)
            stored = look.kept.stored
            told.hit, told.ttl_s = True, int(stored.left_s(now_s))
            told.detail = f"STALE: {allowed}; the origin failed: {flight.failed}"
            self.series.count("stale")
            return self._answered(request, stored, told)
        if flight.error is not None:
            self.series.count("failed")
            raise flight.error
        if shared:
            self.series.count("failed")
            raise RpcError("unavailable", f"the origin failed: {flight.failed}")
        word = "failed" if flight.is_failure else "bypass"
        self.series.count(word)
        told.forward_status = 0
        told.detail = f"{word.upper()}: {look.why}; {flight.why or flight.failed}"
        self._say(told)
        return Response(flight.status, answering.appended(flight.headers, told), flight.body)

    def _from_store(self, request: Request, stored: Stored, word: str, why: str) -> Response:
        now_s = self.ages.now_s()
        told = CacheStatus(
            self.edge.name, hit=True, ttl_s=int(stored.left_s(now_s)), detail=f"{word}: {why}"
        )
        self.series.count(word.lower())
        return self._answered(request, stored, told)

    def _answered(
        self, request: Request, stored: Stored, told: CacheStatus, before: str = ""
    ) -> Response:
        self._say(told)
        ages = self.ages
        return answering.answer(stored, request.headers, told, ages.now_s(), ages.wall_s(), before)

    # --- writing -----------------------------------------------------------------------------

    async def _pass(self, request: Request, via: Via) -> AnyResponse:
        """On to the origin, as it comes; what it may have changed is no longer served."""
        wanted = asked(request, obey=False)
        if went_through(request, self.edge.name):
            return _loop()
        if hops_left(request) == 0:
            return Response(NO_CONTENT if request.method == "OPTIONS" else NOT_IMPLEMENTED)
        status = 0
        headers: list[tuple[str, str]] = []
        try:
            answer = await self.flights.origin.ask(
                wanted.method,
                wanted.key,
                upstream(request, self.edge.name, cacheable=False),
                request.body if request.content is None else request.content,
                _length(request),
            )
            status = answer.status
            headers, length = passed_on(answer.headers)
        finally:
            self.flights.spoil(self.edge.invalidate(wanted, status, headers))
        self.series.count("bypass")
        told = CacheStatus(self.edge.name, forward="method", detail=f"BYPASS: {wanted.method}")
        self._say(told)
        return StreamedResponse(
            status, answering.appended(headers, told), answer, length, interim_on(answer)
        )


def _may_wait(wanted: Asked, look: Look) -> bool:
    return wanted.shareable and look.forward != "bypass"


def _length(request: Request) -> int | None:
    """Of a body that comes as it is read; None: it comes in chunks."""
    told = request.headers.get(LENGTH)
    return int(told) if told is not None else None


def _loop() -> Response:
    return Response(LOOP, (("cache-control", "no-store"),), b"the request has been here before\n")
