"""Real files under a node's folder. A power cut is a truncation to what had been synced.

What is written survives a kill -9 of emu; surviving the laptop's own power cut needs `sync: real`.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Final

MAX_OPEN: Final = 16
SYNCED: Final = ".synced"


class LiveFiles:
    """emu.disk.Files on a folder of the laptop."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._open: OrderedDict[str, int] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._synced: dict[str, int] = {}

    def append(self, name: str, data: bytes) -> int:
        fd = self.descriptor(name)
        at = self._size(name)
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], at + written)
        self._sizes[name] = at + len(data)
        return at + len(data)

    def read(self, name: str, offset: int, size_bytes: int | None) -> bytes:
        path = self._folder / name
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read() if size_bytes is None else file.read(size_bytes)

    def size_bytes(self, name: str) -> int:
        if name not in self._sizes:
            self._sizes[name] = os.stat(self._folder / name).st_size
        return self._sizes[name]

    def names(self) -> list[str]:
        return sorted(each.name for each in os.scandir(self._folder) if each.name != SYNCED)

    def mark_synced(self, name: str, size_bytes: int) -> None:
        self._synced[name] = max(self._synced.get(name, 0), size_bytes)

    def rename(self, old: str, new: str) -> None:
        self._close(old)
        self._close(new)
        os.replace(self._folder / old, self._folder / new)
        self._sizes.pop(new, None)
        self._synced[new] = self._synced.pop(old, self.size_bytes(new))
        self._sizes.pop(old, None)

    def truncate(self, name: str, size_bytes: int) -> None:
        os.truncate(self._folder / name, size_bytes)
        self._sizes[name] = size_bytes
        self._synced[name] = size_bytes

    def remove(self, name: str) -> None:
        self._close(name)
        with suppress(FileNotFoundError):
            os.unlink(self._folder / name)
        self._sizes.pop(name, None)
        self._synced.pop(name, None)

    def overwrite(self, name: str, offset: int, data: bytes) -> None:
        os.pwrite(self.descriptor(name), data, offset)

    def cut_power(self) -> None:
        """What this run wrote and did not sync is gone; what an earlier run left is on the
        platter."""
        for name, size_bytes in list(self._sizes.items()):
            kept = self._synced.get(name)
            if kept is None:
                kept = 0 if name in self._open else size_bytes
            if kept < size_bytes:
                self.truncate(name, kept)

    def descriptor(self, name: str) -> int:
        """An open descriptor for writing; the least recently used are closed."""
        fd = self._open.get(name)
        if fd is None:
            path = self._folder / name
            existed = path.exists()
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if existed:
                self._synced.setdefault(name, os.fstat(fd).st_size)
            else:
                self._synced.setdefault(name, 0)
            self._open[name] = fd
            while len(self._open) > MAX_OPEN:
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(name)
        return fd

    def _size(self, name: str) -> int:
        try:
            return self.size_bytes(name)
        except FileNotFoundError:
            return 0

    def _close(self, name: str) -> None:
        fd = self._open.pop(name, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        for name in list(self._open):
            self._close(name)
