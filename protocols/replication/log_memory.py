"""What is in memory of a log: its latest records, where each epoch began, and how long it is.

However much of it is kept in files, this stays small. Nobody reads a file here: whoever does may
have what it read held for a while.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

from protocols.replication.log import DATA, HEADER_BYTES, Entry
from protocols.replication.messages import Epochs
from protocols.replication.storage import Snapshot

MAX_REMEMBERED_EPOCHS: Final = 1000
LATEST_BYTES: Final = 4 << 20
"""So much of what files have stays in memory, and at most twice that."""
LATEST_RECORDS: Final = 16_000
"""The same for small records, which take more room in memory than in a file."""
MARK_BYTES: Final = 256 << 10
"""How exactly it is known how long the log is from a record on that is not in memory."""
MAX_HELD: Final = 4
"""Parts of the log that were read from files: one for each that needs them, mostly."""


class MemoryLog:
    """The Storage that every driver can use. As long as nothing is `release`d, all is in memory."""

    def __init__(
        self,
        entries: Sequence[Entry] = (),
        snapshot: Snapshot | None = None,
        latest_bytes: int = LATEST_BYTES,
        first_lsn: int = 1,
    ) -> None:
        """`entries`: what the log file has; those the snapshot covers may be among. `first_lsn`:
        of what is to be appended, if there are none yet."""
        self._latest_bytes = latest_bytes
        self._begin(entries[0][1] if entries else first_lsn, None)
        self.snapshot: Snapshot | None = None
        if entries:
            self.append(entries)
        if snapshot is not None:
            self.go_with(snapshot)

    def _begin(self, first_lsn: int, base_epoch: int | None) -> None:
        """Empty; the next record is `first_lsn`."""
        self.first_lsn, self.last_lsn = first_lsn, first_lsn - 1
        self._base_epoch = 0 if first_lsn == 1 else base_epoch
        self._epochs: list[tuple[int, int]] = []
        self._own: list[Entry] = []
        self._held: list[Sequence[Entry]] = []
        self._latest: list[Entry] = []
        self._latest_lsn = first_lsn
        """Of the first record in memory, or the next one."""
        self._ends: list[int] = []
        """For each record in memory: how many bytes were appended up to its end."""
        self._begin_bytes = self._before_bytes = self._end_bytes = 0
        """The same for what is before the first record kept, before the first in memory, and for
        all."""
        self._marks: list[tuple[int, int]] = []
        """The same for some records that are not in memory: (LSN, what is before it)."""

    def go_with(self, snapshot: Snapshot) -> None:
        """Drop what does not belong to the snapshot: a crash may have come between its being
        installed and the log's being cleared."""
        if not self._continues(snapshot):
            self.reset(snapshot)
            return
        self.snapshot = snapshot
        if snapshot.lsn == self.first_lsn - 1:
            self._base_epoch = snapshot.epoch
        before = [each for each in snapshot.epochs if each[1] < self.first_lsn]
        own = [each for each in self._epochs if not before or each[0] > before[-1][0]]
        self._epochs = before + own

    def _continues(self, snapshot: Snapshot) -> bool:
        if self.last_lsn < max(snapshot.lsn, self.first_lsn):
            return False
        missing = f"records {snapshot.lsn + 1}..{self.first_lsn - 1} are missing"
        assert self.first_lsn <= snapshot.lsn + 1, missing
        return self.first_lsn > snapshot.lsn or self.epoch_at(snapshot.lsn) == snapshot.epoch

    # -- epochs

    def _note_epochs(self, entries: Sequence[Entry]) -> None:
        epochs = self._epochs
        known = epochs[-1][0] if epochs else 0
        if entries[-1][0] > known:
            for epoch, lsn, _, _ in entries:
                if epoch > known:
                    epochs.append((epoch, lsn))
                    known = epoch

    def epoch_at(self, lsn: int) -> int | None:
        if self.first_lsn <= lsn <= self.last_lsn:
            epoch, since_lsn = self._epochs[-1]
            if lsn >= since_lsn:
                return epoch
            return self._epochs[bisect_right(self._epochs, lsn, key=_lsn) - 1][0]
        return self._base_epoch if lsn == self.first_lsn - 1 else None

    def epochs_until(self, lsn: int) -> Epochs:
        begun = bisect_right(self._epochs, lsn, key=_lsn)
        return tuple(self._epochs[max(0, begun - MAX_REMEMBERED_EPOCHS) : begun])

    def last_not_after(self, lsn: int, epoch: int) -> int:
        lsn = min(lsn, self.last_lsn)
        if lsn < self.first_lsn:
            return lsn
        later = bisect_right(self._epochs, epoch, key=lambda each: each[0])
        if later < len(self._epochs):
            lsn = min(lsn, self._epochs[later][1] - 1)
        return max(lsn, self.first_lsn - 1)

    # -- records

    def entries(self, from_lsn: int, to_lsn: int, max_bytes: int = 1 << 62) -> Sequence[Entry]:
        assert from_lsn >= self.first_lsn, f"record {from_lsn} is not kept any more"
        start = from_lsn - self._latest_lsn
        if start < 0:
            return self._held_from(from_lsn, to_lsn, max_bytes)
        end = to_lsn - self._latest_lsn + 1
        before = self._ends[start - 1] if start else self._before_bytes
        fitting = bisect_right(self._ends, before + max_bytes, lo=min(start, len(self._ends)))
        return self._latest[start : min(end, max(fitting, start + 1))]

    def _held_from(self, from_lsn: int, to_lsn: int, max_bytes: int) -> Sequence[Entry]:
        for held in self._held:
            start = from_lsn - held[0][1]
            if 0 <= start < len(held):
                total_bytes, end = 0, start
                for entry in held[start : to_lsn - held[0][1] + 1]:
                    total_bytes += HEADER_BYTES + len(entry[3])
                    if total_bytes > max_bytes and end > start:
                        break
                    end += 1
                return held[start:end]
        return ()

    def hold(self, entries: Sequence[Entry]) -> None:
        """Nothing happens if the log has been cut there since it was read."""
        if not entries or not self.first_lsn <= entries[-1][1] <= self.last_lsn:
            return
        if self.epoch_at(entries[-1][1]) == entries[-1][0]:  # then so are all before it
            self._held = [entries, *self._held[: MAX_HELD - 1]]

    def latest(self, from_lsn: int) -> Sequence[Entry]:
        return self._latest[max(0, from_lsn - self._latest_lsn) :]

    def own_entries(self) -> Sequence[Entry]:
        return self._own

    def append(self, entries: Sequence[Entry]) -> None:
        assert entries[0][1] == self.last_lsn + 1
        self._note_epochs(entries)
        self._latest += entries
        end, ends = self._end_bytes, self._ends
        for entry in entries:
            end += HEADER_BYTES + len(entry[3])
            ends.append(end)
            if entry[2] != DATA:
                self._own.append(entry)
        self._end_bytes = end
        self.last_lsn += len(entries)

    def release(self, lsn: int) -> None:
        """Files have all up to `lsn`: what of it is not among the latest need not be in memory."""
        in_memory = self._end_bytes - self._before_bytes
        if in_memory <= 2 * self._latest_bytes and len(self._latest) <= 2 * LATEST_RECORDS:
            return
        count = max(
            bisect_left(self._ends, self._end_bytes - self._latest_bytes),
            len(self._latest) - LATEST_RECORDS,
        )
        count = min(count, lsn - self._latest_lsn + 1)
        if count > 0:
            self._mark(count)
            self._forget_oldest(count)

    def _mark(self, count: int) -> None:
        """Note how long the log is before some of the oldest records in memory."""
        marks, before = self._marks, self._before_bytes
        for lsn, end in enumerate(self._ends[:count], self._latest_lsn):
            if not marks or before - marks[-1][1] >= MARK_BYTES:
                marks.append((lsn, before))
            before = end

    def _forget_oldest(self, count: int) -> None:
        self._before_bytes = self._ends[count - 1]
        self._latest_lsn += count
        del self._latest[:count]
        del self._ends[:count]

    def truncate_from(self, lsn: int) -> None:
        assert lsn >= self.first_lsn
        self._end_bytes = self._bytes_before(lsn)
        keep = max(0, lsn - self._latest_lsn)
        del self._latest[keep:]
        del self._ends[keep:]
        if lsn < self._latest_lsn:
            self._latest_lsn, self._before_bytes = lsn, self._end_bytes
            del self._marks[bisect_left(self._marks, lsn, key=_first) :]
        self._held = [held for held in self._held if held[-1][1] < lsn]
        self._own = [entry for entry in self._own if entry[1] < lsn]
        self.last_lsn = lsn - 1
        while self._epochs and self._epochs[-1][1] >= lsn:
            self._epochs.pop()

    def trim_before(self, lsn: int) -> None:
        assert self.snapshot is not None and lsn <= self.snapshot.lsn + 1
        if lsn <= self.first_lsn:
            return
        self._base_epoch = self.epoch_at(lsn - 1)
        self._begin_bytes = self._bytes_before(lsn)
        del self._marks[: max(0, bisect_right(self._marks, lsn, key=_first) - 1)]
        if lsn > self._latest_lsn:
            self._forget_oldest(lsn - self._latest_lsn)
            self._marks.clear()
        self._held = [held for held in self._held if held[-1][1] >= lsn]
        self._own = [entry for entry in self._own if entry[1] >= lsn]
        self.first_lsn = lsn

    def reset(self, snapshot: Snapshot) -> None:
        self._begin(snapshot.lsn + 1, snapshot.epoch)
        self.snapshot = snapshot
        self._epochs = list(snapshot.epochs)

    # -- how long it is

    @property
    def size_bytes(self) -> int:
        """Of the records kept, as they are in files."""
        return self._end_bytes - self._begin_bytes

    def bytes_after(self, lsn: int) -> int:
        """How many bytes are behind a record; all, if it is not kept any more."""
        if lsn >= self.last_lsn:
            return 0
        return self._end_bytes - self._bytes_before(max(lsn + 1, self.first_lsn))

    def _bytes_before(self, lsn: int) -> int:
        """What was appended before the record `lsn`; a little less if it is not in memory."""
        place = lsn - self._latest_lsn
        if place > 0:
            return self._ends[place - 1]
        if place == 0:
            return self._before_bytes
        mark = bisect_right(self._marks, lsn, key=_first)
        return max(self._begin_bytes, self._marks[mark - 1][1] if mark else 0)

    def first_within(self, max_bytes: int) -> int:
        begin = self._end_bytes - max_bytes
        if begin <= self._begin_bytes:
            return self.first_lsn
        if begin > self._before_bytes:
            return self._latest_lsn + bisect_left(self._ends, begin) + 1
        mark = bisect_left(self._marks, begin, key=lambda each: each[1])
        return self._marks[mark][0] if mark < len(self._marks) else self._latest_lsn


def _lsn(begun: tuple[int, int]) -> int:
    return begun[1]


def _first(mark: tuple[int, int]) -> int:
    return mark[0]
