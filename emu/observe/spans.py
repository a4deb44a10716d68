"""Requests for a tracing system of the user's own: what nodes tell of each is posted as
OpenTelemetry spans (OTLP/HTTP, version 1, as JSON), a trace for each request.

Nodes tell of a request when it ends, and who asked them. So the parent of a span is the span of the
same request at the node that asked, or else the shortest that lasted meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from itertools import groupby, islice
from typing import Any, Final, NamedTuple

import trio

from emu.machine.requests import Line
from emu.observe.outbox import OUTCOMES, Address, Kind, Log, Outbox, Post
from nodes.metrics import Metrics
from nodes.parts import jsons

PATH: Final = "/v1/traces"
HELD_S: Final = 2.0
"""From a request's first line on: its others are waited for."""
LOOK_S: Final = 0.5
MOST_LINES: Final = 20_000
"""That are held; of more the oldest requests leave early."""
MOST_SPANS: Final = 512
"""In one body."""
SERVER: Final = 2
"""The kind of a span: somebody was asked."""
FAILED: Final = 2
NOT_SENT: Final = "spans not sent"
SENT_AGAIN: Final = "spans are sent again"
EVENTS: Final = {
    NOT_SENT: "Spans of requests could not be posted to the address of `--otlp`, and are given up.",
    SENT_AGAIN: "The address of `--otlp` takes spans again.",
}
SPANS: Final = Kind("bodies of spans", NOT_SENT, SENT_AGAIN, max_waiting=20, give_up_s=60.0)


class Span(NamedTuple):
    """A line, in the cluster's time."""

    line: Line
    began_s: float
    ended_s: float


class Spans:
    """`take` each line; run `run`; `end` at the end. `began`: when the cluster's time was 0;
    `run_id`: what tells its requests from those of other runs."""

    def __init__(
        self,
        address: Address,
        post: Post,
        log: Log,
        metrics: Metrics,
        *,
        cluster: str,
        run_id: str,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        began: datetime,
    ) -> None:
        counters = [
            metrics.counter("otlp_spans_total", "Spans for a collector, by outcome.",
                            outcome=outcome, to=address.url) for outcome in OUTCOMES
        ]  # fmt: skip
        self._outbox = Outbox(SPANS, address, post, log, counters, now_s=now_s, sleep=sleep)
        self._cluster = cluster
        self._run = sha256(run_id.encode()).hexdigest()[:16]
        self._now_s, self._sleep = now_s, sleep
        self._began_ns = int(began.timestamp() * 1e9)
        self._held: dict[str, list[Line]] = {}
        """By request, in the order of their first lines."""
        self._lines = 0

    def take(self, line: Line) -> None:
        """What a node told. A request without an id belongs to no trace."""
        if line["request"]:
            self._held.setdefault(line["request"], []).append(line)
            self._lines += 1
            if self._lines > MOST_LINES:
                self._post(islice(self._held, 1))

    async def run(self) -> None:
        """Post until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outbox.run)
            while True:
                await self._sleep(LOOK_S)
                before_s = self._now_s() - HELD_S
                self._post(each for each, lines in self._held.items()
                           if lines[0]["time_s"] <= before_s)  # fmt: skip

    async def end(self, patience_s: float) -> None:
        """Post what is held, and give the address so long to take it."""
        self._post(self._held)
        with trio.move_on_after(patience_s):
            await self._outbox.until_empty()

    def _post(self, requests: Iterable[str]) -> None:
        spans: list[tuple[Line, dict[str, Any]]] = []
        for request in tuple(requests):
            lines = self._held.pop(request)
            self._lines -= len(lines)
            spans += self._trace(lines)
        for first in range(0, len(spans), MOST_SPANS):
            part = spans[first : first + MOST_SPANS]
            self._outbox.add(jsons.dumps(self._body(part)).encode(), len(part), spans=len(part))

    def _trace(self, lines: Sequence[Line]) -> list[tuple[Line, dict[str, Any]]]:
        """The spans of one request. Half of the trace's id is the run's, half the request's."""
        spans = [Span(line, line["time_s"] - line["seconds"], line["time_s"]) for line in lines]
        trace = self._run + lines[0]["request"].zfill(16)[-16:]
        ids = [
            sha256(f"{trace}/{number}/{line['node']}/{line['what']}/{line['time_s']}".encode())
            .hexdigest()[:16]
            for number, line in enumerate(lines)
        ]  # fmt: skip
        found = []
        for number, span in enumerate(spans):
            parent = parent_of(number, spans)
            told = self._span(span, trace, ids[number], "" if parent is None else ids[parent])
            found.append((span.line, told))
        return found

    def _span(self, span: Span, trace: str, own: str, parent: str) -> dict[str, Any]:
        line = span.line
        what, outcome = line["what"], line["outcome"]
        about: dict[str, Any] = {"emu.request": line["request"], "emu.peer": line["peer"]}
        if outcome.isdecimal():
            about |= {"http.route": what, "http.response.status_code": int(outcome)}
            failed = int(outcome) >= 500
        else:
            about |= {"rpc.system": "msgpack-rpc", "rpc.method": what}
            failed = outcome != "ok"
        return {
            "traceId": trace,
            "spanId": own,
            **({"parentSpanId": parent} if parent else {}),
            "name": what,
            "kind": SERVER,
            "startTimeUnixNano": self._nanoseconds(span.began_s),
            "endTimeUnixNano": self._nanoseconds(span.ended_s),
            "attributes": attributes(about),
            "status": {"code": FAILED, "message": outcome} if failed else {},
        }

    def _nanoseconds(self, at_s: float) -> str:
        """Numbers of 64 bits are text in this JSON."""
        return str(self._began_ns + round(at_s * 1e9))

    def _body(self, spans: Sequence[tuple[Line, dict[str, Any]]]) -> Mapping[str, Any]:
        """A resource for each node."""
        resources = []
        by_node = sorted(spans, key=lambda each: each[0]["node"])
        for node, told in groupby(by_node, key=lambda each: each[0]["node"]):
            its = list(told)
            about = {
                "service.namespace": self._cluster,
                "service.name": its[0][0]["tier"],
                "service.instance.id": node,
                "cloud.region": its[0][0]["region"],
            }
            scope = {
                "scope": {"name": "emu", "version": version("emu")},
                "spans": [each for _, each in its],
            }
            resources.append({"resource": {"attributes": attributes(about)}, "scopeSpans": [scope]})
        return {"resourceSpans": resources}


def parent_of(number: int, spans: Sequence[Span]) -> int | None:
    """The place of the span for which this one was asked; None: it was asked from outside."""
    child = spans[number]
    around = [
        place
        for place, each in enumerate(spans)
        if each.began_s <= child.began_s < each.ended_s
        and (each.ended_s - each.began_s, -place) > (child.ended_s - child.began_s, -number)
    ]
    asked = [place for place in around if spans[place].line["node"] == child.line["peer"]]
    return min(asked or around, default=None, key=lambda place: -spans[place].began_s)


def attributes(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """As OTLP writes them; what is empty is left out."""
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int)
                              else {"stringValue": value}}
        for key, value in about.items() if value != ""
    ]  # fmt: skip
