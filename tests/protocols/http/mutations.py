"""Requests as they should be, and as they should not: mutated from a seed, for every reader."""

from __future__ import annotations

import random
from typing import Final

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "get", "G T", "")
TARGETS: Final = ("/", "/a?b=c#d", "*", "admin", "http://a/b", "http://", "a:80", "//", "/\t", "")
VERSIONS: Final = ("1.1", "1.1", "1.1", "1.1", "1.0", "1.2", "2.0", "0.9", "11", "1.1 ")
FIELDS: Final = (
    "X-A: b", "X-A:b ", "X-A : b", "X-A: \x01", "X-A: \x7f", "X-A: \xe9", "X-A: a\tb", "X-A:", ":",
    "X-A: a\r\n b", "Host: b", "Host: a b", "Host: a,b", "Host: [::1]:80", "Host:", "Host: a:b",
    "Connection: close", "Connection: keep-alive", "Connection: upgrade", "Cookie: a=1; b=2",
    "Content-Length: 0", "Content-Length: 4", "Content-Length: 04", "Content-Length: +4",
    "Content-Length: 4, 4", "Content-Length: 4, 5", "Content-Length: 0x4", "Content-Length: -4",
    "Content-Length: ", "Content-Length: 1_0", "Content-Length: 99999999999999999999999",
    "Transfer-Encoding: chunked", "Transfer-Encoding: Chunked", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: gzip",
    "Transfer-Encoding:\x0bchunked", "Expect: 100-continue", "Trailer: X-T", "Upgrade: h2c",
)  # fmt: skip
BODIES: Final = (
    "", "", "abcd", "0\r\n\r\n", "4\r\nabcd\r\n0\r\n\r\n", "4;x=1\r\nabcd\r\n0\r\nX-T: v\r\n\r\n",
    "0x4\r\nabcd\r\n0\r\n\r\n", "4\nabcd\n0\n\n", "-4\r\nabcd\r\n0\r\n\r\n",
    "4 \r\nabcd\r\n0\r\n\r\n",
    "ffffffffffffffffff\r\n", "4\r\nabcdX0\r\n\r\n", "zz", "4;x\x01\r\nabcd\r\n0\r\n\r\n",
    "2\r\nab\r\n02\r\ncd\r\n000\r\n\r\n", "4 ;x\r\nabcd\r\n0\r\n\r\n", "fff\r\n",
)  # fmt: skip
ENDS: Final = ("\r\n",) * 12 + ("\n", "\r", "\r\r\n")


def message(rng: random.Random) -> bytes:
    """One request, or nearly."""
    end = rng.choice(ENDS)
    fields = ["Host: a"] * (rng.random() < 0.9)
    fields += rng.choices(FIELDS, k=rng.choice((0, 0, 0, 1, 1, 2)))
    rng.shuffle(fields)
    method = rng.choice(METHODS if rng.random() < 0.2 else METHODS[:5])
    target = rng.choice(TARGETS if rng.random() < 0.2 else TARGETS[:2])
    version = rng.choice(VERSIONS)
    head = end.join([f"{method} {target} HTTP/{version}", *fields, "", ""])
    before = rng.choice(("", "", "", "\r\n", "\r\n\r\n", "\n", "\r", " "))
    return (before + head + rng.choice(BODIES)).encode("latin-1")


def mutated(rng: random.Random) -> bytes:
    """One or two of them, perhaps with a few bytes changed, cut out or doubled."""
    data = bytearray(b"".join(message(rng) for _ in range(rng.choice((1, 1, 2)))))
    for _ in range(rng.choice((0, 0, 1, 2))):
        at, size = rng.randrange(len(data)), rng.randrange(1, 6)
        match rng.randrange(4):
            case 0:
                data[at] = rng.choice((0, 9, 10, 11, 13, 32, 44, 48, 58, 127, rng.randrange(256)))
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size]
            case 3:
                data[at:at] = rng.choice((b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"0"))
    return bytes(data)
