"""The most that Python can: a loop of epoll and msgpack alone, for what a benchmark does in it. No
Trio, no checks, no metrics."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgpack

from tests.bench import say

Asked = tuple[socket.socket, Any]
"""A connection, and an unpacker of what it has just sent."""


def rounds(connections: int) -> Iterator[Iterator[Asked]]:
    """Listen for so many, print where, and go on for ever: a round is who has sent something, one
    after the other as they are read."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=connections)
    say(address="127.0.0.1", port=listener.getsockname()[1])
    ready = select.epoll()
    ready.register(listener.fileno(), select.EPOLLIN)
    known: dict[int, Asked] = {}
    while True:
        yield _read(listener, ready, known)


def _read(listener: socket.socket, ready: select.epoll, known: dict[int, Asked]) -> Iterator[Asked]:
    for number, _ in ready.poll():
        if number == listener.fileno():
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(sock.fileno(), select.EPOLLIN)
            known[sock.fileno()] = sock, msgpack.Unpacker()
            continue
        sock, unpacker = known[number]
        data = b""
        with suppress(ConnectionResetError):
            data = sock.recv(65536)
        if not data:
            ready.unregister(number)
            known.pop(number)[0].close()
            continue
        unpacker.feed(data)
        yield sock, unpacker
