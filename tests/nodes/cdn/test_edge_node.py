"""An edge on the wire: what it keeps, revalidates, collapses, passes, and what it serves when its
origin fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from nodes.wire.hops import WHY, decoded
from protocols.http.message import Request, Response
from tests.nodes.cdn.rig import FRESH, Cdn, status_of
from tests.nodes.harness import MemoryWorld


@pytest.fixture
async def cdn(nursery: trio.Nursery) -> AsyncIterator[Cdn]:
    yield Cdn(MemoryWorld(nursery))


async def test_the_second_request_is_a_hit_and_tells_its_rule(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    first = await cdn.get("/a")
    assert first.header("cache-status") == (
        'edge-1; fwd=uri-miss; ttl=60; stored; detail="MISS: nothing is stored; now max-age=60"'
    )
    await trio.sleep(4)
    second = await cdn.get("/a")
    assert second.body == b"one"
    assert second.header("age") == "4"
    assert second.header("cache-status") == 'edge-1; hit; ttl=56; detail="HIT: max-age=60, age 4"'
    assert cdn.origin.asked == 1


@pytest.mark.parametrize("origin", ["origin", "http://127.0.0.1:8000"])
async def test_what_comes_from_outside_of_emu_ages_while_emu_is_not_let_run(
    autojump_clock: MockClock, cdn: Cdn, origin: str
) -> None:
    await cdn.start()
    await cdn.world.serve("127.0.0.1", 8000, cdn.origin.serve)
    clock = (await cdn.begin(origin=origin)).ctx.clock
    for path in ("/a", "/b"):
        await cdn.get(path)
    clock.withheld_s = 50.0
    outside = "://" in origin
    assert (await cdn.get("/a")).header("age") == ("50" if outside else "0")
    clock.withheld_s = 60.0
    for path in ("/a", "/b"):
        await cdn.get(path)
    assert cdn.origin.asked == (4 if outside else 2)


async def test_a_stale_object_is_asked_about_and_a_304_makes_it_fresh(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == '"v1"':
            return Response(304, (("etag", '"v1"'), FRESH, ("x-new", "2")))
        return Response(200, (("etag", '"v1"'), FRESH, ("x-new", "1"), ("x-old", "1")), b"one")

    cdn.origin.answer = answer
    await cdn.start()
    await cdn.get("/a")
    await trio.sleep(61)
    again = await cdn.get("/a")
    assert (again.status, again.body, status_of(again)) == (200, b"one", "REVALIDATED")
    assert (again.header("x-new"), again.header("x-old")) == ("2", "1")
    assert status_of(await cdn.get("/a")) == "HIT"
    assert cdn.origin.asked == 2


async def test_many_who_ask_at_a_time_ask_the_origin_once(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    cdn.origin.delay_s = 1.0
    async with trio.open_nursery() as nursery:
        answers = cdn.beside(nursery, "/a", 20)
    assert cdn.origin.asked == 1
    assert [each.body for each in answers] == [b"one"] * 20
    assert sum("collapsed" in (each.header("cache-status") or "") for each in answers) == 19


async def test_those_who_wait_for_what_is_not_for_them_are_woken_at_once(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    cdn.origin.answer = Response(200, (("cache-control", "private, max-age=60"),), b"mine")
    await cdn.start()
    cdn.origin.delay_s = 1.0
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        cdn.beside(nursery, "/a", 20)
    assert cdn.origin.asked == 20
    assert trio.current_time() - began_s == pytest.approx(2.0, abs=0.01)  # one after the first
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        cdn.beside(nursery, "/a", 20)
    assert trio.current_time() - began_s == pytest.approx(1.0, abs=0.01)  # hit for miss


async def test_those_who_waited_in_vain_do_not_wait_for_each_other(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    cdn.origin.answer = Response(200, (("cache-control", "max-age=1"),), b"everybody's")
    await cdn.start()
    await cdn.get("/a")
    await trio.sleep(5)
    cdn.origin.answer = Response(200, (("cache-control", "private, no-store"),), b"mine")
    cdn.origin.delay_s = 1.0
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        answers = cdn.beside(nursery, "/a", 20)
    assert [(each.status, each.body) for each in answers] == [(200, b"mine")] * 20
    assert cdn.origin.asked == 21
    assert trio.current_time() - began_s == pytest.approx(2.0, abs=0.01)


async def test_stale_while_revalidate_answers_at_once_and_asks_once(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    told = (("cache-control", "max-age=10, stale-while-revalidate=30"),)
    cdn.origin.answer = Response(200, told, b"one")
    await cdn.start()
    await cdn.get("/a")
    await trio.sleep(11)
    cdn.origin.answer = Response(200, told, b"two")
    cdn.origin.delay_s = 1.0
    began_s = trio.current_time()
    for _ in range(3):
        assert (await cdn.get("/a")).body == b"one"
    assert trio.current_time() == began_s
    await trio.sleep(1.5)
    assert (await cdn.get("/a")).body == b"two"
    assert cdn.origin.asked == 2


async def test_stale_if_error_serves_within_its_bound_and_backs_off(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    told = (("cache-control", "max-age=10, stale-if-error=30"),)
    cdn.origin.answer = Response(200, told, b"one")
    await cdn.start(backoff_s=5.0)
    await cdn.get("/a")
    await trio.sleep(11)
    cdn.origin.answer = Response(503, (), b"no")
    for _ in range(5):
        answer = await cdn.get("/a")
        assert (answer.status, answer.body, status_of(answer)) == (200, b"one", "STALE")
    assert cdn.origin.asked == 2  # the first, and a failure: then it is left alone
    await trio.sleep(6)
    assert status_of(await cdn.get("/a")) == "STALE"
    assert cdn.origin.asked == 3
    await trio.sleep(30)
    gone = await cdn.get("/a")
    assert gone.status == 503


async def test_an_origin_that_is_down_is_a_503_and_grace_is_the_operators(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start(grace_s=100.0)
    await cdn.get("/a")
    await cdn.origin.stop()
    cdn.world.unlist_member("origin-1")
    await trio.sleep(61)
    assert status_of(await cdn.get("/a")) == "STALE"
    assert (await cdn.get("/b")).status == 503
    await trio.sleep(100)
    assert (await cdn.get("/a")).status == 503


async def test_a_post_goes_on_and_takes_away_what_it_may_have_changed(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    await cdn.get("/a")
    await cdn.get("/b")
    cdn.origin.answer = Response(201, (("location", "/b"),), b"made")
    made = await cdn.ask("POST", "/a", b"x=1")
    assert (made.status, made.body) == (201, b"made")
    assert cdn.origin.requests[-1].body == b"x=1"
    cdn.origin.answer = Response(200, (FRESH,), b"two")
    assert (await cdn.get("/a")).body == b"two"
    assert (await cdn.get("/b")).body == b"two"


async def test_what_was_asked_before_a_post_ended_is_not_kept(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    cdn.origin.delay_s = 2.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cdn.get, "/a")
        await trio.sleep(1)
        cdn.origin.delay_s = 0.0
        await cdn.ask("POST", "/a", b"")
    cdn.origin.answer = Response(200, (FRESH,), b"two")
    assert (await cdn.get("/a")).body == b"two"


async def test_what_is_private_for_one_is_no_miss_for_others(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    def answer(request: Request) -> Response:
        vary = ("vary", "cookie")
        if "cookie" in request.headers:
            return Response(200, (("cache-control", "private"), vary), b"yours")
        return Response(200, (FRESH, vary), b"all's")

    cdn.origin.answer = answer
    await cdn.start()
    assert (await cdn.get("/", cookie="session=1")).body == b"yours"
    assert (await cdn.get("/")).body == b"all's"
    assert status_of(await cdn.get("/")) == "HIT"
    assert (await cdn.get("/", cookie="session=1")).body == b"yours"
    assert status_of(await cdn.get("/", cookie="session=1")) == "BYPASS"


async def test_a_body_beyond_the_limit_passes_and_is_not_held(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    whole = bytes(range(256)) * 400
    cdn.origin.answer = Response(200, (FRESH,), whole)
    await cdn.start(max_object_bytes=10_000)
    for _ in range(2):
        answer = await cdn.get("/big")
        assert (answer.body, status_of(answer)) == (whole, "BYPASS")
    assert len(cdn.node.edge.store) == 0


async def test_the_way_of_a_request_is_told_and_its_times_add_up(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    cdn.origin.delay_s = 0.7
    began_s = trio.current_time()
    told = decoded((await cdn.get("/a", x_emu_why="1")).header(WHY) or "")
    assert [(hop.node, hop.decision) for hop in told] == [("edge-1", "MISS"), ("origin-1", "200")]
    assert sum(hop.time_s for hop in told) == pytest.approx(trio.current_time() - began_s)
    told = decoded((await cdn.get("/a", x_emu_why="1")).header(WHY) or "")
    assert [(hop.node, hop.decision, hop.why) for hop in told] == [
        ("edge-1", "HIT", "max-age=60, age 1")
    ]
    assert (await cdn.get("/a")).header(WHY) is None


async def test_an_origin_may_fail_about_one_object_for_ever(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    told = ("cache-control", "max-age=1, stale-if-error=1000000")
    cdn.origin.answer = Response(200, (told,), b"one")
    node = await cdn.start(backoff_s=0.1)
    await cdn.get("/a")
    (kept,) = node.edge.store.all()
    for _ in range(2000):
        node.edge.rest(kept, 100.0)
        assert 100.0 < kept.rests_until_s <= 100.4 + 1e-9
    cdn.origin.answer = Response(500)
    await trio.sleep(200)
    assert (await cdn.get("/a")).body == b"one"


async def test_a_head_that_goes_on_renews_what_is_stored_or_takes_its_place(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    """As a GET, so that what it tells of a change (RFC 9111, 4.3.5) comes with it."""
    version = 1

    def answer(request: Request) -> Response:
        tag = f'"v{version}"'
        if request.headers.get("if-none-match") == tag:
            return Response(304, (("etag", tag), FRESH, ("x-times", str(cdn.origin.asked))))
        return Response(200, (("etag", tag), FRESH), b"version %d" % version)

    cdn.origin.answer = answer
    await cdn.start()
    await cdn.get("/a")
    await trio.sleep(61)
    renewed = await cdn.ask("HEAD", "/a")
    assert (renewed.status, renewed.body, status_of(renewed)) == (200, b"", "REVALIDATED")
    kept = await cdn.get("/a")
    assert (kept.body, kept.header("x-times"), status_of(kept)) == (b"version 1", "2", "HIT")
    await trio.sleep(61)
    version = 2
    assert status_of(await cdn.ask("HEAD", "/a")) == "EXPIRED"
    changed = await cdn.get("/a")
    assert (changed.body, status_of(changed)) == (b"version 2", "HIT")
    assert [each.method for each in cdn.origin.requests] == ["GET"] * 3
