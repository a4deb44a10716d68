"""Files in memory that forget: what a power cut leaves of a simulated disk, from its own rng.

Modelled: unsynced 512-byte sectors are kept, lost (zeros) or torn, the file's length may be lost
with them; creations, renames, removals and cuts that were not awaited may be undone, the latest
first (as an ordered journal, ext4's, does: whatever became durable made all before it durable);
syncs that are late, and syncs that lie. Not modelled: damage to what an honest sync covered.
"""

from __future__ import annotations

import math
import random
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from emu.machine import reach
from emu.machine.disk import Pending

SECTOR_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Habits:
    """How bad this disk is; the swarm draws them per seed."""

    late_sync_ratio: float = 0.0
    """How many syncs take up to `late_sync_s` longer."""
    late_sync_s: float = 0.5
    lying_sync_ratio: float = 0.0
    """How many syncs of a file's content answer without having done anything. No protocol can
    bear this: runs with it may only ask for detection."""


class SimFile:
    """One file (an inode): the first `synced_bytes` of `data` are on the platter."""

    __slots__ = ("covers_bytes", "data", "synced_bytes")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced_bytes = 0
        self.covers_bytes = 0
        """What the sync in flight makes durable."""


class SimFiles:
    """`emu.machine.disk.Files` in memory. Every change is traced, for the run's digest."""

    def __init__(
        self,
        name: str,
        rng: random.Random,
        *,
        habits: Habits | None = None,
        trace: Callable[[bytes], object] | None = None,
        reached: Callable[[str], object] = reach.not_counted,
    ) -> None:
        """`rng` is this disk's own; `name` is the machine's, for the trace."""
        self._reached = reached
        self.habits = habits or Habits()
        self.used_bytes = 0
        self._rng = rng
        self._files: dict[str, SimFile] = {}
        self._journal: deque[Callable[[], object]] = deque()
        """How to undo each change of names and lengths that is not durable yet."""
        self._journaled = 0
        self._committed = 0
        self._label = f"disk {name}"
        self._sink = trace

    def append(self, name: str, data: bytes) -> int:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = SimFile()
            self._journal_change(lambda: self._files.pop(name))
        self._trace("append", name, len(file.data), zlib.crc32(data))
        file.data += data
        self.used_bytes += len(data)
        return len(file.data)

    def room_bytes(self) -> float:
        return math.inf

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        return bytes(self._find(name).data[offset : offset + size_bytes])

    def size_bytes(self, name: str) -> int:
        return len(self._find(name).data)

    def scratch(self) -> AbstractContextManager[str | None]:
        return nullcontext()

    def names(self) -> list[str]:
        return sorted(self._files)

    def begin_sync(self, name: str) -> Pending:
        file = self._find(name)
        file.covers_bytes = len(file.data)
        self._trace("sync", name, file.covers_bytes)
        lies = self._happens(self.habits.lying_sync_ratio)
        upto = self._journaled

        def commit() -> None:
            self._trace("synced", name, file.covers_bytes, "lie" if lies else "")
            if not lies:
                file.synced_bytes = max(file.synced_bytes, file.covers_bytes)
                self._commit_journal(upto)

        return Pending(commit, file.covers_bytes - file.synced_bytes, late_s=self._late_s())

    def rename(self, old: str, new: str) -> Pending:
        file = self._find(old)
        self._trace("rename", old, new)
        if old == new:
            return self._pending()
        replaced = self._files.get(new)
        del self._files[old]
        self._files[new] = file
        self.used_bytes -= len(replaced.data) if replaced is not None else 0

        def undo() -> None:
            del self._files[new]
            self._files[old] = file
            if replaced is not None:
                self._files[new] = replaced

        self._journal_change(undo)
        return self._pending()

    def truncate(self, name: str, size_bytes: int) -> Pending:
        file = self._find(name)
        self._trace("truncate", name, size_bytes)
        durable_tail = bytes(file.data[size_bytes : file.synced_bytes])
        self.used_bytes -= len(file.data) - size_bytes
        del file.data[size_bytes:]
        file.synced_bytes = min(file.synced_bytes, size_bytes)
        file.covers_bytes = min(file.covers_bytes, size_bytes)

        def undo() -> None:
            if durable_tail:
                file.data[size_bytes:] = durable_tail
                file.synced_bytes = len(file.data)

        self._journal_change(undo)
        return self._pending()

    def remove(self, name: str) -> Pending:
        file = self._find(name)
        self._trace("remove", name)
        del self._files[name]
        self.used_bytes -= len(file.data)

        def undo() -> None:
            self._files[name] = file

        self._journal_change(undo)
        return self._pending()

    def flip_bit(self, name: str, byte_offset: int, bit: int) -> None:
        self._trace("flip", name, byte_offset, bit)
        self._find(name).data[byte_offset] ^= 1 << bit

    def wipe(self) -> None:
        self._trace("wipe")
        self._files.clear()
        self._journal.clear()
        self._committed = self._journaled
        self.used_bytes = 0

    def cut(self) -> None:
        """Undo a random end of the journal, then damage what was not synced."""
        for _ in range(self._rng.randint(0, len(self._journal))):
            self._journal.pop()()
            self._reached(reach.UNDONE)
        self._journal.clear()
        self._committed = self._journaled
        for name in sorted(self._files):
            file = self._files[name]
            if len(file.data) > file.synced_bytes:
                self._tear(file)
            file.synced_bytes = len(file.data)
            self._trace("cut", name, len(file.data), zlib.crc32(file.data))
        self.used_bytes = sum(len(file.data) for file in self._files.values())

    def close(self) -> None:
        """Nothing is held open."""

    def _tear(self, file: SimFile) -> None:
        """Decide the fate of the unsynced tail: its length first, then sector by sector."""
        rng, start, whole = self._rng, file.synced_bytes, len(file.data)
        match rng.choice(("length lost", "length torn", "length kept")):
            case "length lost":
                del file.data[start:]
            case "length torn":
                del file.data[rng.randint(start, len(file.data)) :]
        if len(file.data) < whole:
            self._reached(reach.LOST)
        while start < len(file.data):
            end = min(len(file.data), (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
            match rng.choice(("kept", "kept", "lost", "torn")):
                case "lost":
                    file.data[start:end] = bytes(end - start)
                case "torn":
                    self._reached(reach.TORN)
                    torn = rng.randint(start, end)
                    file.data[torn:end] = bytes(end - torn)
            start = end

    def _pending(self) -> Pending:
        """A change of names or lengths: durable with all that came before it."""
        upto = self._journaled
        return Pending(lambda: self._commit_journal(upto), late_s=self._late_s())

    def _journal_change(self, undo: Callable[[], object]) -> None:
        self._journaled += 1
        self._journal.append(undo)

    def _commit_journal(self, upto: int) -> None:
        while self._committed < upto:
            self._journal.popleft()
            self._committed += 1

    def _late_s(self) -> float:
        if self._happens(self.habits.late_sync_ratio):
            self._reached(reach.LATE_SYNC)
            return self._rng.uniform(0.0, self.habits.late_sync_s)
        return 0.0

    def _happens(self, ratio: float) -> bool:
        return ratio > 0 and self._rng.random() < ratio

    def _find(self, name: str) -> SimFile:
        file = self._files.get(name)
        if file is None:
            raise FileNotFoundError(2, "no such file", name)
        return file

    def _trace(self, *words: object) -> None:
        if self._sink is not None:
            self._sink(" ".join((self._label, *map(str, words))).encode())
