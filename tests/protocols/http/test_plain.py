"""The hand-written way and h11 come to the same: every message is put through both."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.http.client import ClientConnection
from protocols.http.connection import (
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    Response,
    ServerConnection,
)

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nX-A:  b \t c \r\nX-A: d\r\n\r\n",
    b"HEAD /x HTTP/1.1\r\nhost: a\r\nEmpty:\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nCookie: a=1\r\nCookie: b=2\r\n\r\nhello",
    b"POST /p HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0001\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n",
    b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G\xc3T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PATCH /p HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n" + b"x" * 99,
]
RESPONSES = [
    Response(200, [("x-a", "b c")], b"hello"),
    Response(200, [("set-cookie", "a=1"), ("set-cookie", "b=2")]),
    Response(404, (), b"no"),
    Response(304, [("etag", '"a"')], b"ignored"),
    Response(204),
    Response(200, [("connection", "close")], b"bye"),
    Response(200, [("x-latin", "é")]),
    Response(200, [("x-empty", "")]),
    Response(200, [("x-name", "a\r\nset-cookie: evil=1")]),
    Response(200, [("x name", "a")]),
    Response(200, [("x-name", " a")]),
]
TIGHT = Limits(max_head_bytes=300, max_body_bytes=60)


def serve(data: bytes, seed: int, responses: list[Response], *, by_h11: bool) -> list[Any]:
    """Everything that a server sees and says, fed the data in random pieces."""
    rng = random.Random(seed)
    server = ServerConnection(TIGHT, by_h11=by_h11)
    seen: list[Any] = []
    left = list(responses)

    def answer() -> None:
        while (request := server.next_request()) is not None:
            seen.append(request)
            seen.append(server.next_request())
            try:
                seen.append(server.send_response(left.pop(0) if left else Response()))
            except LocalProtocolError:
                seen.append("refused to send")
                return
            if server.must_close:
                return
        seen.append(server.data_to_send())

    try:
        while data:
            size = rng.choice((1, 7, 40, 500))
            server.receive_data(data[:size])
            data = data[size:]
            answer()
            if seen and (seen[-1] == "refused to send" or server.must_close):
                return [each for each in seen if each]
        server.receive_data(b"")
        answer()
        seen.append(server.peer_closed)
    except RemoteProtocolError as error:
        seen.append(error.status)
        if server.can_answer:
            seen.append(server.send_response(Response(error.status, body=b"why")))
    return [each for each in seen if each]


def both(data: bytes, seed: int, responses: list[Response]) -> tuple[list[Any], list[Any]]:
    return (
        serve(data, seed, responses, by_h11=False),
        serve(data, seed, responses, by_h11=True),
    )


@pytest.mark.parametrize("request_bytes", REQUESTS)
@pytest.mark.parametrize("response", RESPONSES, ids=range(len(RESPONSES)))
def test_each_request_and_answer_is_the_same_by_hand_and_by_h11(request_bytes, response):
    ours, theirs = both(request_bytes, 1, [response])
    assert ours == theirs
    assert theirs


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=5),
    st.lists(st.sampled_from(RESPONSES), max_size=5),
    st.integers(0, 2**32),
)
def test_pipelined_requests_in_any_pieces_are_the_same(requests, responses, seed):
    ours, theirs = both(b"".join(requests), seed, responses)
    assert ours == theirs


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(REQUESTS), st.binary(max_size=6), st.integers(0, 2**32))
def test_damaged_requests_are_the_same(request_bytes, garbage, seed):
    rng = random.Random(seed)
    data = bytearray(request_bytes + REQUESTS[0])
    at = rng.randrange(len(data))
    data[at : at + rng.randrange(3)] = garbage
    ours, theirs = both(bytes(data), seed, [])
    assert ours == theirs


ASKED = [
    ("GET", "/", [("host", "a"), ("x-b", "c")], b""),
    ("GET", "/", [("x-b", "c"), ("Host", "a")], b""),
    ("POST", "/p", [("host", "a")], b"hello"),
    ("POST", "/p", [("host", "a")], b""),
    ("HEAD", "/", [("host", "a")], b""),
    ("GET", "/", [], b""),
    ("GET", "/ a", [("host", "a")], b""),
    ("GET", "/", [("host", "a"), ("connection", "close")], b""),
    ("GET", "/", [("host", "a"), ("x", "a\r\nb: c")], b""),
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n" + b"x" * 99,
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhellomore",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
    b"HTTX/1.1 200 OK\r\n\r\n",
    b"",
]


def ask(asked: list[tuple], answers: list[bytes], seed: int, *, by_h11: bool) -> list[Any]:
    """Everything that a client says and hears, one exchange after the other."""
    rng = random.Random(seed)
    client = ClientConnection(max_body_bytes=60, by_h11=by_h11)
    seen: list[Any] = []
    for (method, target, headers, body), data in zip(asked, answers, strict=False):
        try:
            seen.append(client.send_request(method, target, headers, body))
        except LocalProtocolError:
            return [*seen, "refused to send"]
        response, ended = None, False
        try:
            while response is None and not ended:
                size = rng.choice((1, 7, 40, 500))
                response, ended = client.receive_data(data[:size]), not data
                data = data[size:]
        except RemoteProtocolError as error:
            return [*seen, error.status, client.reusable]
        seen += [response and (response.status, list(response.headers), response.body)]
        seen.append(client.reusable)
        if ended or not client.reusable:
            break
    return seen


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("asked", ASKED, ids=range(len(ASKED)))
def test_each_exchange_of_a_client_is_the_same_by_hand_and_by_h11(asked, answer):
    for seed in range(3):
        ours = ask([asked], [answer], seed, by_h11=False)
        assert ours == ask([asked], [answer], seed, by_h11=True)
        assert ours


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ASKED), st.sampled_from(ANSWERS)), min_size=1, max_size=5),
    st.integers(0, 2**32),
)
def test_a_kept_connection_of_a_client_is_the_same(exchanges, seed):
    asked = [each for each, _ in exchanges]
    answers = [each for _, each in exchanges]
    assert ask(asked, answers, seed, by_h11=False) == ask(asked, answers, seed, by_h11=True)


def test_ordinary_traffic_does_not_need_h11():
    client, server = ClientConnection(), ServerConnection()
    for _ in range(3):
        server.receive_data(client.send_request("GET", "/", [("host", "a")]))
        assert server.next_request() is not None
        assert client.receive_data(server.send_response(Response(200, (), b"x"))) is not None
    assert not client._by_h11 and not server._by_h11
