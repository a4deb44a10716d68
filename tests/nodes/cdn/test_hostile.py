"""Nobody can make an edge give others what it should not: headers that are no part of the key,
bodies, answers whose length is not what they say, conditions, loops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from nodes.base import HTTP_PORT, Stream
from protocols.http.message import Request, Response
from tests.nodes.cdn.rig import FRESH, ORIGIN, Cdn, status_of
from tests.nodes.harness import MemoryWorld


@pytest.fixture
async def cdn(nursery: trio.Nursery) -> AsyncIterator[Cdn]:
    yield Cdn(MemoryWorld(nursery))


@pytest.mark.parametrize(
    "name",
    ["x-forwarded-host", "x-original-url", "x-http-method-override", "forwarded", "x-emu-path",
     "x-emu-trace", "x-forwarded-scheme", "x-rewrite-url", "proxy-connection"],
)  # fmt: skip
async def test_a_header_that_is_no_part_of_the_key_does_not_reach_the_origin(
    autojump_clock: MockClock, cdn: Cdn, name: str
) -> None:
    await cdn.start()
    await cdn.get("/a", **{name.replace("-", "_"): "evil.example"})
    assert "evil.example" not in str(cdn.origin.requests[0].headers.values())


async def test_what_connection_names_is_not_passed_on(autojump_clock: MockClock, cdn: Cdn) -> None:
    await cdn.start()
    await cdn.raw(b"GET /a HTTP/1.1\r\nHost: site\r\nConnection: x-a\r\nX-A: 1\r\nX-B: 2\r\n\r\n")
    assert "x-a" not in cdn.origin.requests[0].headers
    assert cdn.origin.requests[0].headers["x-b"] == "2"


async def test_a_get_with_a_body_is_not_kept_for_those_without(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    cdn.origin.answer = lambda request: Response(200, (FRESH,), request.body or b"clean")
    await cdn.start()
    answer = await cdn.raw(
        b"GET /a HTTP/1.1\r\nHost: site\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil"
    )
    assert answer.endswith(b"evil")
    assert (await cdn.get("/a")).body == b"clean"


@pytest.mark.parametrize(
    ("told", "shared"),
    [("max-age=60", False), ("private, max-age=60", False), ("public, max-age=60", True),
     ("s-maxage=60", True), ("max-age=60, must-revalidate", True)],
)  # fmt: skip
async def test_what_is_stored_answers_credentials_only_where_it_says_so_and_the_other_way_round(
    autojump_clock: MockClock, cdn: Cdn, told: str, shared: bool
) -> None:
    def answer(request: Request) -> Response:
        who = request.headers.get("authorization", "nobody")
        return Response(200, (("cache-control", told),), who.encode())

    cdn.origin.answer = answer
    await cdn.start()
    users = [(await cdn.get("/a", authorization=f"Basic {each}")).body for each in "xy"]
    assert users == ([b"Basic x", b"Basic x"] if shared else [b"Basic x", b"Basic y"])
    await cdn.get("/b")
    assert (await cdn.get("/b", authorization="Basic z")).body == (
        b"nobody" if shared else b"Basic z"
    )


async def test_hosts_are_kept_apart(autojump_clock: MockClock, cdn: Cdn) -> None:
    cdn.origin.answer = lambda request: Response(200, (FRESH,), request.headers["host"].encode())
    await cdn.start()
    assert (await cdn.ask("GET", "/", host="a.test")).body == b"a.test"
    assert (await cdn.ask("GET", "/", host="b.test")).body == b"b.test"
    assert status_of(await cdn.ask("GET", "/", host="A.test:80")) == "HIT"


async def test_a_failure_that_a_header_provokes_is_not_kept_for_others(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    def answer(request: Request) -> Response:
        return Response(400 if "x-oversized" in request.headers else 200, (), b"")

    cdn.origin.answer = answer
    await cdn.start()
    assert (await cdn.get("/a", x_oversized="1")).status == 400
    assert (await cdn.get("/a")).status == 200


async def test_a_clients_condition_does_not_decide_what_others_get(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    def answer(request: Request) -> Response:
        if "if-none-match" in request.headers:
            return Response(304, (FRESH, ("etag", '"v"')))
        return Response(200, (FRESH, ("etag", '"v"')), b"one")

    cdn.origin.answer = answer
    await cdn.start()
    assert (await cdn.get("/a", if_none_match='"v"')).status == 304
    assert ((await cdn.get("/a")).status, (await cdn.get("/a")).body) == (200, b"one")
    assert cdn.origin.asked == 1


async def test_a_part_is_never_served_for_the_whole(autojump_clock: MockClock, cdn: Cdn) -> None:
    def answer(request: Request) -> Response:
        if "range" in request.headers:
            return Response(206, (FRESH, ("content-range", "bytes 2-4/10")), b"234")
        return Response(200, (FRESH,), b"0123456789")

    cdn.origin.answer = answer
    await cdn.start()
    for wanted, body in (("bytes=2-4", b"234"), ("bytes=3-3", b"3")):
        answered = await cdn.get("/a", range=wanted)
        assert (answered.status, answered.body) == (206, body)
    assert cdn.origin.asked == 1
    whole = await cdn.get("/a")
    assert (whole.status, whole.body) == (200, b"0123456789")
    assert (await cdn.get("/a", range="bytes=-2")).body == b"89"
    assert (await cdn.get("/a", range="bytes=99-")).status == 416
    assert cdn.origin.asked == 2


async def test_what_comes_behind_an_answer_is_nobodys_answer(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    """A length that is too short: the rest must not be taken for the next answer."""
    head = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\n"
    evil = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil"

    async def answer(stream: Stream) -> None:
        while await stream.receive_some():
            await stream.send_all(head + b"good" + evil)

    await cdn.world.serve_directory()
    await cdn.world.serve(ORIGIN, HTTP_PORT, answer)
    cdn.world.list_member(ORIGIN, HTTP_PORT)
    await cdn.begin()
    for path in ("/a", "/b", "/c"):
        assert (await cdn.get(path)).body == b"good"


async def test_interim_answers_go_on_without_what_was_for_the_next_hop(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    head = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\nTE: y\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\ngood"
    )

    async def answer(stream: Stream) -> None:
        while await stream.receive_some():
            await stream.send_all(head)

    await cdn.world.serve_directory()
    await cdn.world.serve(ORIGIN, HTTP_PORT, answer)
    cdn.world.list_member(ORIGIN, HTTP_PORT)
    await cdn.begin()
    for method in (b"GET", b"POST"):
        ends = b"Host: site\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        answered = await cdn.raw(method + b" /a HTTP/1.1\r\n" + ends)
        interim, _, rest = answered.partition(b"\r\n\r\n")
        assert interim == b"HTTP/1.1 103 Early Hints\r\nlink: </a>"
        assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_answer_that_is_no_http_is_a_bad_gateway(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    async def answer(stream: Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 two hundred\r\n\r\n")

    await cdn.world.serve_directory()
    await cdn.world.serve(ORIGIN, HTTP_PORT, answer)
    cdn.world.list_member(ORIGIN, HTTP_PORT)
    await cdn.begin()
    assert (await cdn.get("/a")).status == 502


async def test_a_body_that_breaks_off_is_not_kept(autojump_clock: MockClock, cdn: Cdn) -> None:
    async def answer(stream: Stream) -> None:
        await stream.receive_some()
        head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 40\r\n\r\n"
        await stream.send_all(head + b"half of it")
        stream.abort()

    await cdn.world.serve_directory()
    await cdn.world.serve(ORIGIN, HTTP_PORT, answer)
    cdn.world.list_member(ORIGIN, HTTP_PORT)
    node = await cdn.begin()
    assert (await cdn.get("/a")).status == 502
    assert len(node.edge.store) == 0


async def test_a_request_goes_over_no_more_machines_than_it_says(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    for method, status in (("OPTIONS", 204), ("TRACE", 501)):
        assert (await cdn.ask(method, "/a", max_forwards="0")).status == status
    assert cdn.origin.asked == 0
    assert (await cdn.ask("OPTIONS", "/a", max_forwards="7")).status == 200
    await cdn.get("/a", max_forwards="7")
    told = [each.headers["max-forwards"] for each in cdn.origin.requests]
    assert told == ["6", "7"]


async def test_a_loop_ends(autojump_clock: MockClock, cdn: Cdn) -> None:
    await cdn.start()
    assert (await cdn.get("/a", via="1.1 other, 1.1 edge-1")).status == 508
    assert cdn.origin.asked == 0


async def test_one_who_leaves_first_does_not_take_the_answer_along(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    cdn.origin.delay_s = 2.0
    async with trio.open_nursery() as nursery:
        stream = await cdn.outside.network.open_stream("edge-1", HTTP_PORT)
        await stream.send_all(b"GET /a HTTP/1.1\r\nHost: site\r\n\r\n")
        await trio.sleep(0.5)
        answers = cdn.beside(nursery, "/a")
        await trio.sleep(0.5)
        stream.abort()
    assert answers[0].body == b"one"
    assert cdn.origin.asked == 1


async def test_stale_is_sent_once_though_the_origin_breaks_off_in_its_body(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    told = ("cache-control", "max-age=1, stale-if-error=60")
    broken = False

    async def answer(stream: Stream) -> None:
        while await stream.receive_some():
            head = f"HTTP/1.1 200 OK\r\n{told[0]}: {told[1]}\r\nContent-Length: 8\r\n\r\n"
            await stream.send_all(head.encode() + (b"half" if broken else b"complete"))
            if broken:
                stream.abort()
                return

    await cdn.world.serve_directory()
    await cdn.world.serve(ORIGIN, HTTP_PORT, answer)
    cdn.world.list_member(ORIGIN, HTTP_PORT)
    await cdn.begin()
    await cdn.get("/a")
    await trio.sleep(2)
    broken = True
    answered = await cdn.get("/a")
    assert (answered.body, status_of(answered)) == (b"complete", "STALE")


async def test_a_416_to_one_range_is_nobodys_answer_to_the_whole(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    def answer(request: Request) -> Response:
        if "range" in request.headers:
            return Response(416, (FRESH, ("content-range", "bytes */3")))
        return Response(200, (FRESH,), b"one")

    cdn.origin.answer = answer
    await cdn.start()
    await cdn.get("/a", range="bytes=999-")
    again = await cdn.get("/a")
    assert (again.status, again.body) == (200, b"one")


async def test_connection_takes_no_header_away_by_which_answers_are_kept_apart(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    def answer(request: Request) -> Response:
        language = request.headers.get("accept-language", "none")
        return Response(200, (FRESH, ("vary", "accept-language")), language.encode())

    cdn.origin.answer = answer
    await cdn.start()
    await cdn.raw(
        b"GET /a HTTP/1.1\r\nHost: site\r\nAccept-Language: de\r\n"
        b"Connection: close, accept-language\r\n\r\n"
    )
    assert (await cdn.get("/a", accept_language="de")).body == b"de"


async def test_a_failure_with_one_users_words_is_not_told_to_those_who_waited(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    private = (("cache-control", "private"), ("set-cookie", "session=mine"))
    cdn.origin.answer = Response(500, private, b"my own words")
    await cdn.start()
    cdn.origin.delay_s = 1.0
    async with trio.open_nursery() as nursery:
        answers = cdn.beside(nursery, "/a", 5)
    mine = [each for each in answers if each.body == b"my own words"]
    assert len(mine) == 1
    assert [each.header("set-cookie") for each in answers].count("session=mine") == 1


async def test_the_cookie_of_a_304_is_not_kept_for_others(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    def answer(request: Request) -> Response:
        if "if-none-match" in request.headers:
            return Response(304, (FRESH, ("etag", '"1"'), ("set-cookie", "session=theirs")))
        return Response(200, (FRESH, ("etag", '"1"')), b"one")

    cdn.origin.answer = answer
    await cdn.start()
    await cdn.get("/a")
    await trio.sleep(61)
    await cdn.get("/a")
    assert (await cdn.get("/a")).header("set-cookie") is None


HALF_A_CHUNK = b"60\r\n" + b"x" * 0x60 + b"\r\n"
EXPECTS = b"Expect: 100-continue\r\n\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 101\r\n\r\n",
        b"Content-Length: 101\r\n" + EXPECTS,
        b"Content-Length: 99999999999999999\r\n" + EXPECTS,
        b"Transfer-Encoding: chunked\r\n\r\n" + HALF_A_CHUNK * 2,
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    ],
)
async def test_a_body_beyond_max_body_is_refused_before_it_has_come(
    autojump_clock: MockClock, cdn: Cdn, rest: bytes
) -> None:
    await cdn.start(max_body_bytes=100)
    answer = await cdn.raw(b"POST /a HTTP/1.1\r\nHost: site\r\n", rest)
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert cdn.origin.asked == 0, "the origin has seen no whole request"
    assert (await cdn.ask("POST", "/a", b"x" * 100)).status == 200
