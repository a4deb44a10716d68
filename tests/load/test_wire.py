"""What the generator sends and understands, without a socket: whole, and one byte at a time."""

from __future__ import annotations

from itertools import count

import msgpack
import pytest

from emu.load.plan import Endpoint, Plan, parse_url
from emu.load.wire import MAX_HEAD_BYTES, Broken, HttpSpeaker, RpcSpeaker
from nodes.parts.changing import Constant

HERE = Endpoint("http", "127.0.0.1", 8080, "/page?q=1")


def http(**options) -> HttpSpeaker:
    return HttpSpeaker(HERE, Plan((HERE,), 1.0, **options), count())


def rpc(**options) -> RpcSpeaker:
    return RpcSpeaker(Plan((Endpoint("rpc", "127.0.0.1", 7000),), 1.0, **options))


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\na;x=1\r\n0123456789\r\n"
    b"0\r\n\r\n"
)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE


@pytest.mark.parametrize(
    ("data", "code"),
    [(WHOLE, "ok"), (EMPTY, "http_503"), (CHUNKED, "ok"), (CONTINUED, "ok")],
    ids=["length", "empty", "chunked", "continued"],
)
def test_an_answer_is_understood_whole_and_byte_by_byte(data: bytes, code: str) -> None:
    speaker = http()
    for _ in range(2):
        number, _ = speaker.request()
        assert speaker.feed(data) == [(number, code)]
    number, _ = speaker.request()
    answers = [answer for byte in data for answer in speaker.feed(bytes([byte]))]
    assert answers == [(number, code)]
    assert not speaker.closes


def test_a_request_carries_the_path_the_headers_and_the_body() -> None:
    speaker = http(headers=(("x-a", "1"),), body=b"text=hi")
    assert speaker.request()[1] == (
        b"POST /page?q=1 HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nx-a: 1\r\n"
        b"content-length: 7\r\nx-emu-trace: 0\r\n\r\ntext=hi"
    )


def test_a_server_that_will_close_is_noticed() -> None:
    speaker = http()
    speaker.request()
    speaker.feed(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert speaker.closes


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n\r\n", b"H" * (MAX_HEAD_BYTES + 1)])
def test_what_is_not_http_breaks_the_connection(data: bytes) -> None:
    speaker = http()
    speaker.request()
    with pytest.raises(Broken):
        speaker.feed(data)


def test_rpc_answers_come_in_any_order_with_their_codes() -> None:
    speaker = rpc(method="get", params=("k",))
    (first, data), (second, _) = speaker.request(), speaker.request()
    assert msgpack.unpackb(data) == [0, first, "get", ["k"]]
    answers = msgpack.packb([1, second, ["overloaded", "busy"], None])
    answers += msgpack.packb([1, first, None, "v"])
    assert speaker.feed(answers[:5]) == []
    assert speaker.feed(answers[5:]) == [(second, "overloaded"), (first, "ok")]
    with pytest.raises(Broken):
        speaker.feed(b"\xc1")


@pytest.mark.parametrize(
    "text", ["ftp://x/", "http://", "http://h:99999/", "rpc://h:x", "127.0.0.1:80"]
)
def test_a_url_that_is_none_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"write http://HOST:PORT|port is not a number"):
        parse_url(text)


def test_a_url_has_its_defaults() -> None:
    assert parse_url("http://h") == Endpoint("http", "h", 80, "/")
    assert parse_url("rpc://h").port == 7000
    assert parse_url("http://h:8080/a?b=c").shown == "http://h:8080/a?b=c"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"rate": Constant(1e9)}, "rate"),
        ({"connections": 0}, "connections"),
        ({"connections": 10**6}, "connections"),
        ({"depth": 4}, "depth: HTTP"),
    ],
    ids=str,
)
def test_a_plan_beyond_its_bounds_is_refused(options, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Plan((HERE,), 1.0, **options)
