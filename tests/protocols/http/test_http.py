"""protocols/http/: two real ends over a fake wire, then one byte at a time, then garbage."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.http.client import ClientConnection
from protocols.http.connection import ServerConnection
from protocols.http.message import (
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    Request,
    Response,
    fields,
)

GET = b"GET /u/ada?tab=posts&x=%C3%A9 HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2\r\n\r\n"
CHUNKED = (
    b"POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
)


def feed(server: ServerConnection, data: bytes) -> Request | None:
    server.receive_data(data)
    return server.next_request()


def status_of(data: bytes, limits: Limits | None = None) -> int:
    with pytest.raises(RemoteProtocolError) as caught:
        feed(ServerConnection(limits), data)
    return caught.value.status


def test_a_request_and_its_answer_cross_the_wire() -> None:
    client, server = ClientConnection(), ServerConnection()
    sent = client.send_request("POST", "/api/posts", [("host", "web-1")], b'{"id":"a"}')
    request = feed(server, sent)
    assert request is not None
    assert (request.method, request.path, request.body) == ("POST", "/api/posts", b'{"id":"a"}')
    answer = server.send_response(Response(201, [("x-emu-node", "web-1")], b"made"))
    response = client.receive_data(answer)
    assert response is not None
    assert (response.status, response.header("x-emu-node"), response.body) == (
        201,
        "web-1",
        b"made",
    )
    assert client.reusable
    assert not server.must_close


def test_path_query_and_cookies_are_decoded() -> None:
    request = feed(ServerConnection(), GET)
    assert request is not None
    assert request.path == "/u/ada"
    assert request.query == {"tab": "posts", "x": "é"}
    assert request.cookies == {"a": "1", "b": "2"}


def test_an_absolute_target_is_read_as_its_path() -> None:
    assert Request("GET", "http://example.test/a%20b?q=1").path == "/a b"
    assert Request("GET", "http://example.test").path == "/"
    assert Request("GET", "/go?to=http://x/y").path == "/go"


@pytest.mark.parametrize("whole", [GET, CHUNKED])
def test_one_byte_at_a_time_gives_the_same_request(whole: bytes) -> None:
    at_once = feed(ServerConnection(), whole)
    server, seen = ServerConnection(), []
    for index in range(len(whole)):
        request = feed(server, whole[index : index + 1])
        if request is not None:
            seen.append((index, request))
    assert seen == [(len(whole) - 1, at_once)]


def test_chunks_are_joined() -> None:
    request = feed(ServerConnection(), CHUNKED)
    assert request is not None
    assert request.body == b"hello world"


def test_pipelined_requests_are_answered_in_turn() -> None:
    server = ServerConnection()
    first = feed(server, GET + CHUNKED + GET)
    assert first is not None and first.method == "GET"
    assert server.next_request() is None, "the second waits for the first's answer"
    assert server.buffered_bytes == len(CHUNKED + GET)
    server.send_response(Response())
    second = server.next_request()
    assert second is not None and second.method == "POST"
    server.send_response(Response())
    third = server.next_request()
    assert third is not None and third.method == "GET"
    assert server.buffered_bytes == 0


def test_the_answer_to_head_has_the_length_but_no_body() -> None:
    server = ServerConnection()
    feed(server, GET.replace(b"GET", b"HEAD"))
    answer = server.send_response(Response(200, [], b"hello"))
    assert b"content-length: 5" in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


def test_not_modified_has_neither_body_nor_length() -> None:
    server = ServerConnection()
    feed(server, GET)
    answer = server.send_response(Response(304, [("etag", '"a"')], b"ignored"))
    assert b"content-length" not in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


def test_http_1_0_and_connection_close_end_after_the_answer() -> None:
    for head in (
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ):
        server = ServerConnection()
        assert feed(server, head) is not None
        assert b"connection: close" in server.send_response(Response()).lower()
        assert server.must_close


def test_a_waiting_client_is_told_to_go_on() -> None:
    server = ServerConnection()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert feed(server, head) is None
    assert server.data_to_send().startswith(b"HTTP/1.1 100")
    assert server.data_to_send() == b""
    request = feed(server, b"hi")
    assert request is not None and request.body == b"hi"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"hello there\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20000, 431),
        (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ],
)
def test_broken_rules_name_the_status_to_answer(data: bytes, status: int) -> None:
    assert status_of(data) == status


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101,
    ],
)
def test_a_body_over_the_limit_is_413_and_can_still_be_answered(data: bytes) -> None:
    server = ServerConnection(Limits(max_body_bytes=100))
    with pytest.raises(RemoteProtocolError) as caught:
        feed(server, data)
    assert caught.value.status == 413
    assert server.can_answer
    assert server.send_response(Response(413)).startswith(b"HTTP/1.1 413")
    assert server.must_close


def test_what_follows_a_head_is_refused_with_a_body() -> None:
    server = ServerConnection()
    feed(server, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert server.send_response(Response(200, body=b"unseen")).endswith(b"\r\n\r\n")
    with pytest.raises(RemoteProtocolError):
        feed(server, b"garbage\r\n\r\n")
    assert server.send_response(Response(400, body=b"why")).endswith(b"\r\n\r\nwhy")


def test_a_poisoned_connection_stays_poisoned() -> None:
    server = ServerConnection()
    with pytest.raises(RemoteProtocolError):
        feed(server, b"\x00\x00\r\n\r\n")
    with pytest.raises(RemoteProtocolError):
        feed(server, GET)


def test_an_end_in_the_middle_is_an_error_and_between_requests_is_none() -> None:
    server = ServerConnection()
    assert feed(server, b"") is None
    assert server.peer_closed
    server = ServerConnection()
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    assert server.next_request() is None
    assert server.mid_request
    server.receive_data(b"")
    with pytest.raises(RemoteProtocolError):
        server.next_request()


def test_a_header_with_a_line_break_is_our_bug_not_a_split_response() -> None:
    server = ServerConnection()
    feed(server, GET)
    with pytest.raises(LocalProtocolError):
        server.send_response(Response(200, [("x-name", "a\r\nset-cookie: evil=1")]))


def test_the_client_refuses_garbage_early_ends_and_giants() -> None:
    for answer in (
        b"hello\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n" + b"x" * 9,
    ):
        client = ClientConnection(max_body_bytes=8)
        client.send_request("GET", "/", [("host", "a")])
        with pytest.raises(RemoteProtocolError):
            client.receive_data(answer)
        assert not client.reusable


def test_too_many_query_fields_are_refused() -> None:
    assert fields("a=1&a=2") == {"a": "2"}
    with pytest.raises(ValueError, match="fields"):
        fields("a=1&" * 200)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**32))
def test_random_bytes_give_requests_or_a_refusal(garbage: bytes, seed: int) -> None:
    """Mutated requests and plain noise, in random pieces: no other exception, ever."""
    rng = random.Random(seed)
    data = bytearray(GET + CHUNKED)
    at = rng.randrange(len(data))
    data[at : at + rng.randrange(4)] = garbage
    server = ServerConnection(Limits(max_body_bytes=64, max_head_bytes=512))
    try:
        while data:
            size = rng.randrange(1, 80)
            request = feed(server, bytes(data[:size]))
            del data[:size]
            while request is not None:
                assert request.path is not None
                server.send_response(Response(200, [], b"ok"))
                request = None if server.must_close else server.next_request()
        feed(server, b"")
    except RemoteProtocolError as error:
        assert 400 <= error.status < 600
        if server.can_answer:
            assert server.send_response(Response(error.status)).startswith(b"HTTP/1.1 ")
