"""What is for one alone reaches that one and nobody else, also where a 304 says so of what was for
all until then; and what a 304 changes beside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from nodes.cdn.purges import Purge
from protocols.http.message import Headers, Request, Response
from tests.nodes.cdn.rig import FRESH, Cdn, status_of
from tests.nodes.harness import MemoryWorld

ETAG = ("etag", '"v1"')


@pytest.fixture
async def cdn(nursery: trio.Nursery) -> AsyncIterator[Cdn]:
    yield Cdn(MemoryWorld(nursery))


async def confirmed(cdn: Cdn, first: Headers, then: Headers, **asked: str) -> Response:
    """The answer to the request for which the origin confirmed what it had answered before."""

    def answer(request: Request) -> Response:
        if "if-none-match" in request.headers:
            return Response(304, (ETAG, *then))
        return Response(200, (FRESH, ETAG, *first), f"body {cdn.origin.asked}".encode())

    cdn.origin.answer = answer
    await cdn.start()
    await cdn.get("/a", **asked)
    await trio.sleep(61)
    return await cdn.get("/a", **asked)


@pytest.mark.parametrize("directive", ["private", "no-cache"])
async def test_a_field_that_is_for_one_reaches_that_one_and_nobody_else(
    autojump_clock: MockClock, cdn: Cdn, directive: str
) -> None:
    told = ("cache-control", f'max-age=60, {directive}="set-cookie"')
    cdn.origin.answer = Response(200, (told, ("set-cookie", "mine")), b"one")
    await cdn.start()
    cdn.origin.delay_s = 1.0
    async with trio.open_nursery() as nursery:
        answers = cdn.beside(nursery, "/a", 3)
    answers.append(await cdn.get("/a"))
    assert [each.body for each in answers] == [b"one"] * 4
    assert sorted(each.header("set-cookie") or "" for each in answers) == ["", "", "", "mine"]
    assert cdn.origin.asked == 1


async def test_a_cookie_of_a_304_is_for_whoever_asked(autojump_clock: MockClock, cdn: Cdn) -> None:
    answer = await confirmed(cdn, (), (FRESH, ("set-cookie", "mine")))
    assert (answer.body, answer.header("set-cookie")) == (b"body 1", "mine")
    assert (await cdn.get("/a")).header("set-cookie") is None


@pytest.mark.parametrize("value", ["private, max-age=60", "no-store"])
async def test_a_304_that_makes_it_ones_own_takes_it_away_from_all_others(
    autojump_clock: MockClock, cdn: Cdn, value: str
) -> None:
    answer = await confirmed(cdn, (), (("cache-control", value),))
    assert (answer.body, status_of(answer)) == (b"body 1", "REVALIDATED")
    assert "; stored" not in (answer.header("cache-status") or "")
    assert len(cdn.node.edge.store) == 0
    assert (await cdn.get("/a")).body == b"body 3"


async def test_a_field_that_the_stored_one_keeps_from_others_is_kept_from_them_in_a_304(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    told = ("cache-control", 'max-age=60, private="x-user"')
    answer = await confirmed(cdn, (told, ("x-user", "ada")), (("x-user", "grace"),))
    assert answer.header("x-user") == "grace"
    assert (await cdn.get("/a")).header("x-user") is None


async def test_what_a_304_tags_anew_is_purged_by_its_new_tag_alone(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await confirmed(cdn, (("cache-tag", "old"),), (FRESH, ("cache-tag", "new")))
    assert cdn.node.edge.purge(Purge("1", "tag", "old")) == 0
    assert status_of(await cdn.get("/a")) == "HIT"
    assert cdn.node.edge.purge(Purge("2", "tag", "new")) == 1


async def test_a_304_for_what_bears_a_purged_tag_by_now_brings_nothing_back(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    def answer(request: Request) -> Response:
        if "if-none-match" in request.headers:
            return Response(304, (FRESH, ETAG, ("cache-tag", "new")))
        return Response(200, (FRESH, ETAG), f"body {cdn.origin.asked}".encode())

    cdn.origin.answer = answer
    await cdn.start()
    await cdn.get("/a")
    await trio.sleep(61)
    cdn.origin.delay_s = 2.0
    async with trio.open_nursery() as nursery:
        answers = cdn.beside(nursery, "/a")
        await trio.sleep(1)
        cdn.node.edge.purge(Purge("1", "tag", "new"))
    assert answers[0].body == b"body 3"


async def test_what_a_304_varies_by_decides_who_gets_it_from_then_on(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    vary = ("vary", "accept-language")
    answer = await confirmed(cdn, (), (FRESH, vary), accept_language="de")
    assert answer.body == b"body 1"
    assert (await cdn.get("/a", accept_language="de")).body == b"body 1"
    assert (await cdn.get("/a", accept_language="en")).body == b"body 3"


async def test_a_304_with_more_in_its_head_takes_the_room_that_it_needs(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await confirmed(cdn, (), (FRESH, ("x-more", "m" * 1000)))
    store = cdn.node.edge.store
    before_bytes = store.bytes
    cdn.node.edge.purge(Purge("1", "url", "/a"))
    assert before_bytes > 1000
    assert store.bytes == 0


async def test_who_refuses_to_be_stored_takes_nothing_away_from_others(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await confirmed(cdn, (), (FRESH,))
    await trio.sleep(61)
    answer = await cdn.get("/a", cache_control="no-store")
    assert (answer.body, status_of(answer)) == (b"body 1", "REVALIDATED")
    assert status_of(await cdn.get("/a")) == "REVALIDATED", "what it was told is not kept"
    assert status_of(await cdn.get("/a")) == "HIT"


async def test_an_answer_behind_a_stale_one_that_is_not_kept_leaves_no_connection(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    told = ("cache-control", "max-age=1, stale-while-revalidate=600")
    cdn.origin.answer = Response(200, (told,), b"one")
    await cdn.start()
    await cdn.get("/a")
    cdn.origin.answer = Response(200, (("cache-control", "no-store"),), b"two" * 100_000)
    for _ in range(3):
        await trio.sleep(2)
        assert status_of(await cdn.get("/a")) == "STALE"
    await trio.sleep(1)
    assert cdn.origin.connections <= 1


async def test_a_range_of_a_head_means_nothing(autojump_clock: MockClock, cdn: Cdn) -> None:
    def answer(request: Request) -> Response:
        if "range" in request.headers:
            return Response(206, (FRESH, ("content-range", "bytes 0-1/4")), b"wh")
        return Response(200, (FRESH,), b"whole"[:4])

    cdn.origin.answer = answer
    await cdn.start()
    for _ in range(2):
        answered = await cdn.ask("HEAD", "/a", range="bytes=0-1")
        assert (answered.status, answered.header("content-range")) == (200, None)
    assert (await cdn.get("/a")).body == b"whol"
    assert cdn.origin.asked == 1


@pytest.mark.parametrize(
    "headers",
    [
        (("content-type", "multipart/byteranges; boundary=x"),),
        (("content-type", "multipart/byteranges; boundary=x"), ("content-range", "bytes 0-2/9")),
        (("content-range", "bytes */*"),),
        (("content-range", "bytes */9"),),
        (("content-range", "bytes 0-7/9"),),
    ],
)
async def test_a_206_that_does_not_say_which_part_it_is_passes_and_is_not_kept(
    autojump_clock: MockClock, cdn: Cdn, headers: Headers
) -> None:
    cdn.origin.answer = Response(206, (FRESH, *headers), b"abc")
    await cdn.start()
    for _ in range(2):
        answer = await cdn.get("/a", range="bytes=0-0,2-2")
        assert (answer.status, answer.body) == (206, b"abc")
    assert (cdn.origin.asked, len(cdn.node.edge.store)) == (2, 0)
