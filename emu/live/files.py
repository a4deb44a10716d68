"""Real files under one folder per node: what `emu up` leaves on this computer's disk.

A power cut is a truncation to the length that had been synced; names survive it. Whatever an
earlier emu left behind counts as synced. Nothing here waits, except on the page cache.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from emu.machine.disk import Pending, Work

MAX_OPEN_FILES: Final = 512
SCRATCH: Final = ".scratch-"
LARGE_BYTES: Final = 4 << 20
"""To free what a file of this size had takes the kernel milliseconds: not on the loop."""
MUCH_ROOM_BYTES: Final = 4 << 30
ROOM_LOOKS: Final = 256
"""With so much room on the device, it is looked at once in so many times."""


class LiveFile:
    """One file: `synced_bytes` of its `size_bytes` would survive a power cut."""

    __slots__ = ("covers_bytes", "fd", "path", "size_bytes", "synced_bytes")

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.fd = -1
        self.size_bytes = self.synced_bytes = size_bytes
        self.covers_bytes = 0
        """What the sync in flight makes durable."""


class OpenFiles:
    """The descriptors of a world's files: the least recently used are closed."""

    def __init__(self, most: int = MAX_OPEN_FILES) -> None:
        self._most = most
        self.on_close: Callable[[int], object] | None = None
        """Told of a descriptor before it is closed."""
        self._open: OrderedDict[LiveFile, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def fd(self, file: LiveFile) -> int:
        """A descriptor that is good until the next call."""
        if file.fd >= 0:
            self._open.move_to_end(file)
            return file.fd
        if len(self._open) >= self._most:
            self.close(next(iter(self._open)))
        file.fd = os.open(file.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._open[file] = None
        return file.fd

    def close(self, file: LiveFile) -> None:
        if file.fd >= 0:
            os.close(self._take(file))

    def free(self, file: LiveFile) -> None:
        """Close a file that has no name any more."""
        if file.fd >= 0 and file.size_bytes >= LARGE_BYTES:
            threading.Thread(target=os.close, args=(self._take(file),)).start()
        else:
            self.close(file)

    def _take(self, file: LiveFile) -> int:
        del self._open[file]
        if self.on_close is not None:
            self.on_close(file.fd)
        fd, file.fd = file.fd, -1
        return fd


class LiveFiles:
    """`emu.machine.disk.Files` in a real folder, which is made when first written to."""

    def __init__(self, folder: Path, open_files: OpenFiles) -> None:
        self.folder = folder
        self._open = open_files
        self._files: dict[str, LiveFile] = {}
        self.used_bytes = 0
        self._room_bytes = self._room_looks = 0
        self._look()

    def _look(self) -> None:
        """See what is there."""
        if self.folder.is_dir():
            for entry in os.scandir(self.folder):
                if entry.is_file(follow_symlinks=False):
                    size_bytes = entry.stat().st_size
                    self._files[entry.name] = LiveFile(self.folder / entry.name, size_bytes)
                    self.used_bytes += size_bytes

    def reread(self) -> None:
        """Another process has written them anew: what was open here is no file of ours any more."""
        self.close()
        self._files.clear()
        self.used_bytes = 0
        self._look()

    def append(self, name: str, data: bytes) -> int:
        file = self._files.get(name)
        if file is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = LiveFile(self.folder / name, 0)
            self._open.fd(file)
            self._files[name] = file
        if not data:
            return file.size_bytes
        fd = self._open.fd(file)
        try:
            written = os.pwrite(fd, data, file.size_bytes)
            while written < len(data):
                written += os.pwrite(fd, data[written:], file.size_bytes + written)
        except OSError:
            os.ftruncate(fd, file.size_bytes)
            raise
        file.size_bytes += written
        self.used_bytes += written
        return file.size_bytes

    def room_bytes(self) -> float:
        """Looked up each time where there is little of it, else now and then."""
        self._room_looks -= 1
        if self._room_looks < 0:
            if not self._files:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = os.statvfs(self.folder)
            self._room_bytes = found.f_bavail * found.f_frsize
            self._room_looks = ROOM_LOOKS if self._room_bytes > MUCH_ROOM_BYTES else 0
        return self._room_bytes

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        return os.pread(self._open.fd(self._find(name)), size_bytes, offset)

    def size_bytes(self, name: str) -> int:
        return self._find(name).size_bytes

    def names(self) -> list[str]:
        return sorted(self._files)

    @contextmanager
    def scratch(self) -> Iterator[str | None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, path = tempfile.mkstemp(prefix=SCRATCH, dir=self.folder)
        os.close(fd)
        try:
            yield path
        finally:
            os.unlink(path)

    def begin_sync(self, name: str) -> Pending:
        file = self._find(name)
        file.covers_bytes = file.size_bytes
        return self._pending(file)

    def truncate(self, name: str, size_bytes: int) -> Pending:
        file = self._find(name)
        os.ftruncate(self._open.fd(file), size_bytes)
        self.used_bytes -= file.size_bytes - size_bytes
        file.size_bytes = size_bytes
        file.synced_bytes = min(file.synced_bytes, size_bytes)
        file.covers_bytes = min(file.covers_bytes, size_bytes)
        prepare = self._pending(file).prepare
        return Pending(_nothing, prepare=prepare)

    def rename(self, old: str, new: str) -> Pending:
        file = self._find(old)
        replaced = self._files.get(new)
        target = self.folder / new
        if replaced is not None:
            self._hold(replaced)
        os.replace(file.path, target)
        if replaced is not None and replaced is not file:
            self._forget(replaced)
        del self._files[old]
        file.path = target
        self._files[new] = file
        return Pending(_nothing, prepare=self._sync_folder)

    def remove(self, name: str) -> Pending:
        file = self._find(name)
        self._hold(file)
        file.path.unlink()
        del self._files[name]
        self._forget(file)
        return Pending(_nothing, prepare=self._sync_folder)

    def flip_bit(self, name: str, byte_offset: int, bit: int) -> None:
        fd = self._open.fd(self._find(name))
        (byte,) = os.pread(fd, 1, byte_offset)
        os.pwrite(fd, bytes([byte ^ (1 << bit)]), byte_offset)

    def wipe(self) -> None:
        for name in self.names():
            self.remove(name)

    def cut(self) -> None:
        for file in self._files.values():
            if file.size_bytes > file.synced_bytes:
                os.ftruncate(self._open.fd(file), file.synced_bytes)
                self.used_bytes -= file.size_bytes - file.synced_bytes
                file.size_bytes = file.synced_bytes

    def close(self) -> None:
        for file in self._files.values():
            self._open.close(file)

    def delete(self) -> None:
        """The machine is gone, and its folder with it."""
        self.close()
        self._files.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _find(self, name: str) -> LiveFile:
        file = self._files.get(name)
        if file is None:
            raise FileNotFoundError(2, "no such file", name)
        return file

    def _hold(self, file: LiveFile) -> None:
        """So that it is freed when it is closed, and not when it loses its name."""
        if file.size_bytes >= LARGE_BYTES:
            self._open.fd(file)

    def _forget(self, file: LiveFile) -> None:
        self.used_bytes -= file.size_bytes
        self._open.free(file)

    def _pending(self, file: LiveFile) -> Pending:
        def commit() -> None:
            file.synced_bytes = max(file.synced_bytes, file.covers_bytes)

        def prepare() -> Work:
            return Work(self._open.fd(file), is_kept=True)

        return Pending(commit, file.covers_bytes - file.synced_bytes, prepare=prepare)

    def _sync_folder(self) -> Work:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        return Work(os.open(self.folder, flags), names_too=True)


def _nothing() -> None:
    """Names and cuts are durable at once."""
