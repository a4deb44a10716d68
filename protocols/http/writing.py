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
LAST_CHUNK: Final = b"0\r\n\r\n"


class Told(NamedTuple):
    """What a caller's headers say of the framing, and the others."""

    others: Headers
    length: int | None
    close: bool


def told(headers: Headers) -> Told:
    """Raises LocalProtocolError for what is not a caller's to say."""
    framing = [each for each in headers if each[0] in _FRAMING or each[0].lower() in _FRAMING]
    if not framing:
        return Told(headers, None, False)
    length, close = None, False
    for name, value in framing:
        match name.lower():
            case "content-length" if length is None and _LENGTH.fullmatch(value):
                length = int(value)
            case "connection" if value.lower() in ("close", "keep-alive"):
                close = close or value.lower() == "close"
            case _:
                raise LocalProtocolError(f"not a caller's to say: {name}: {value[:100]}")
    return Told([each for each in headers if each not in framing], length, close)


def request_head(method: str, target: str, headers: Headers, framing: str) -> bytes:
    """`framing`: the lines that say what the body is. Raises LocalProtocolError."""
    if _METHOD.fullmatch(method) is None or _TARGET.fullmatch(target) is None:
        raise LocalProtocolError(f"no method and target: {method!r} {target[:100]!r}")
    return f"{method} {target} HTTP/1.1\r\n{lines(headers)}{framing}\r\n".encode("latin-1")


def response_head(status: int, headers: Headers, framing: str) -> bytes:
    """The same of a response."""
    if not 100 <= status <= 999:
        raise LocalProtocolError(f"no status: {status}")
    phrase = PHRASES.get(status, "Unknown")
    return f"HTTP/1.1 {status} {phrase}\r\n{lines(headers)}{framing}\r\n".encode("latin-1")


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
