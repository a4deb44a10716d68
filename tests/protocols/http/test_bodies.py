"""What a chunk's size may be, and when it is known that it can be none."""

from __future__ import annotations

import pytest

from protocols.http.connection import ServerConnection
from protocols.http.message import Limits, RemoteProtocolError, Response

HEAD = b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = Limits(max_head_bytes=4096, max_body_bytes=100)


def refused_at(body: bytes) -> tuple[int, int] | None:
    """The status, and how many bytes of the body had come by then, one by one."""
    server = ServerConnection(LIMITS)
    server.receive_data(HEAD)
    assert server.next_request() is None
    for place in range(len(body)):
        server.receive_data(body[place : place + 1])
        try:
            server.next_request()
        except RemoteProtocolError as error:
            return error.status, place + 1
    return None


def whole(body: bytes) -> int | bytes | None:
    """The status, or the body that was read, of all at once."""
    server = ServerConnection(LIMITS)
    server.receive_data(HEAD + body + NEXT)
    try:
        found = server.next_request()
    except RemoteProtocolError as error:
        return error.status
    return None if found is None else found.body


@pytest.mark.parametrize(
    ("body", "status", "at"),
    [
        (b"zz", 400, 1),
        (b"0x4\r\n", 400, 2),
        (b"-4\r\n", 400, 1),
        (b" 4\r\n", 400, 1),
        (b"\r\n4\r\n", 400, 1),
        (b"4_0\r\n", 400, 2),
        (b"4\nabcd", 400, 2),
        (b"4\rabcd", 400, 3),
        (b"4 x\r\n", 400, 3),
        (b"4;\x00\r\n", 400, 3),
        (b"4;a=\r=b\r\n", 400, 6),
        (b"f" * 40, 400, 17),
        (b"0" * 40, 400, 17),
        (b"4;" + b"a" * 4000, 400, 1025),
        (b"4\r\nabcdX", 400, 8),
        (b"4\r\nabcd\rX", 400, 9),
        (b"4\r\nabcd\r\nzz", 400, 10),
        (b"65\r\n", 413, 4),
        (b"ffffffffffffffff\r\n", 413, 18),
        (b"64\r\n" + b"a" * 100 + b"\r\n1\r\n", 413, 109),
    ],
)
def test_a_size_that_can_be_none_is_refused_at_its_first_wrong_byte(
    body: bytes, status: int, at: int
) -> None:
    assert refused_at(body) == (status, at)
    assert whole(body) == status


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b"4\r\nabcd\r\n0\r\n\r\n", b"abcd"),
        (b"0004 \t\r\nabcd\r\n00\r\n\r\n", b"abcd"),
        (b'4;a="\x80 b";c\r\nabcd\r\n0;x\r\nzz: no size\r\n\r\n', b"abcd"),
        (b"2\r\n0\r\r\n2\r\n\n\r\r\n0\r\n\r\n", b"0\r\n\r"),
        (b"64\r\n" + b"a" * 100 + b"\r\n0\r\n\r\n", b"a" * 100),
    ],
)
def test_a_body_in_chunks_is_read_however_it_comes(body: bytes, read: bytes) -> None:
    assert refused_at(body) is None
    assert whole(body) == read


def test_a_size_that_may_become_one_is_waited_for() -> None:
    for begun in (b"", b"4", b"4;", b"4 ", b"4\r", b"4\r\nab", b"4\r\nabcd\r", b"0\r\n", b"0\r\nz"):
        assert refused_at(begun) is None, begun


@pytest.mark.parametrize(
    ("trailers", "status"),
    [
        (b"X: y\r\n\r\n", None),
        (b"X: y\r\nX: z\r\n\r\n", None),
        (b"no colon\r\n\r\n", 400),
        (b"X : y\r\n\r\n", 400),
        (b"X: \x00\r\n\r\n", 400),
        (b"X: y\n\n", 400),
        (b"X: y\r\n folded\r\n\r\n", 400),
        (b"X: " + b"a" * 9000, 431),
    ],
)
def test_what_trails_the_chunks_is_bounded_and_well_formed(
    trailers: bytes, status: int | None
) -> None:
    body = b"4\r\nabcd\r\n0\r\n" + trailers
    assert whole(body) == (b"abcd" if status is None else status)


def test_trailers_are_told_beside_the_body_and_frame_nothing() -> None:
    server = ServerConnection(LIMITS, lambda request: True)
    server.receive_data(HEAD + b"4\r\nabcd\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n" + NEXT)
    assert server.next_request() is not None
    assert server.read_body() == b"abcd" and server.body_ended
    assert list(server.trailers) == [("x", "y"), ("content-length", "9")]
    server.send_response(Response())
    found = server.next_request()
    assert found is not None and found.target == "/next"
