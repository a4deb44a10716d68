"""How flights ask the origin: about what is stored, or for the whole, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import trio

from nodes.base import Context
from nodes.cdn import reach
from nodes.cdn.ages import Ages
from nodes.cdn.asked import Asked, upstream
from nodes.cdn.edge import PURGED_MEANWHILE, Came, Edge
from nodes.cdn.flight import Carried, Flight
from nodes.cdn.hits import PURGED
from nodes.cdn.origin import Origin
from nodes.cdn.store import Kept
from nodes.wire.answers import as_rpc_error
from nodes.wire.http_client import Answer
from nodes.wire.service import Call, current_call
from protocols.caching.fields import Headers, combined, end_to_end
from protocols.caching.keys import Key
from protocols.caching.storing import NOT_MODIFIED
from protocols.http.message import Request
from protocols.numerals import whole

LENGTH: Final = "content-length"
CONTINUE: Final = 100


class Flights:
    """Those of one edge. `nursery` runs them: they outlive those who asked first."""

    def __init__(self, ctx: Context, edge: Edge, origin: Origin) -> None:
        self.ctx = ctx
        self.edge = edge
        self.ages = Ages(ctx.clock, outside=edge.config.is_outside)
        self.origin = origin
        self.nursery: trio.Nursery | None = None
        self._shared: dict[tuple[object, ...], Flight] = {}
        self._all: dict[Flight, None] = {}

    def waiting_for(self, asked: Asked) -> Flight | None:
        """One under way whose answer may answer this, too."""
        return self._shared.get(self.edge.flight_key(asked))

    def begin(self, request: Request, asked: Asked, kept: Kept | None, *, shared: bool) -> Flight:
        """Ask the origin; `shared`: others may wait for it, and there is one at a time."""
        key = self.edge.flight_key(asked) if shared else None
        if key is not None and key in self._shared:
            return self._shared[key]
        flight = Flight(key, asked, kept)
        if key is not None:
            self._shared[key] = flight
        self._all[flight] = None
        assert self.nursery is not None, "it answers once it runs"
        self.nursery.start_soon(self._fly, flight, request)
        return flight

    def refresh(self, request: Request, asked: Asked, kept: Kept) -> None:
        """Ask the origin, unless somebody does, for those who come later."""
        if self.waiting_for(asked) is None:
            self.begin(request, asked, kept, shared=True).leave()

    def spoil(self, keys: Iterable[Key]) -> None:
        """What is on its way may be older than a change of these."""
        changed = tuple(keys)
        for flight in self._all:
            if flight.asked.key in changed:
                flight.spoiled = True

    async def _fly(self, flight: Flight, request: Request) -> None:
        call = current_call.get()
        flying = Call(trace=call.trace if call is not None else None)
        flying.urgency = call.urgency if call is not None else flying.urgency
        flying.hops = call.hops if call is not None else None
        current_call.set(flying)
        try:
            await self._fetch(flight, request)
        except Exception as problem:
            flight.error = as_rpc_error(self.ctx, problem, route="origin")
        if flight.kept is not None and flight.is_failure:
            self.edge.rest(flight.kept, self.ages.now_s())
        if flight.key is not None:
            del self._shared[flight.key]
        del self._all[flight]
        flight.land()

    async def _fetch(self, flight: Flight, request: Request) -> None:
        """Ask whether what is stored still holds, or for the whole; and keep what comes."""
        asked, kept = flight.asked, flight.kept
        headers = upstream(request, self.edge.name, cacheable=not asked.bypass)
        conditions = self.edge.conditions(kept)
        answer, came = await self._ask(flight, headers + conditions, request.body)
        if self.edge.came_from_before(asked, came):
            answer.abort()
            self.ctx.reached(reach.TAG)
            answer, came = await self._ask(flight, headers, request.body)
        if came.status == NOT_MODIFIED and kept is not None and conditions:
            answer.abort()
            if not flight.spoiled:
                flight.stored, flight.why = self.edge.confirm(asked, kept, came)
            if flight.stored is not None:
                if flight.why:
                    self.edge.pass_by(asked, came)
                return
            self.ctx.reached(reach.GONE)
            flight.spoiled = False
            answer, came = await self._ask(flight, headers, request.body)
        await self._receive(flight, answer, came)

    async def _ask(
        self, flight: Flight, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[Answer, Came]:
        """A HEAD is asked for as a GET, so that what comes can be kept."""
        ages = self.ages
        began_s, purges = ages.now_s(), self.edge.purges.place
        purge = self.edge.purge_to_tell(flight.asked)
        told = [(PURGED, purge.encoded())] if purge is not None else []
        answer = await self.origin.ask("GET", flight.asked.key, headers + told, body)
        now_s = ages.now_s()
        flight.status, flight.interim = answer.status, interim_on(answer)
        flight.headers, flight.length_bytes = passed_on(answer.headers)
        came = Came(answer.status, flight.headers, now_s - began_s, now_s, ages.wall_s(), purges)
        return answer, came

    async def _receive(self, flight: Flight, answer: Answer, came: Came) -> None:
        """Read the body of what is for all; leave what is for one to whoever takes it."""
        most_bytes = self.edge.config.max_object_bytes
        failed = flight.is_failure and flight.kept is not None
        judged = self.edge.judge(flight.asked, came)
        flight.why = judged.why
        if not failed and (flight.length_bytes or 0) > most_bytes:
            flight.why = f"{flight.length_bytes} bytes, above max_object"
        if flight.why and not flight.is_failure:
            self.edge.pass_by(flight.asked, came)
            flight.content = answer
            return
        pieces, whole = await _read(answer, most_bytes)
        if not whole:
            flight.why = flight.why or f"above max_object, {most_bytes} bytes"
            self.edge.pass_by(flight.asked, came)
            flight.content = Carried(pieces, answer)
            return
        body = flight.body = b"".join(pieces)
        if failed or flight.why:
            return
        if flight.spoiled:
            flight.why = "changed while it was on its way"
        else:
            flight.stored, flight.why = self.edge.take(flight.asked, came, judged, body)
            if flight.why == PURGED_MEANWHILE:
                self.ctx.reached(reach.PURGED_ON_ITS_WAY)


def passed_on(headers: Headers) -> tuple[list[tuple[str, str]], int | None]:
    """What of a response goes further, and how long its body is, where that is told: who sends it
    says so anew."""
    lower = [(name.lower(), value) for name, value in headers]
    kept = end_to_end(lower, combined(lower, "connection"))
    length = combined(lower, LENGTH)
    return (
        [pair for pair in kept if pair[0] != LENGTH],
        None if length is None else whole(length),
    )


def interim_on(answer: Answer) -> list[tuple[int, Headers]]:
    """What goes further of what came before an answer: a 100 was for us."""
    return [
        (status, passed_on(headers)[0]) for status, headers in answer.interim if status != CONTINUE
    ]


async def _read(answer: Answer, most_bytes: int) -> tuple[Sequence[bytes], bool]:
    """(what was read, whether that is all). Raises RpcError."""
    pieces: list[bytes] = []
    size = 0
    while data := await answer.receive_some():
        pieces.append(data)
        size += len(data)
        if size > most_bytes:
            return pieces, False
    return pieces, True
