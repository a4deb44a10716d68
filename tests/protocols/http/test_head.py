"""What a head must be: by version, by the form of the target, by its hosts and codings."""

from __future__ import annotations

import pytest

from protocols.http.client import ClientConnection
from protocols.http.connection import ServerConnection
from protocols.http.message import (
    Limits,
    RemoteProtocolError,
    Request,
    Response,
)

HOST = b"Host: a\r\n"


def exchange(data: bytes, *, ends: bool = False) -> list[str | int]:
    """The targets of what is answered, then the status of a refusal, or `closed`, or nothing."""
    server, seen = ServerConnection(Limits(max_head_bytes=2000)), list[str | int]()
    server.receive_data(data)
    if ends:
        server.receive_data(b"")
    try:
        while (request := server.next_request()) is not None:
            seen.append(request.target)
            server.send_response(Response())
            if server.must_close:
                return [*seen, "closed"]
    except RemoteProtocolError as error:
        server.send_response(Response(error.status))
        return [*seen, error.status]
    return seen


def get(target: bytes = b"/", *fields: bytes, version: bytes = b"1.1", host: bytes = HOST) -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + host + lines + b"\r\n"


NEXT = get(b"/next")
BODY = b"4\r\nabcd\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"\r\n" + NEXT, ["/next"]),
        (b"\r\n\r\n\n" + NEXT + b"\r\n\r\n" + NEXT, ["/next", "/next"]),
        (b"\r\n" * 3000, []),
        (b"\r\r\n" + NEXT, [400]),
        (b"\r" + NEXT, [400]),
        (b" " + NEXT, [400]),
        (b"\x00" + NEXT, [400]),
    ],
    ids=["one", "between", "many", "bare", "bare before", "space", "nul"],
)
def test_empty_lines_before_a_request_are_skipped(data: bytes, seen: list[str | int]) -> None:
    assert exchange(data) == seen


@pytest.mark.parametrize("host", [b"a", b"a:80", b"[::1]:8080", b"127.0.0.1", b"a.b-c_d:", b""])
def test_a_host_is_one_name_and_perhaps_a_port(host: bytes) -> None:
    assert exchange(get(host=b"Host: " + host + b"\r\n") + NEXT) == ["/", "/next"]


@pytest.mark.parametrize(
    "host",
    [b"a b", b"a,b", b"a, b", b"a/b", b"a@b", b"a:b", b"a:1:2", b"::1", b"[::1", b"a\xff", b"a\tb",
     b"http://a", b"a?b", b"a:123456"],
)  # fmt: skip
def test_any_other_host_is_refused(host: bytes) -> None:
    assert exchange(get(host=b"Host: " + host + b"\r\n") + NEXT) == [400]
    assert exchange(get(host=b"Host:a\r\n " + host + b"\r\n") + NEXT) == [400]
    assert exchange(get(host=b"Host: " + host + b"\r\n", version=b"1.0") + NEXT) == [400]


def test_there_is_one_host_and_http_1_0_needs_none() -> None:
    assert exchange(get(host=b"")) == [400]
    assert exchange(get(host=b"", version=b"1.2")) == [400]
    assert exchange(get(host=HOST * 2)) == [400]
    assert exchange(get(host=HOST * 2, version=b"1.0")) == [400]
    assert exchange(get(host=b"", version=b"1.0")) == ["/", "closed"]


@pytest.mark.parametrize(
    ("version", "seen"),
    [
        (b"1.1", ["/"]),
        (b"1.2", ["/"]),
        (b"1.0", ["/", "closed"]),
        (b"2.0", [505]),
        (b"0.9", [505]),
        (b"3.1", [505]),
        (b"11", [400]),
        (b"1", [400]),
        (b"1.1.1", [400]),
        (b"1.1 x", [400]),
        (b"1,1", [400]),
    ],
)
def test_only_the_first_version_of_http_is_spoken(version: bytes, seen: list[str | int]) -> None:
    assert exchange(get(version=version)) == seen


def test_the_beginning_of_http_2_is_refused_as_a_version() -> None:
    assert exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == [505]


@pytest.mark.parametrize("value", [*(bytes([n]) for n in range(32) if n not in b"\t\n"), b"\x7f"])
def test_a_control_character_is_refused(value: bytes) -> None:
    assert exchange(get(b"/", b"X-A: b" + value + b"c") + NEXT) == [400]
    assert exchange(get(b"/", b"X-A: b" + value) + NEXT) == [400]
    assert exchange(get(b"/b" + value + b"c") + NEXT) == [400]


@pytest.mark.parametrize(
    ("method", "target", "seen"),
    [
        (b"GET", b"/", ["/"]),
        (b"GET", b"//", ["//"]),
        (b"OPTIONS", b"*", ["*"]),
        (b"GET", b"http://a", ["http://a"]),
        (b"GET", b"HTTPS://a:80/b?c", ["HTTPS://a:80/b?c"]),
        (b"GET", b"*", [400]),
        (b"GET", b"admin", [400]),
        (b"GET", b"a:80", [400]),
        (b"GET", b"?x", [400]),
        (b"GET", b"http://", [400]),
        (b"GET", b"http:///b", [400]),
        (b"GET", b"http://a b", [400]),
        (b"GET", b"ftp://a/b", [400]),
        (b"OPTIONS", b"**", [400]),
        (b"CONNECT", b"a:80", [501]),
        (b"CONNECT", b"[::1]:80", [501]),
        (b"CONNECT", b"a", [400]),
        (b"CONNECT", b"/", [400]),
        (b"CONNECT", b"*", [400]),
        (b"CONNECT", b"http://a/", [400]),
    ],
)
def test_each_method_takes_its_target_in_its_form(
    method: bytes, target: bytes, seen: list[str | int]
) -> None:
    assert exchange(method + b" " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n") == seen


def test_a_length_beside_a_coding_ends_the_connection() -> None:
    for fields in (
        (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        (b"transfer-encoding: Chunked", b"content-length: 14"),
    ):
        assert exchange(get(b"/", *fields) + BODY + NEXT) == ["/", "closed"]
    assert exchange(get(b"/", b"Transfer-Encoding: chunked") + BODY + NEXT) == ["/", "/next"]


@pytest.mark.parametrize(
    ("codings", "status"),
    [
        ([b"gzip, chunked"], 501),
        ([b"gzip", b"chunked"], 501),
        ([b"deflate"], 501),
        ([b"xchunked"], 400),
        ([b"identity"], 400),
        ([b"chunked;q=1"], 400),
        ([b"chunked, chunked"], 400),
        ([b"chunked", b"chunked"], 400),
        ([b"chunked, gzip"], 400),
        ([b""], 400),
        ([b"\x0bchunked"], 400),
    ],
)
def test_chunked_is_the_only_coding_and_comes_once(codings: list[bytes], status: int) -> None:
    fields = [b"Transfer-Encoding: " + each for each in codings]
    assert exchange(get(b"/", *fields) + BODY + NEXT) == [status]


@pytest.mark.parametrize("size", [b"0x4", b"-4", b"+4", b"4_0", b"g", b"", b" 4", b"f" * 21])
def test_a_bad_size_of_a_chunk_is_refused(size: bytes) -> None:
    data = get(b"/", b"Transfer-Encoding: chunked") + size + b"\r\nabcd\r\n0\r\n\r\n"
    assert exchange(data + NEXT) == [400]


def test_who_closes_its_half_is_answered_what_it_asked_whole() -> None:
    assert exchange(NEXT + NEXT, ends=True) == ["/next", "/next"]
    chunked = get(b"/", b"Transfer-Encoding: chunked") + BODY
    assert exchange(chunked + NEXT, ends=True) == ["/", "/next"]
    assert exchange(NEXT + chunked[:-3], ends=True) == ["/next", 400]
    assert exchange(NEXT + b"GET / HT", ends=True) == ["/next", 400]
    assert exchange(NEXT + b"\r\n", ends=True) == ["/next"]


def test_after_a_request_that_was_not_ordinary_the_next_one_is_read_as_ever() -> None:
    server = ServerConnection()
    server.receive_data(get(b"/", b"Transfer-Encoding: chunked") + BODY + b"\r\n" + NEXT)
    assert server.next_request() == Request("GET", "/", {"host": "a", "transfer-encoding":
                                                         "chunked"}, b"abcd")  # fmt: skip
    assert server.next_request() is None
    server.send_response(Response())
    found = server.next_request()
    assert found is not None and found.target == "/next"
    assert not server.mid_request


def test_an_upgrade_is_not_taken_up_and_what_follows_is_another_request() -> None:
    for fields in (
        (b"Connection: upgrade", b"Upgrade: websocket"),
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: a"),
    ):
        assert exchange(get(b"/", *fields) + NEXT) == ["/", "/next"]


@pytest.mark.parametrize(
    ("size", "seen"), [(1700, ["/"]), (2100, [414]), (20000, [414])], ids=["fits", "over", "far"]
)
def test_a_target_that_is_too_long_is_told_as_such(size: int, seen: list[str | int]) -> None:
    target = b"/" + b"a" * size
    for data in (get(target), get(target)[: size + 3]):
        server = ServerConnection(Limits(max_head_bytes=40000, max_line_bytes=2000))
        server.receive_data(data)
        if seen == ["/"]:
            request = server.next_request()
            assert request is None or request.target == target.decode()
            continue
        with pytest.raises(RemoteProtocolError) as caught:
            server.next_request()
        assert caught.value.status == 414


def test_a_head_of_many_fields_that_is_too_long_is_431_whether_it_ends_or_not() -> None:
    long = get(b"/", *(b"X-%d: %b" % (n, b"a" * 90) for n in range(30)))
    assert exchange(long) == [431]
    assert exchange(long[:-2]) == [431]
    assert exchange(long[:1500]) == []


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        ((b"X-A: b", b"X-A:"), "x-a", "b,"),
        ((b"X-A:", b"X-A:"), "x-a", ","),
        ((b"X-A:", b"X-A: b"), "x-a", ", b"),
        ((b"Cookie: a=1", b"Cookie:"), "cookie", "a=1;"),
    ],
)
def test_a_field_that_comes_again_empty_is_one_that_may_be_written_again(
    lines: tuple[bytes, ...], name: str, value: str
) -> None:
    server = ServerConnection(Limits())
    server.receive_data(get(b"/", *lines))
    request = server.next_request()
    assert request is not None and request.headers[name] == value
    ClientConnection().send_request("GET", "/", [("host", "a"), (name, value)])


@pytest.mark.parametrize("length", [b"0", b"3", b"99"])
def test_a_length_beside_chunks_is_told_to_nobody(length: bytes) -> None:
    both = (
        b"Transfer-Encoding: chunked\r\nContent-Length: "
        + length
        + b"\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
    )
    server, client = ServerConnection(Limits()), ClientConnection()
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\n" + both)
    request = server.next_request()
    assert request is not None and request.body == b"abcd"
    assert "content-length" not in request.headers
    client.send_request("GET", "/", [("host", "a")])
    response = client.receive_data(b"HTTP/1.1 200 OK\r\n" + both)
    assert response is not None and response.body == b"abcd"
    assert response.header("content-length") is None and not client.reusable


@pytest.mark.parametrize("lines", [(b"Content-Length:", b"Content-Length: 4"), (b"Host:",)])
def test_what_must_be_there_once_is_no_second_time_there_empty(lines: tuple[bytes, ...]) -> None:
    assert exchange(get(b"/", *lines)) == [400]


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        (b"X : 1\r\nY\t :2\r\n", [("x", "1"), ("y", "2")]),
        (b"X: a\r\n b\r\n\t c: d\r\nY:\r\n 2\r\n", [("x", "a b c: d"), ("y", "2")]),
        (b"X: 1\r\n \r\n", [("x", "1")]),
        (b" X: 1\r\nY: 2\r\n", None),
        (b"X: a\r\n b\x00\r\n", None),
        (b"X y: 1\r\n", None),
        (b" : 1\r\n", None),
    ],
)
def test_an_answers_fields_are_brought_into_one_form(
    lines: bytes, headers: list[tuple[str, str]] | None
) -> None:
    client = ClientConnection()
    client.send_request("GET", "/", [("host", "a")])
    answer = b"HTTP/1.1 204 No Content\r\n" + lines + b"\r\n"
    if headers is None:
        with pytest.raises(RemoteProtocolError):
            client.receive_data(answer)
    else:
        response = client.receive_data(answer)
        assert response is not None and list(response.headers) == headers


@pytest.mark.parametrize("line", [b"X : 1\r\n", b"X: a\r\n b\r\n"])
def test_a_request_of_another_form_is_refused(line: bytes) -> None:
    assert exchange(b"GET / HTTP/1.1\r\n" + HOST + line + b"\r\n") == [400]
