"""Ordinary HTTP/1.1 messages, whole and well formed, read and written by hand: what nearly all are.

Whatever is not that ordinary is left to h11 (see connection.py), which would have come to the same
for all that is accepted here; tests/protocols/http/test_plain.py holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from protocols.http.head import BLANK, HOST

MAX_BODY_BYTES: Final = 8192
"""A longer body is not waited for here."""
MAX_ANSWER_HEAD_BYTES: Final = 16384
KEEP_ALIVE: Final = b"keep-alive"

_TOKEN: Final = rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+"
_VALUE: Final = rb"(?:[\x21-\x7e]+(?:[ \t]+[\x21-\x7e]+)*)?"
_FIELD: Final = re.compile(rb"(%b):[ \t]*(%b)[ \t]*\r\n" % (_TOKEN, _VALUE))
_FIELDS: Final = re.compile(rb"(?:%b:[ \t]*%b[ \t]*\r\n)*" % (_TOKEN, _VALUE))
_WRITTEN: Final = re.compile(rb"(?:%b: %b\r\n)*" % (_TOKEN, _VALUE))
_REQUEST: Final = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|PATCH) (/[\x21-\x7e]*) HTTP/1\.1\r\n")
_RESPONSE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [\x20-\x7e]*\r\n")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"})
_TARGET: Final = re.compile(r"[\x21-\x7e]+")
_LENGTH: Final = re.compile(rb"[0-9]{1,7}")
_STEERING: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te"})
"""Headers that change how a message is read: not ordinary."""
_FRAMING: Final = frozenset({*_STEERING, b"connection", b"content-length", b"host"})
_NO_BODY: Final = frozenset({204, 304})

Pairs = Sequence[tuple[bytes, bytes]]


class Incomplete:
    """So far it is ordinary, but not whole."""


INCOMPLETE: Final = Incomplete()


class PlainRequest(NamedTuple):
    """`size_bytes`: how much of the data it was. Header names are lower case."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    size_bytes: int


class PlainResponse(NamedTuple):
    """Header names are lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    size_bytes: int


def read_request(
    data: bytearray, max_head_bytes: int, max_body_bytes: int
) -> PlainRequest | Incomplete | None:
    """The request at the start of `data`; None if it is not an ordinary one."""
    if data and data[0] not in b"GHPD":
        return None
    found = _read_head(data, _REQUEST, max_head_bytes)
    if not isinstance(found, _Head):
        return found
    length = found.length or 0
    if found.hosts != 1 or length > min(MAX_BODY_BYTES, max_body_bytes):
        return None
    size = found.size_bytes + length
    if len(data) < size:
        return INCOMPLETE
    method, target = found.start.groups()
    body = bytes(data[found.size_bytes : size])
    return PlainRequest(method, target, found.headers, body, size)


def read_response(data: bytearray, max_body_bytes: int) -> PlainResponse | Incomplete | None:
    """The response at the start of `data` (not to a HEAD); None if it is not an ordinary one."""
    if data[:5] != b"HTTP/"[: len(data)]:
        return None
    found = _read_head(data, _RESPONSE, MAX_ANSWER_HEAD_BYTES)
    if not isinstance(found, _Head):
        return found
    status, length = int(found.start[1]), found.length
    if length is None or length > max_body_bytes or status in _NO_BODY:
        return None
    size = found.size_bytes + length
    if len(data) < size:
        return INCOMPLETE
    return PlainResponse(status, found.headers, bytes(data[found.size_bytes : size]), size)


class _Head(NamedTuple):
    """A whole head: its first line, its headers, and what those say of the body."""

    start: re.Match[bytes]
    headers: list[tuple[bytes, bytes]]
    length: int | None
    hosts: int
    size_bytes: int


def _read_head(
    data: bytearray, first_line: re.Pattern[bytes], max_bytes: int
) -> _Head | Incomplete | None:
    end = data.find(b"\r\n\r\n")
    if end < 0:  # too long, or ended by bare line feeds, it is not ordinary
        fits = len(data) <= max_bytes and BLANK.search(data) is None
        return INCOMPLETE if fits else None
    start = first_line.match(data)
    if start is None or end > max_bytes or not _FIELDS.fullmatch(data, start.end(), end + 2):
        return None
    headers: list[tuple[bytes, bytes]] = []
    length: int | None = None
    hosts = 0
    for name, value in _FIELD.findall(data, start.end(), end + 2):
        name = name.lower()
        if name in _FRAMING:
            if name == b"host":
                if HOST.fullmatch(value) is None:
                    return None
                hosts += 1
            elif name == b"content-length":
                if length is not None or _LENGTH.fullmatch(value) is None:
                    return None
                length = int(value)
            elif name != b"connection" or value.lower() != KEEP_ALIVE:
                return None
        headers.append((name, value))
    return _Head(start, headers, length, hosts, end + 4)


def write_request(method: str, target: str, headers: Pairs, body: bytes) -> bytes | None:
    """Its bytes; None if it is not an ordinary one. content-length is added."""
    if method not in _METHODS or _TARGET.fullmatch(target) is None:
        return None
    if not headers or headers[0][0].lower() != b"host":
        return None
    lines = _written(headers)
    if lines is None or any(name.lower() in _FRAMING for name, _ in headers[1:]):
        return None
    if body or method in ("POST", "PUT", "PATCH"):
        lines += b"content-length: %d\r\n" % len(body)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method.encode(), target.encode(), lines, body)


def write_response(
    status: int, reason: bytes, headers: Pairs, body: bytes, *, to_head: bool
) -> bytes | None:
    """Its bytes; None if it is not an ordinary one. content-length is added."""
    if not 200 <= status <= 599 or status in _NO_BODY:
        return None
    lines = _written(headers)
    if lines is None or any(name.lower() in _FRAMING for name, _ in headers):
        return None
    start = b"HTTP/1.1 %d %b\r\n%bcontent-length: %d\r\n\r\n" % (status, reason, lines, len(body))
    return start if to_head else start + body


def _written(headers: Pairs) -> bytes | None:
    """Each header as one well-formed line: none smuggles another."""
    lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
    one_each = lines.count(b"\n") == len(headers)
    return lines if one_each and _WRITTEN.fullmatch(lines) is not None else None
