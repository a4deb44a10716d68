"""The process that syncs files for emu: a thread would compete with the loop for the interpreter.

It imports nothing of emu and knows no files, only descriptors that come over its socket, and those
of them that it was told to keep. It ends when its socket does, with emu or before.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

ORDER = struct.Struct("<IBi")
"""The number of an order, what to do, and the key of a kept descriptor (else one comes along)."""
ANSWER = struct.Struct("<Ii")
"""The number of an order, and its errno (0: done). What is forgotten has no answer."""

NAMES_TOO, KEPT, FORGET = 1, 2, 4
"""Sync names as well; the descriptor is kept by its key, and comes along only if it is new; forget
it."""


def serve(orders: socket.socket) -> None:
    """Do what is asked, in order."""
    fdatasync = getattr(os, "fdatasync", os.fsync)
    kept: dict[int, int] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(orders, ORDER.size, 1)
        if len(data) < ORDER.size:
            return
        number, action, key = ORDER.unpack(data)
        if (fds or action == FORGET) and key in kept:
            os.close(kept.pop(key))
        if action == FORGET:
            continue
        fd = fds[0] if fds else kept[key]
        error = 0
        try:
            (os.fsync if action & NAMES_TOO else fdatasync)(fd)
        except OSError as problem:
            error = problem.errno or -1
        if action & KEPT:
            kept[key] = fd
        else:
            os.close(fd)
        orders.sendall(ANSWER.pack(number, error))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        try:
            serve(given)
        except (BrokenPipeError, ConnectionResetError):
            pass  # emu has gone
