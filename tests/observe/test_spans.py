"""Requests as OpenTelemetry spans: a trace for each, parents from who asked whom, bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import trio

from emu.machine.requests import Line
from emu.observe import spans as module
from emu.observe.outbox import Address
from emu.observe.spans import HELD_S, MOST_SPANS, PATH, Span, Spans, parent_of
from nodes.metrics import Metrics
from tests.observe.test_webhooks import Log, Pager, outcomes

URL = "http://127.0.0.1:4318"
BEGAN = datetime(2026, 11, 30, 12, tzinfo=UTC)
BEGAN_NS = int(BEGAN.timestamp()) * 10**9


def line(
    node: str, what: str, ended_s: float, seconds: float, peer: str = "", **other: Any
) -> Line:
    told = {"time_s": ended_s, "seconds": seconds, "level": "info", "event": "request",
            "node": node, "tier": node.partition("-")[0], "region": "us", "request": "a1",
            "what": what, "outcome": "200", "peer": peer}  # fmt: skip
    return {**told, **other}


WEB = line("web-1", "home", 1.5, 0.5, "user-1")
SQL = line("db-1", "query", 1.4, 0.3, "web-1", outcome="ok")


async def run(
    collector: Pager, act: Callable[[Spans], Awaitable[object]]
) -> tuple[Log, dict[str, float]]:
    log, metrics = Log(), Metrics()
    spans = Spans(
        Address.parse(URL, PATH), collector.post, log, metrics, cluster="shop", run_id="shop 1",
        now_s=trio.current_time, sleep=trio.sleep, began=BEGAN,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spans.run)
        await act(spans)
        nursery.cancel_scope.cancel()
    return log, outcomes(metrics, "emu_otlp_spans_total")


def told_of(body: Any) -> list[dict[str, Any]]:
    return [span for resource in body["resourceSpans"] for scope in resource["scopeSpans"]
            for span in scope["spans"]]  # fmt: skip


def text_of(attributes: Any) -> dict[str, str]:
    return {each["key"]: each["value"]["stringValue"] for each in attributes}


async def test_a_request_is_a_trace_whose_spans_name_who_asked(autojump_clock):
    collector = Pager()

    async def act(spans: Spans) -> None:
        spans.take(SQL)
        spans.take(WEB)
        spans.take(line("web-1", "live", 1.6, 0.1, request=""))  # of no request: of no trace
        await trio.sleep(HELD_S + 2)

    _, counts = await run(collector, act)
    (body,) = collector.taken
    about = [text_of(resource["resource"]["attributes"]) for resource in body["resourceSpans"]]
    assert [each["service.instance.id"] for each in about] == ["db-1", "web-1"]
    assert about[0] == {"service.namespace": "shop", "service.name": "db", "cloud.region": "us",
                        "service.instance.id": "db-1"}  # fmt: skip
    sql, web = told_of(body)
    assert web["traceId"] == sql["traceId"] and web["traceId"].endswith("00000000000000a1")
    assert len(web["traceId"]) == 32 and len(web["spanId"]) == 16
    assert sql["parentSpanId"] == web["spanId"] and "parentSpanId" not in web
    assert int(web["startTimeUnixNano"]) == BEGAN_NS + 10**9
    assert int(web["endTimeUnixNano"]) == BEGAN_NS + 15 * 10**8
    assert {"key": "http.response.status_code", "value": {"intValue": "200"}} in web["attributes"]
    assert {"key": "rpc.method", "value": {"stringValue": "query"}} in sql["attributes"]
    assert counts == {"sent": 2.0, "dropped": 0.0}


async def test_what_failed_says_so_and_a_refused_client_did_not_fail(autojump_clock):
    collector = Pager()

    async def act(spans: Spans) -> None:
        for request, outcome in enumerate(["503", "404", "not_primary", "ok"]):
            spans.take(line("web-1", "x", 1.0, 0.1, request=f"{request:x}", outcome=outcome))
        await spans.end(1.0)

    await run(collector, act)
    (body,) = collector.taken
    codes = [each["status"].get("code", 0) for each in told_of(body)]
    assert codes == [2, 0, 2, 0]


async def test_what_is_held_leaves_at_the_end_and_bodies_are_bounded(autojump_clock):
    collector = Pager()

    async def act(spans: Spans) -> None:
        for request in range(MOST_SPANS + 1):
            spans.take(line("web-1", "x", 1.0, 0.1, request=f"{request:x}"))
        await spans.end(1.0)
        assert trio.current_time() < 0.1

    await run(collector, act)
    assert [len(told_of(body)) for body in collector.taken] == [MOST_SPANS, 1]


async def test_no_more_lines_than_a_bound_are_held(autojump_clock, monkeypatch):
    monkeypatch.setattr(module, "MOST_LINES", 3)
    collector = Pager()

    async def act(spans: Spans) -> None:
        for request in range(5):
            spans.take(line("web-1", "x", 1.0, 0.1, request=f"{request:x}"))
        await trio.sleep(0.1)  # before any was held for long

    await run(collector, act)
    left = [each["traceId"][-1] for body in collector.taken for each in told_of(body)]
    assert left == ["0", "1"]


async def test_a_collector_that_is_not_there_costs_spans_and_says_so(autojump_clock):
    collector = Pager(*["refused"] * 100)

    async def act(spans: Spans) -> None:
        spans.take(WEB)
        await trio.sleep(100)

    log, counts = await run(collector, act)
    ((event, fields),) = log.told
    assert (event, fields["spans"], fields["why"]) == ("spans not sent", 1, "no answer: refused")
    assert counts == {"sent": 0.0, "dropped": 1.0}


def span(node: str, began_s: float, ended_s: float, peer: str = "") -> Span:
    return Span(line(node, "x", ended_s, ended_s - began_s, peer), began_s, ended_s)


def test_the_parent_is_who_asked_or_else_the_shortest_around_it():
    spans = [span("edge-1", 0, 10), span("web-1", 1, 5, "lb-1"), span("web-1", 6, 9, "lb-1"),
             span("db-1", 6.5, 7, "web-1"), span("db-2", 20, 21, "web-1")]  # fmt: skip
    assert [parent_of(number, spans) for number in range(len(spans))] == [None, 0, 0, 2, None]


def test_two_that_lasted_as_long_are_not_each_others_parents():
    spans = [span("a-1", 1, 2, "b-1"), span("b-1", 1, 2, "a-1")]
    assert sorted(str(parent_of(number, spans)) for number in range(2)) == ["0", "None"]
