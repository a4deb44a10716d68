"""The process that syncs files for emu: a thread would compete with the loop for the interpreter.

It imports nothing of emu and knows no files, only descriptors that come over its socket. It ends
when its socket does, with emu or before.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

ORDER = struct.Struct("<I?")
"""The number of an order, and whether names are to be durable too; the descriptor comes along."""
ANSWER = struct.Struct("<Ii")
"""The number of an order, and its errno (0: done)."""


def serve(orders: socket.socket) -> None:
    """Do what is asked, in order."""
    fdatasync = getattr(os, "fdatasync", os.fsync)
    while True:
        data, fds, _, _ = socket.recv_fds(orders, ORDER.size, 1)
        if len(data) < ORDER.size:
            return
        number, names_too = ORDER.unpack(data)
        error = 0
        try:
            (os.fsync if names_too else fdatasync)(fds[0])
        except OSError as problem:
            error = problem.errno or -1
        os.close(fds[0])
        orders.sendall(ANSWER.pack(number, error))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        try:
            serve(given)
        except (BrokenPipeError, ConnectionResetError):
            pass  # emu has gone
