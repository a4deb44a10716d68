"""A command whose emu answers half, wrongly, or leaves says so, and nothing else comes of it."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from emu.control.client import ControlClient, ControlError
from protocols.errors import RpcError


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen(64)
        yield made


def answer(rng: random.Random, listener: socket.socket) -> None:
    """To one client: an answer, a part of it, one for somebody else, garbage, or nothing."""
    connection, _ = listener.accept()
    with connection:
        if rng.random() < 0.9:
            connection.recv(1000)
        whole = msgpack.packb([1, rng.choice((1, 1, 1, 7)), rng.choice((None, [], 5)), "x" * 99])
        said = rng.choice((whole, whole[: rng.randrange(len(whole))], b"", b"\xc1", b"\x90"))
        if rng.random() < 0.3:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.sendall(said)


def test_a_command_never_fails_but_with_an_error_it_can_tell(listener: socket.socket) -> None:
    rng, endings = random.Random("lost"), set()
    for _ in range(300):
        server = threading.Thread(target=answer, args=(rng, listener))
        server.start()
        try:
            with ControlClient(Path(listener.getsockname()), timeout_s=5) as client:
                endings.add(type(client.call("ps", "all")))
        except (ControlError, RpcError) as error:
            endings.add(type(error))
        server.join()
    assert {str, ControlError} < endings
