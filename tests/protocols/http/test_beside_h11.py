"""Our two ends against h11's: what each writes the other reads, and as the same."""

from __future__ import annotations

import random
from typing import Any

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
)
from tests.protocols.http import h11_ends
from tests.protocols.http.readers import Read, Refused, by_h11

ORDINARY = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nX-A:  b \t c \r\nX-A: d\r\n\r\n",
    b"HEAD /x HTTP/1.1\r\nhost: a\r\nEmpty:\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nCookie: a=1\r\nCookie: b=2\r\n\r\nhello",
    b"POST /p HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0001\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n",
    b"PATCH /p HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n" + b"x" * 99,
]
CLOSING = [
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
]
REFUSED = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
    b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G\xc3T / HTTP/1.1\r\nHost: a\r\n\r\n",
]
OURS_TO_REFUSE = [
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
]
"""Which h11 reads, and others as something else."""
RESPONSES = [
    Response(200, [("x-a", "b c")], b"hello"),
    Response(200, [("set-cookie", "a=1"), ("set-cookie", "b=2")]),
    Response(404, (), b"no"),
    Response(304, [("etag", '"a"')], b"ignored"),
    Response(204),
    Response(200, [("connection", "close")], b"bye"),
    Response(200, [("x-latin", "é")]),
    Response(200, [("x-empty", "")]),
    Response(200, [("Content-Type", "a/b"), ("Content-Length", "3")], b"abc"),
]
NOT_SENT = [
    Response(200, [("x-name", "a\r\nset-cookie: evil=1")]),
    Response(200, [("x name", "a")]),
    Response(200, [("x-name", " a")]),
    Response(200, [("x-name", "a\x00")]),
    Response(200, [("x-name", "\u20ac")]),
    Response(200, [("transfer-encoding", "chunked")]),
    Response(200, [("content-length", "4")], b"abc"),
    Response(200, [("connection", "x-a")]),
    Response(101),
]


def serve(data: bytes, seed: int, responses: list[Response]) -> list[Any]:
    """The requests that our server sees in random pieces, what h11 makes of the answers to them,
    and the status of a refusal."""
    rng, left, seen = random.Random(seed), list(responses), list[Any]()
    server = ServerConnection(Limits(max_head_bytes=300, max_body_bytes=100))
    try:
        while data and not server.must_close:
            size = rng.choice((1, 7, 40, 500))
            server.receive_data(data[:size])
            data = data[size:]
            while (request := server.next_request()) is not None:
                assert server.next_request() is None
                response = left.pop(0) if left else Response()
                answer = server.send_response(response)
                seen += [request, *h11_ends.answers(request.method.encode(), answer)]
        server.receive_data(b"")
        assert server.next_request() is None
    except RemoteProtocolError as error:
        seen.append(error.status)
        refusal = server.send_response(Response(error.status, body=b"why"))
        assert h11_ends.answers(b"GET", refusal)[0][2] == b"why"
    return seen


@pytest.mark.parametrize("data", [*ORDINARY, *CLOSING])
@pytest.mark.parametrize("response", RESPONSES, ids=range(len(RESPONSES)))
def test_h11_reads_each_answer_as_it_was_meant(data: bytes, response: Response) -> None:
    request, answer, *more = serve(data, 1, [response])[:3]
    assert isinstance(request, Request)
    read = by_h11(data)
    assert isinstance(read, Read)
    assert (request.method, request.target, request.body) == read
    bare = response.status in (204, 304) or request.method == "HEAD"
    said = ("connection", "content-length")
    others = [(name.lower(), value) for name, value in response.headers]
    assert answer[0] == response.status
    assert [each for each in answer[1] if each[0] not in said] == [
        each for each in others if each[0] not in said
    ]
    assert answer[2] == (b"" if bare else response.body)
    lengths = [value for name, value in answer[1] if name == "content-length"]
    assert lengths == ([] if response.status in (204, 304) else [str(len(response.body))])
    closes = data in CLOSING or ("connection", "close") in response.headers
    assert (more[:1] == ["closes"]) == closes


@pytest.mark.parametrize("response", NOT_SENT, ids=range(len(NOT_SENT)))
def test_what_is_no_answer_is_not_sent(response: Response) -> None:
    server = ServerConnection()
    server.receive_data(ORDINARY[0])
    assert server.next_request() is not None
    with pytest.raises(LocalProtocolError):
        server.send_response(response)
    assert server.send_response(Response(500)).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("data", [*REFUSED, *OURS_TO_REFUSE])
def test_what_h11_refuses_is_refused_and_a_little_more(data: bytes) -> None:
    assert serve(data, 1, []) == [400]
    assert isinstance(by_h11(data), Refused) == (data in REFUSED)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([*ORDINARY, *CLOSING, *REFUSED]), min_size=1, max_size=5),
    st.lists(st.sampled_from(RESPONSES), max_size=5),
    st.integers(0, 2**32),
)
def test_pipelined_requests_in_any_pieces_are_the_same(
    requests: list[bytes], responses: list[Response], seed: int
) -> None:
    data = b"".join(requests)
    assert serve(data, seed, responses) == serve(data, seed + 1, responses)


ASKED = [
    ("GET", "/", [("host", "a"), ("x-b", "c")], b""),
    ("GET", "/", [("x-b", "c"), ("Host", "a")], b""),
    ("POST", "/p", [("host", "a")], b"hello"),
    ("POST", "/p", [("host", "a")], b""),
    ("HEAD", "/", [("host", "a")], b""),
    ("GET", "/", [("host", "a"), ("connection", "close")], b""),
    ("DELETE", "/%C3", [("host", "[::1]:80"), ("x-latin", "é")], b"why"),
]
NOT_ASKED = [
    ("GET", "/", [], b""),
    ("GET", "/ a", [("host", "a")], b""),
    ("G T", "/", [("host", "a")], b""),
    ("GET", "/", [("host", "a"), ("host", "a")], b""),
    ("GET", "/", [("host", "a"), ("x", "a\r\nb: c")], b""),
    ("GET", "/", [("host", "a"), ("content-length", "1")], b""),
    ("POST", "/", [("host", "a"), ("transfer-encoding", "chunked")], b"a"),
]


@pytest.mark.parametrize("asked", ASKED, ids=range(len(ASKED)))
def test_h11_reads_each_request_as_it_was_meant(asked: tuple[str, str, Any, bytes]) -> None:
    method, target, headers, body = asked
    client, server = ClientConnection(), h11_ends.Server()
    assert server.receive(client.send_request(method, target, headers, body))
    [(read_method, read_target, read_headers, read_body)] = server.seen
    assert (read_method, read_target, read_body) == (method, target, body)
    for name, value in headers:
        assert read_headers[name.lower()] == value
    assert ("content-length" in read_headers) == (bool(body) or method == "POST")


@pytest.mark.parametrize("asked", NOT_ASKED, ids=range(len(NOT_ASKED)))
def test_what_is_no_request_is_not_sent(asked: tuple[str, str, Any, bytes]) -> None:
    client = ClientConnection()
    with pytest.raises(LocalProtocolError):
        client.send_request(*asked)
    assert client.reusable


def test_a_kept_connection_hears_whole_and_chunked_answers_from_h11() -> None:
    client, server = ClientConnection(), h11_ends.Server()
    for headers, pieces in (
        ([("content-length", "5")], [b"hello"]),
        ([("transfer-encoding", "chunked")], [b"hel", b"lo"]),
        ([("content-length", "0")], []),
        ([("transfer-encoding", "chunked")], []),
    ):
        assert server.receive(client.send_request("GET", "/", [("host", "a")]))
        response = client.receive_data(server.answer(200, headers, *pieces))
        assert response is not None
        assert (response.status, response.body) == (200, b"".join(pieces))
        assert client.reusable


ANSWERS: list[tuple[bytes, int | None, bytes, bool]] = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello", 200, b"hello", True),
    (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, b"", True),
    (b"HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n", 404, b"", True),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello", 200, b"hello",
     True),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello", 200, b"hello",
     False),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n", 200,
     b"hello", True),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end", False),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", 200, b"x",
     True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, b"", True),
    (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", 200, b"x", False),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 200,
     b"", False),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhellomore", 200, b"hello", False),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n" + b"x" * 99, None, b"", False),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", None, b"", False),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", None, b"", False),
    (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", None, b"", False),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 40, None, b"", False),
    (b"HTTX/1.1 200 OK\r\n\r\n", None, b"", False),
    (b"HTTP/2 200\r\n\r\n", None, b"", False),
    (b"", None, b"", False),
]  # fmt: skip


@pytest.mark.parametrize(("data", "status", "body", "reusable"), ANSWERS, ids=range(len(ANSWERS)))
@pytest.mark.parametrize("pieces", [1, 7, 500])
def test_each_answer_is_read_in_any_pieces(
    data: bytes, status: int | None, body: bytes, reusable: bool, pieces: int
) -> None:
    client = ClientConnection(max_body_bytes=60)
    client.send_request("GET", "/", [("host", "a")])
    response = None
    try:
        left = data
        while left and response is None:
            response, left = client.receive_data(left[:pieces]), left[pieces:]
        if response is None:
            response = client.receive_data(b"")
        elif left:
            client.feed(left)
    except RemoteProtocolError as error:
        assert (status, error.status) == (None, 502)
        assert not client.reusable
        return
    assert response is not None
    assert (response.status, response.body) == (status, body)
    assert client.reusable == reusable
