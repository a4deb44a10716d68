"""What a request's head must be, beyond what makes it readable: version, target, hosts, codings.

The parsers (plain.py, h11) read; here is only judged, on the bytes as they came, so that a request
has one answer whoever reads it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

BLANK: Final = re.compile(rb"\n\r?\n")
"""The end of a head, whose lines may end in a bare line feed."""

EMPTY_LINES: Final = re.compile(rb"(?:\r?\n)+")
_BARE_RETURN: Final = re.compile(rb"\r[^\n]")
_NAME: Final = rb"[-A-Za-z0-9._~!$&'()*+;=%]+"
_AUTHORITY: Final = rb"(?:\[[0-9A-Fa-f:.]+\]|" + _NAME + rb")"
_PORT: Final = rb"(?::[0-9]{0,5})?"
HOST: Final = re.compile(rb"(?:" + _AUTHORITY + rb")?" + _PORT)
"""A Host header's value: one name, or none where the target has no authority."""

_ABSOLUTE: Final = re.compile(rb"(?i:https?)://" + _AUTHORITY + _PORT + rb"(?:[/?].*)?")
_ENDPOINT: Final = re.compile(_AUTHORITY + rb":[0-9]{1,5}")
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_METHOD: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_VERSION: Final = re.compile(rb"HTTP/([0-9])\.([0-9])")
_CODINGS: Final = frozenset({b"gzip", b"x-gzip", b"compress", b"x-compress", b"deflate"})
"""Transfer codings that there are, and that are not served here."""
_CHUNKED: Final = b"chunked"


class Refusal(NamedTuple):
    """Why the head is refused, and with which status."""

    reason: str
    status: int


def examine(data: bytearray, most_bytes: int) -> Refusal | bool:
    """Whether a parser should read what begins here: there is a whole head, or there never will
    be one. False: more must come."""
    end = BLANK.search(data, 0, most_bytes)
    if end is not None:
        return refusal(bytes(data[: end.start()])) or True
    if _BARE_RETURN.search(data):
        return Refusal("a carriage return that ends no line", 400)
    return len(data) > most_bytes or (bool(data) and data[:1] < b"!" and data != b"\r")


def refusal(head: bytes) -> Refusal | None:
    """What is wrong with these lines (without the blank one); None where a parser shall say."""
    lines = [line.removesuffix(b"\r") for line in _FOLD.sub(b" ", head).split(b"\n")]
    first, *fields = lines
    if any(_CONTROL.search(line) for line in lines):
        return Refusal("a control character in the head", 400)
    words = first.split(b" ")
    version = _VERSION.fullmatch(words[-1]) if len(words) == 3 else None
    if version is None or not _METHOD.fullmatch(words[0]):
        return None
    if version[1] != b"1":
        return Refusal(f"{words[2].decode()} is not spoken here", 505)
    return _target_refusal(words[0], words[1]) or _fields_refusal(fields, version[2] != b"0")


def _target_refusal(method: bytes, target: bytes) -> Refusal | None:
    """Each method takes the target in its own form (RFC 9112, 3.2)."""
    if method == b"CONNECT":
        if _ENDPOINT.fullmatch(target):
            return Refusal("no tunnels here", 501)
        return Refusal("CONNECT takes HOST:PORT", 400)
    if target == b"*":
        return None if method == b"OPTIONS" else Refusal("only OPTIONS may ask `*`", 400)
    if target.startswith(b"/") or _ABSOLUTE.fullmatch(target):
        return None
    return Refusal("the target is neither a path nor an http:// one", 400)


def _fields_refusal(fields: list[bytes], needs_host: bool) -> Refusal | None:
    hosts: list[bytes] = []
    codings: list[bytes] = []
    for line in fields:
        name, _, value = line.partition(b":")
        match name.lower():
            case b"host":
                hosts.append(value.strip(b" \t"))
            case b"transfer-encoding":
                codings += [each.strip(b" \t").lower() for each in value.split(b",")]
    if len(hosts) > 1 or (needs_host and not hosts):
        return Refusal(f"{len(hosts)} Host headers; there must be one", 400)
    if hosts and not HOST.fullmatch(hosts[0]):
        return Refusal("the Host is no host", 400)
    if any(each not in _CODINGS and each != _CHUNKED for each in codings):
        return Refusal("an unknown transfer coding", 400)
    if _CHUNKED in codings[:-1]:
        return Refusal("chunked must be the last transfer coding, once", 400)
    return None
