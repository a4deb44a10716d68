"""Bandwidth that senders in several processes share: when a trunk is free lies in memory of all.

Two processes that send in the same microsecond may both see it free: then one chunk counts for two.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

from emu.machine.links import Trunk

CELLS: Final = 65536
CELL_BYTES: Final = 8


class Cells:
    """Numbers in shared memory, and who has which of them."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, CELLS * CELL_BYTES)
        self.numbers = memoryview(self._memory).cast("d")
        self._free = list(range(CELLS - 1, -1, -1))

    def take(self) -> int | None:
        """A cell for one more trunk; None: there are too many, and each sender counts its own."""
        if not self._free:
            return None
        cell = self._free.pop()
        self.numbers[cell] = 0.0
        return cell

    def give_back(self, cell: int) -> None:
        self._free.append(cell)

    def trunk(self, bandwidth_bytes_per_s: float, cell: int | None) -> Trunk:
        """Everybody's, where it has a cell."""
        if cell is None:
            return Trunk(bandwidth_bytes_per_s)
        return SharedTrunk(bandwidth_bytes_per_s, self, cell)

    def close(self) -> None:
        self.numbers.release()
        self._memory.close()


def shared_memory() -> int:
    """A descriptor of memory that processes which inherit it share."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("emu-trunks")
    else:
        fd, path = tempfile.mkstemp()
        os.unlink(path)
    os.truncate(fd, CELLS * CELL_BYTES)
    return fd


def path_of(fd: int) -> tuple[str, int, int]:
    """Where other processes of this computer find that memory, and by what they know it."""
    found = os.fstat(fd)
    return f"/proc/{os.getpid()}/fd/{fd}", found.st_dev, found.st_ino


def opened(path: str, device: int, inode: int) -> int | None:
    """That memory, as `path_of` named it; None where it is not to be had from here."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return None
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino) == (device, inode):
        return fd
    os.close(fd)
    return None


class SharedTrunk(Trunk):
    """One whose `free_at_s` is everybody's."""

    __slots__ = ("_cell", "_numbers")

    def __init__(self, bandwidth_bytes_per_s: float, cells: Cells, cell: int) -> None:
        self._numbers = cells.numbers
        self._cell = cell
        self.bandwidth_bytes_per_s = bandwidth_bytes_per_s

    @property
    def free_at_s(self) -> float:
        return self._numbers[self._cell]

    @free_at_s.setter
    def free_at_s(self, free_at_s: float) -> None:
        self._numbers[self._cell] = free_at_s
