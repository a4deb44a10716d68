"""Messages as bytes. What would smuggle another line, or lie about a body, is not written.

content-length, transfer-encoding and connection: close are added here, by what the body is.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from protocols.http.message import PHRASES, Headers, LocalProtocolError

LENGTH: Final = "content-length"
_TOKEN: Final = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_VALUE: Final = r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
_LINES: Final = re.compile(rf"(?:{_TOKEN}: {_VALUE}\r\n)*")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_METHOD: Final = re.compile(_TOKEN)
_TARGET: Final = re.compile(r"[\x21-\x7e]+")
_FRAMING: Final = frozenset({LENGTH, "transfer-encoding", "connection"})
MAX_KNOWN: Final = 256
MAX_KNOWN_CHARS: Final = 1000
LAST_CHUNK: Final = b"0\r\n\r\n"


class Written(NamedTuple):
    """Headers as lines, and what they say of the framing."""

    text: str
    names: frozenset[str]
    """In lower case."""
    length: int | None
    close: bool


class Common(NamedTuple):
    """Lines that every answer has, unless its own headers have them."""

    lines: tuple[tuple[str, str], ...] = ()
    """Each with its name."""
    names: frozenset[str] = frozenset()
    text: str = ""

    def beside(self, names: frozenset[str]) -> str:
        if self.names.isdisjoint(names):
            return self.text
        return "".join([line for name, line in self.lines if name not in names])


NOTHING: Final = Common()


def common(headers: Headers) -> Common:
    found = tuple((name, lines([(name, value)])) for name, value in headers)
    names = frozenset(name for name, _ in found)
    return Common(found, names, "".join(line for _, line in found))


class Writer:
    """Of the headers of one end, which often are the same ones: the latest are known."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Headers, Written] = {}

    def headers(self, headers: Headers) -> Written:
        """Raises LocalProtocolError."""
        if type(headers) is not tuple:
            return written(headers)
        found = self._known.get(headers)
        if found is None:
            found = written(headers)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            if len(found.text) <= MAX_KNOWN_CHARS:
                self._known[headers] = found
        return found


def written(headers: Headers) -> Written:
    """Raises LocalProtocolError for what is no header, or is not a caller's to say."""
    names = frozenset([name.lower() for name, _ in headers])
    if _FRAMING.isdisjoint(names):
        return Written(lines(headers), names, None, False)
    length, close = None, False
    others: list[tuple[str, str]] = []
    for name, value in headers:
        match name.lower():
            case "content-length" if length is None and _LENGTH.fullmatch(value):
                length = int(value)
            case "connection" if value.lower() in ("close", "keep-alive"):
                close = close or value.lower() == "close"
            case other if other in _FRAMING:
                raise LocalProtocolError(f"not a caller's to say: {name}: {value[:100]}")
            case _:
                others.append((name, value))
    return Written(lines(others), names, length, close)


def request_head(method: str, target: str, headers: str, framing: str) -> bytes:
    """Both are lines; `framing` says what the body is. Raises LocalProtocolError."""
    if _METHOD.fullmatch(method) is None or _TARGET.fullmatch(target) is None:
        raise LocalProtocolError(f"no method and target: {method!r} {target[:100]!r}")
    return f"{method} {target} HTTP/1.1\r\n{headers}{framing}\r\n".encode("latin-1")


def response_head(status: int, headers: str, framing: str) -> bytes:
    """The same of a response."""
    if not 100 <= status <= 999:
        raise LocalProtocolError(f"no status: {status}")
    phrase = PHRASES.get(status, "Unknown")
    return f"HTTP/1.1 {status} {phrase}\r\n{headers}{framing}\r\n".encode("latin-1")


def lines(headers: Headers) -> str:
    """Each header as one well-formed line: none smuggles another."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if _LINES.fullmatch(text) is None or text.count("\n") != len(headers):
        raise LocalProtocolError(f"no headers: {text[:200]!r}")
    return text


def chunk(data: bytes) -> bytes:
    """One chunk; b"" has none, because it would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: Headers) -> bytes:
    return b"0\r\n%b\r\n" % lines(trailers).encode("latin-1") if trailers else LAST_CHUNK
