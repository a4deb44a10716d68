"""Hostile input, drawn from a seed: broken MessagePack-RPC frames, HTTP and DNS messages, PROXY
headers; and a client that sends them whole, in pieces, half, or never to the end."""

from __future__ import annotations

import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import dns.flags
import dns.message
import msgpack

MAX_HANGING: Final = 150
"""Connections that are left open in the middle of a message, until newer ones take their place."""
END_TIMEOUT_S: Final = 15.0
METHODS: Final = ("ping", "site.home", "site.profile", "site.search", "site.post", "site.login",
                  "site.count_posts", "hello", "no.such", "", "\x00", "é" * 50)  # fmt: skip
PATHS: Final = ("/", "/api/home", "/u/ada", "/search?q=%ff%00", "/static/../../etc/passwd", "/post",
                "/login", "*", "//", "/" + "a" * 3000, "http://x/y", "/%", "/\u00e9")  # fmt: skip

Make = Callable[[random.Random], bytes]


def choose(rng: random.Random, *makers: Make) -> bytes:
    return rng.choice(makers)(rng)


def noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((1, 2, 7, 64, 300, 5000)))


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A bit flipped, a piece cut out, doubled, or the end missing."""
    if len(data) < 2:
        return data
    at = rng.randrange(len(data))
    size = rng.randrange(1, 9)
    match rng.randrange(4):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[at + size :]
        case 2:
            return data[:at] + data[at : at + size] * rng.randrange(2, 50) + data[at:]
    return data[:at]


# --- MessagePack-RPC ---------------------------------------------------------------------------


def value(rng: random.Random, depth: int = 0) -> Any:
    """Anything that MessagePack can say."""
    leaf = depth > 4 or rng.random() < 0.6
    if leaf:
        return rng.choice((None, True, 0, -1, 2**63, -(2**63), 1.5, float("nan"), float("inf"), "",
                           "ada", "x" * 5000, b"\xff" * 40, rng.randbytes(9),
                           msgpack.ExtType(5, b"ext")))  # fmt: skip
    items = [value(rng, depth + 1) for _ in range(rng.randrange(5))]
    if rng.random() < 0.5:
        return items
    return {rng.choice(("a", "remaining_ms", "trace", 7, b"k")): item for item in items}


def request(rng: random.Random) -> bytes:
    msgid: Any = rng.choice((0, 1, 2**32 - 1, 2**40, -3, "1", None))
    params: Any = [value(rng) for _ in range(rng.randrange(5))]
    if rng.random() < 0.3:
        params.append({rng.choice(("ms", "remaining_ms")): value(rng)})
    return bytes(msgpack.packb([0, msgid, rng.choice(METHODS), params]))


def conversation(rng: random.Random) -> bytes:
    """After `hello`, so that metadata counts: odd deadlines, epochs, cancellations."""
    said = [[0, 0, "hello", [{}]]]
    for msgid in range(1, rng.randrange(2, 8)):
        metadata = {
            key: value(rng) for key in ("remaining_ms", "trace", "epoch") if rng.random() < 0.7
        }
        method = rng.choice(("ping", "site.home", "site.profile", "site.post"))
        said.append([0, msgid, method, [*(value(rng) for _ in range(rng.randrange(4))), metadata]])
        if rng.random() < 0.5:
            said.append([2, "cancel", [rng.choice((msgid, value(rng)))]])
    return b"".join(bytes(msgpack.packb(each)) for each in said)


def wrong_shape(rng: random.Random) -> bytes:
    return bytes(msgpack.packb(rng.choice((
        [], [0], [1, 2], [2, "cancel", [value(rng)]], [2, value(rng), value(rng)],
        [3, 1, "ping", []], [0, 1, "ping", value(rng)], [0, 1, value(rng), []], [None],
        [1, 5, None, "unasked"], [[[]]],
        [0, 1, "ping", [], "more"], [value(rng) for _ in range(4)]))))  # fmt: skip


def lying_size(rng: random.Random) -> bytes:
    """Headers that promise far more than comes."""
    header = rng.choice((b"\xdd\xff\xff\xff\xff", b"\x94\x00\x01\xdb\xff\xff\xff\xff",
                         b"\x94\x00\x01\xa4ping\xdd\x7f\xff\xff\xff", b"\xdc\xff\xff",
                         b"\x94\x00\x01\xa4ping\xdf\xff\xff\xff\xff",
                         b"\x94\x00\x01\xc6\xff\xff\xff\xff",
                         b"\x94\x00\x01\xa4ping\x91\xc9\xff\xff\xff\xff\x01"))  # fmt: skip
    return header + rng.randbytes(rng.choice((0, 10, 3000)))


def oversized(rng: random.Random) -> bytes:
    size = rng.choice((70_000, 1 << 20, (1 << 20) + 5000, 2 << 20))
    return b"\x94\x00\x01\xa4ping\x91\xc6" + struct.pack(">I", size) + b"x" * size


def nested(rng: random.Random) -> bytes:
    depth = rng.choice((30, 200, 1000, 20_000))
    opening = rng.choice((b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\x94\x00\x01\xa4ping\x91"))
    return opening * depth + b"\xc0"


def poison(rng: random.Random) -> bytes:
    return rng.choice((b"\xc1", b"\x94\xc1", b"\x94\x00\x01\xa2\xff\xfe\x90",
                       b"\x94\x00\x01\xa4ping\x81\x01\x02", b"\xc0" * 500,
                       b"\x00" * 3000, b"\xd9\x05ab"))  # fmt: skip


def flood(rng: random.Random) -> bytes:
    """Many requests at once on one connection."""
    one = bytes(msgpack.packb([0, 1, "ping", []]))
    return one * rng.choice((50, 2000))


def rpc_frame(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return damaged(rng, request(rng))
    if rng.random() < 0.02:
        return choose(rng, oversized, flood)
    return choose(rng, noise, request, request, request, conversation, wrong_shape, wrong_shape,
                  lying_size, nested, poison)  # fmt: skip


# --- HTTP --------------------------------------------------------------------------------------


def http_request(rng: random.Random) -> bytes:
    method = rng.choice(("GET", "HEAD", "POST", "PUT", "get", "BREW", "", "G" * 300, "GE\x00T"))
    version = rng.choice(
        ("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "http/1.1", "HTTP/1.1 x")
    )
    end = rng.choice(("\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n \r\n"))
    headers = rng.choice((
        "Host: a", "", "Host a", "Host: a\r\nHost: b", ": x", "A\x00: b", "x: " + "y" * 20_000,
        "Host: a\r\n folded", "Content-Length: -1", "Content-Length: 99999999999999999999",
        "Content-Length: 5\r\nContent-Length: 6", "Content-Length: abc",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked\r\nContent-Length: 3", "Expect: 100-continue",
        "Cookie: " + "a=b; " * 500, "X-Deadline-Ms: nan", "X-Deadline-Ms: -5", "X-Emu-Token: 1e9",
        "X-Emu-Path: \xff\xfe", "If-None-Match: " + '"' * 900,
        "\r\n".join(f"h{n}: x" for n in range(300)),
        "Connection: close, keep-alive, upgrade\r\nUpgrade: websocket",
    ))  # fmt: skip
    body = rng.choice((b"", b"", b"x" * 10, b"5\r\nhello\r\n0\r\n\r\n", b"fffffffffff\r\n",
                       b"-1\r\nx", b'{"author":', b'{"a":' * 2000, b"%zz=%",
                       b"\xff" * 3000))  # fmt: skip
    head = f"{method} {rng.choice(PATHS)} {version}{end}{headers}{end}Host: a{end}{end}"
    return head.encode("latin-1", "replace") + body


def other_protocol(rng: random.Random) -> bytes:
    return rng.choice((
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
        b"SSH-2.0-OpenSSH_9\r\n", b"\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"EHLO x\r\n", b"\r\n" * 100,
    ))  # fmt: skip


def proxy_header(rng: random.Random) -> bytes:
    command = rng.choice((b"\x21\x11", b"\x20\x00", b"\x11\x11", b"\x2f\xff"))
    size = struct.pack(">H", rng.choice((0, 12, 5, 65535)))
    whole = b"\r\n\r\n\x00\r\nQUIT\n" + command + size + rng.randbytes(12)
    if rng.random() < 0.5:
        return whole[: rng.randrange(1, len(whole))]
    return whole + http_request(rng)


def http_message(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return damaged(rng, http_request(rng))
    if rng.random() < 0.05:
        return b"GET /static/mark.svg HTTP/1.1\r\nHost: a\r\n\r\n" * 500
    return choose(
        rng, http_request, http_request, http_request, noise, other_protocol, proxy_header
    )


# --- DNS ---------------------------------------------------------------------------------------


def dns_query(rng: random.Random) -> bytes:
    name = rng.choice(("www.example.test", "example.test", "nothing.example.test", "example.org",
                       ".", "a." * 100 + "example.test"))  # fmt: skip
    kind = rng.choice(("A", "AAAA", "ANY", "SOA", "NS", "TXT", "AXFR", "IXFR", "OPT", "TYPE65535"))
    query = dns.message.make_query(name, kind, id=rng.randrange(1 << 16))
    if rng.random() < 0.5:
        query.use_edns(rng.choice((0, 0, 1, 255)), payload=rng.choice((0, 511, 512, 1232, 65535)))
    query.flags = dns.flags.Flag(rng.choice((0x0100, 0x0100, 0x8000, 0xFFFF, 0x2800)))
    return query.to_wire(max_size=65535)


def dns_message(rng: random.Random) -> bytes:
    header = struct.pack(">HHHHHH", rng.randrange(1 << 16), 0x0100, *(
        rng.choice((0, 1, 1, 2, 65535)) for _ in range(4)))  # fmt: skip
    match rng.randrange(8):
        case 0:
            return noise(rng)[:1400]
        case 1:
            return header + b"\xc0\x0c\x00\x01\x00\x01"  # a name that points at itself
        case 2:
            return header + b"\x3f" + b"a" * rng.randrange(70) + rng.randbytes(9)
        case 3:
            return header + b"\xc0" * rng.randrange(1, 300)
        case 4 | 5:
            return damaged(rng, dns_query(rng))[:1400]
    return dns_query(rng)[:1400]


def dns_stream(rng: random.Random) -> bytes:
    message = dns_message(rng)
    size = rng.choice((len(message), len(message), len(message), 0, 1, 65535, len(message) * 2))
    return (struct.pack(">H", size & 0xFFFF) + message) * rng.choice((1, 1, 1, 40))


# --- the client --------------------------------------------------------------------------------


class Attacker:
    """Sends what `make` draws, each on a connection of its own."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.hanging: deque[socket.socket] = deque()
        self.sent = 0
        self.refused = 0

    def close(self) -> None:
        while self.hanging:
            self.hanging.popleft().close()

    def attack(self, address: tuple[str, int], make: Make, times: int) -> None:
        for _ in range(times):
            self.sent += 1
            try:
                self._once(address, make(self.rng))
            except OSError:  # reset or closed under us: that is an answer too
                self.refused += 1

    def _once(self, address: tuple[str, int], data: bytes) -> None:
        connection = socket.create_connection(address, timeout=END_TIMEOUT_S)
        how = self.rng.choices(("close", "end", "hang", "reset"), (50, 25, 15, 10))[0]
        kept = False
        try:
            self._send(connection, data)
            if how == "end":
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass  # whoever has heard the end must answer or close
            elif how == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif how == "hang":
                kept = True
        except TimeoutError:
            raise AssertionError(f"no end after {END_TIMEOUT_S:g} s of {data[:200]!r}") from None
        finally:
            if not kept:
                connection.close()
        if kept:
            self.hanging.append(connection)
        if len(self.hanging) > MAX_HANGING:
            self.hanging.popleft().close()

    def _send(self, connection: socket.socket, data: bytes) -> None:
        pieces = self.rng.choice((1, 1, 1, 3))
        if self.rng.random() < 0.3:
            data = data[: self.rng.randrange(len(data) + 1)]
        step = max(1, len(data) // pieces)
        for start in range(0, len(data), step):
            with suppress(TimeoutError):
                connection.sendall(data[start : start + step])

    def datagrams(self, address: tuple[str, int], make: Make, times: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            for _ in range(times):
                self.sent += 1
                with suppress(OSError):
                    sock.sendto(make(self.rng), address)
                with suppress(OSError):
                    while True:
                        sock.recv(65536)
