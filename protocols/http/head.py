"""A message's head: its lines read, and judged. Whoever reads a message reads its head here, so
that it has one meaning and one answer.

What it says of the body is told as `Framing`; where that body ends is found in bodies.py.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from protocols.http.message import Limits, RemoteProtocolError

END: Final = b"\r\n\r\n"
_BREAK: Final = re.compile(rb"\r[^\n]|(?<!\r)\n")
"""A carriage return or a line feed that is only half of a line's end."""
BAD_BREAK: Final = "a line ends with a carriage return and a line feed"
_EMPTY_LINES: Final = re.compile(rb"(?:\r?\n)+")
_FIRST: Final = 0x21
"""No message begins with a byte below this."""

_TOKEN: Final = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_TEXT: Final = r"[\t\x20-\x7e\x80-\xff]*"
_LINES: Final = re.compile(rf"(?:{_TOKEN}:{_TEXT}\r\n)*")
_FOLD: Final = re.compile(r"\r\n[ \t]+")
_BLANKS: Final = re.compile(rf"^({_TOKEN})[ \t]+:", re.MULTILINE)
_REQUEST: Final = re.compile(rf"({_TOKEN}) ([\x21-\x7e]+) HTTP/1\.([0-9])\r\n")
_RESPONSE: Final = re.compile(rf"HTTP/1\.([0-9]) ([1-9][0-9]{{2}})(?: {_TEXT})?\r\n")
_ANY_VERSION: Final = re.compile(rf"{_TOKEN} [\x21-\x7e]+ (HTTP/[0-9]\.[0-9])\r\n")

_NAME: Final = r"[-A-Za-z0-9._~!$&'()*+;=%]+"
_AUTHORITY: Final = rf"(?:\[[0-9A-Fa-f:.]+\]|{_NAME})"
_PORT: Final = r"(?::[0-9]{0,5})?"
_HOST: Final = re.compile(rf"(?:{_AUTHORITY})?{_PORT}")
"""One name, or none where the target has no authority."""
_ABSOLUTE: Final = re.compile(rf"(?i:https?)://{_AUTHORITY}{_PORT}(?:[/?].*)?")
_ENDPOINT: Final = re.compile(rf"{_AUTHORITY}:[0-9]{{1,5}}")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CODINGS: Final = frozenset({"gzip", "x-gzip", "compress", "x-compress", "deflate"})
"""Transfer codings that there are, and that are not served here."""


class Fields(NamedTuple):
    """The fields of a head, and what they say of the message. Names are lower case."""

    pairs: list[tuple[str, str]]
    joined: dict[str, str]
    """Repeated ones as one."""
    length: int | None
    """Of the body, where it is told."""
    chunked: bool
    close: bool
    """No other message follows on this connection."""


class RequestHead(NamedTuple):
    """`minor`: of HTTP/1.x."""

    method: str
    target: str
    minor: int
    fields: Fields


class ResponseHead(NamedTuple):
    """`minor`: of HTTP/1.x."""

    status: int
    minor: int
    fields: Fields


class Reader:
    """Of the heads on one connection, which often repeat their fields to the letter."""

    __slots__ = ("_fields", "_limits", "_lines", "_searched_bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._searched_bytes = 0
        """Of the buffer, without finding an end."""
        self._lines = ""
        self._fields = Fields([], {}, None, False, False)

    def request(self, buffer: bytearray) -> RequestHead | None:
        """Take the next one from the buffer; None: more must come. Raises RemoteProtocolError."""
        text = self._take(buffer)
        if text is None:
            return None
        try:
            return self._read_request(text)
        except RemoteProtocolError as error:
            if error.status != 400 and _BREAK.search(text.encode("latin-1")):
                raise RemoteProtocolError(BAD_BREAK) from error  # as if it had come in pieces
            raise

    def _read_request(self, text: str) -> RequestHead:
        begun = _REQUEST.match(text)
        if begun is None:
            _refuse_line(text)
        method, target, minor = begun.groups()
        if target[0] != "/" or method == "CONNECT":
            _judge_target(method, target)
        fields = self._read_fields(text[begun.end() :])
        host = fields.joined.get("host")
        if host is None:
            if minor != "0":
                raise RemoteProtocolError("no Host header; there must be one")
        elif _HOST.fullmatch(host) is None:
            raise RemoteProtocolError("the Host is no host, or more than one")
        if minor == "0" and fields.chunked:
            raise RemoteProtocolError("HTTP/1.0 knows no chunks")
        return RequestHead(method, target, int(minor), fields)

    def response(self, buffer: bytearray) -> ResponseHead | None:
        """The same of a response."""
        text = self._take(buffer)
        if text is None:
            return None
        begun = _RESPONSE.match(text)
        if begun is None:
            raise RemoteProtocolError("no HTTP/1 response begins so")
        lines = text[begun.end() :]
        try:
            fields = self._read_fields(lines)
        except RemoteProtocolError:
            mended = in_one_form(lines)
            if mended == lines:
                raise
            fields = self._read_fields(mended)
        return ResponseHead(int(begun[2]), int(begun[1]), fields)

    def _take(self, buffer: bytearray) -> str | None:
        """The lines of a head, each with its end, without the empty one."""
        if buffer and buffer[0] < _FIRST:  # before a message empty lines mean nothing
            empty = _EMPTY_LINES.match(buffer)
            if empty is not None:
                del buffer[: empty.end()]
        limits = self._limits
        end = buffer.find(END, max(0, self._searched_bytes - 3), limits.max_head_bytes)
        if end < 0:
            _judge_unfinished(buffer, self._searched_bytes, limits)
            self._searched_bytes = len(buffer)
            return None
        self._searched_bytes = 0
        if end > limits.max_line_bytes and buffer.find(b"\r\n") > limits.max_line_bytes:
            raise RemoteProtocolError("the request's first line is too long", 414)
        text = buffer[: end + 2].decode("latin-1")
        del buffer[: end + 4]
        return text

    def _read_fields(self, lines: str) -> Fields:
        if lines != self._lines:
            self._fields = read_fields(lines)
            self._lines = lines
        return self._fields


def read_fields(lines: str) -> Fields:
    """Raises RemoteProtocolError where they do not say one thing."""
    pairs = read_pairs(lines)
    joined = dict(pairs)
    if len(joined) != len(pairs):
        joined = _joined(pairs)
    length = joined.get("content-length")
    if length is not None and _LENGTH.fullmatch(length) is None:
        raise RemoteProtocolError("the Content-Length is no number, or more than one")
    coding = joined.get("transfer-encoding")
    if coding is not None:
        _judge_codings([each.strip(" \t").lower() for each in coding.split(",")])
    connection = joined.get("connection")
    close = connection is not None and "close" in tokens(connection)
    if coding is not None and length is not None:  # the chunks say where it ends (RFC 9112, 6.3)
        pairs = [pair for pair in pairs if pair[0] != "content-length"]
        del joined["content-length"]
        close, length = True, None
    return Fields(pairs, joined, None if length is None else int(length), coding is not None, close)


def read_pairs(lines: str) -> list[tuple[str, str]]:
    """Each line's name, in lower case, and its value."""
    if not lines:
        return []
    if _LINES.fullmatch(lines) is None:
        _refuse_fields(lines)
    fields = [line.partition(":") for line in lines[:-2].split("\r\n")]
    return [(name.lower(), value.strip(" \t")) for name, _, value in fields]


def in_one_form(lines: str) -> str:
    """A response's fields as a proxy passes them on: no line folded, no blank before a colon (RFC
    9112, 5.1 and 5.2). A request with either is refused."""
    return _BLANKS.sub(r"\1:", _FOLD.sub(" ", lines))


def tokens(value: str) -> list[str]:
    """The members of a list of words, in lower case."""
    return [each.strip(" \t").lower() for each in value.split(",")]


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Each value is one that may be written again: it ends with no blank, where the last one of its
    lines is empty."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        before = joined.get(name)
        separator = "; " if name == "cookie" else ", "
        joined[name] = value if before is None else f"{before}{separator}{value}".rstrip(" ")
    return joined


# --- what is refused, and why --------------------------------------------------------------------


def _judge_unfinished(buffer: bytearray, seen_bytes: int, limits: Limits) -> None:
    """Refuse at once what cannot become a head."""
    if _BREAK.search(buffer, max(0, seen_bytes - 1), limits.max_head_bytes):
        raise RemoteProtocolError(BAD_BREAK)
    if buffer and buffer[0] < _FIRST and buffer != b"\r":
        raise RemoteProtocolError("no message begins so")
    if len(buffer) > limits.max_line_bytes and b"\r\n" not in buffer[: limits.max_line_bytes]:
        raise RemoteProtocolError("the request's first line is too long", 414)
    if len(buffer) > limits.max_head_bytes:
        raise RemoteProtocolError("the head is too long", 431)


def _refuse_line(text: str) -> NoReturn:
    version = _ANY_VERSION.match(text)
    if version is not None:
        raise RemoteProtocolError(f"{version[1]} is not spoken here", 505)
    raise RemoteProtocolError("a request begins with METHOD TARGET HTTP/1.1")


def _refuse_fields(lines: str) -> NoReturn:
    if lines[0] in " \t" or "\n " in lines or "\n\t" in lines:
        raise RemoteProtocolError("a folded line in the head")
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n", lines):
        raise RemoteProtocolError("a control character in the head")
    raise RemoteProtocolError("a line of the head is not NAME: VALUE")


def _judge_target(method: str, target: str) -> None:
    """Each method takes the target in its own form (RFC 9112, 3.2)."""
    if method == "CONNECT":
        if _ENDPOINT.fullmatch(target):
            raise RemoteProtocolError("no tunnels here", 501)
        raise RemoteProtocolError("CONNECT takes HOST:PORT")
    if target == "*":
        if method != "OPTIONS":
            raise RemoteProtocolError("only OPTIONS may ask `*`")
    elif _ABSOLUTE.fullmatch(target) is None:
        raise RemoteProtocolError("the target is neither a path nor an http:// one")


def _judge_codings(codings: list[str]) -> None:
    if any(each not in _CODINGS and each != "chunked" for each in codings):
        raise RemoteProtocolError("an unknown transfer coding")
    if "chunked" in codings[:-1]:
        raise RemoteProtocolError("chunked must be the last transfer coding, once")
    if codings != ["chunked"]:
        raise RemoteProtocolError("chunked is the only transfer coding here", 501)
