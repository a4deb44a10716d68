"""Loopback addresses: one 127.N network per running cluster, one address per
machine, stable over restarts.

The subnet is claimed by flock on a file, so the kernel frees it if emu dies.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import IO, Final

FIRST_SUBNET: Final = 7
LAST_SUBNET: Final = 250


class SubnetError(Exception):
    """No loopback network is free."""


class Subnet:
    """The claimed 127.N.0.0/16; without aliases every machine is 127.0.0.1."""

    def __init__(self, *, aliases: bool = True) -> None:
        self.aliases = aliases and has_aliases()
        self._lock: IO[str] | None = None
        self.number = 0
        self._next = 256
        self._by_name: dict[str, str] = {}
        if self.aliases:
            self.number, self._lock = _claim()

    def address(self, name: str, fixed: int | None = None) -> str:
        """The address of `name`; `fixed` asks for a well-known host number below 256."""
        found = self._by_name.get(name)
        if found is None:
            host = fixed
            if host is None:
                host, self._next = self._next, self._next + 1
            found = f"127.{self.number}.{host >> 8}.{host & 255}"
            self._by_name[name] = found
        return found

    def is_real(self, address: str) -> bool:
        """Whether a machine of that address is really there; else only its ports are somewhere."""
        return self.aliases

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def has_aliases() -> bool:
    """Whether this system answers on all of 127.0.0.0/8 (Linux does, macOS does not)."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.254.254.254", 0))
        except OSError:
            return False
    return True


def _claim() -> tuple[int, IO[str]]:
    folder = Path(tempfile.gettempdir()) / f"emu-slots-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in range(FIRST_SUBNET, LAST_SUBNET + 1):
        lock = open(folder / str(number), "w")  # noqa: SIM115 - held open: it is the claim
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return number, lock
    raise SubnetError(f"all {LAST_SUBNET} loopback networks are in use: end some clusters")
