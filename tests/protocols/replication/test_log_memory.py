"""What is in memory of a log says the same of it as all of it would."""

from __future__ import annotations

import random

import pytest

from protocols.replication.log import DATA, EPOCH_START, Entry, record_bytes
from protocols.replication.log_memory import MARK_BYTES, MAX_HELD, MemoryLog
from protocols.replication.replica import Snapshot


def entry(epoch: int, lsn: int, size_bytes: int = 20) -> Entry:
    return (epoch, lsn, DATA, bytes([lsn % 256]) * size_bytes)


class Twins:
    """One log that keeps all in memory, and one that keeps little; both are told the same."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.whole, self.short = (
            MemoryLog(),
            MemoryLog(latest_bytes=self.rng.choice((0, 300, 5000))),
        )
        self.file: dict[int, Entry] = {}
        self.epoch, self.cuts = 1, 0

    def act(self) -> None:
        rng, whole = self.rng, self.whole
        match rng.choices(("append", "cut", "trim", "reset"), (20, 3, 3, 0.3))[0]:
            case "append":
                self.epoch += rng.random() < 0.2
                first_lsn = whole.last_lsn + 1
                lsns = range(first_lsn, first_lsn + rng.choice((1, 3, 40)))
                entries = [entry(self.epoch, lsn, rng.choice((1, 30, 3000))) for lsn in lsns]
                self.both("append", entries)
                self.file.update({each[1]: each for each in entries})
                self.short.release(whole.last_lsn)
            case "cut" if whole.last_lsn > max(0, whole.first_lsn):
                lsn = rng.randint(whole.first_lsn + 1, whole.last_lsn)
                self.both("truncate_from", lsn)
                self.cuts += 1
                self.file = {at: each for at, each in self.file.items() if at < lsn}
                self.epoch += 1  # as a record that was cut is never written again
            case "trim" if whole.last_lsn >= whole.first_lsn:
                lsn = rng.randint(whole.first_lsn, whole.last_lsn)
                snapshot = self.snapshot_at(lsn)
                whole.snapshot = self.short.snapshot = snapshot
                self.both("trim_before", rng.randint(whole.first_lsn, lsn + 1))
            case "reset":
                self.epoch += 1
                lsn = whole.last_lsn + rng.randint(0, 9)
                self.both("reset", Snapshot(lsn, self.epoch, (), ((1, 1), (self.epoch, lsn))))
                self.file.clear()

    def snapshot_at(self, lsn: int) -> Snapshot:
        epoch = self.whole.epoch_at(lsn)
        assert epoch
        return Snapshot(lsn, epoch, (), self.whole.epochs_until(lsn))

    def both(self, method: str, *arguments: object) -> None:
        getattr(self.whole, method)(*arguments)
        getattr(self.short, method)(*arguments)

    def compare(self) -> None:
        whole, short, rng = self.whole, self.short, self.rng
        assert (short.first_lsn, short.last_lsn) == (whole.first_lsn, whole.last_lsn)
        for lsn in range(whole.first_lsn - 2, whole.last_lsn + 3):
            assert short.epoch_at(lsn) == whole.epoch_at(lsn), lsn
        lsn, epoch = rng.randint(0, whole.last_lsn + 1), rng.randint(0, self.epoch)
        assert short.last_not_after(lsn, epoch) == whole.last_not_after(lsn, epoch)
        assert short.epochs_until(lsn) == whole.epochs_until(lsn)
        assert short.own_entries() == whole.own_entries()
        self.compare_sizes()
        self.compare_records()

    def compare_sizes(self) -> None:
        whole, short = self.whole, self.short
        coarse = (MARK_BYTES + 3100) * (1 + self.cuts)
        assert abs(short.size_bytes - whole.size_bytes) <= coarse
        lsn = self.rng.randint(whole.first_lsn - 1, whole.last_lsn + 1)
        assert abs(short.bytes_after(lsn) - whole.bytes_after(lsn)) <= coarse
        within = short.first_within(self.rng.randint(0, whole.size_bytes + 100))
        assert whole.first_lsn <= within <= whole.last_lsn + 1

    def compare_records(self) -> None:
        whole, short, rng = self.whole, self.short, self.rng
        if whole.last_lsn < whole.first_lsn:
            return
        lsn, most = rng.randint(whole.first_lsn, whole.last_lsn), rng.choice((1, 500, 1 << 40))
        wanted = whole.entries(lsn, whole.last_lsn, most)
        found = short.entries(lsn, short.last_lsn, most)
        if not found:
            until = min(lsn + rng.randint(0, 50), whole.last_lsn)
            read = [self.file[at] for at in range(lsn, until + 1)]
            short.hold(read)
            found = short.entries(lsn, short.last_lsn, most)
            assert found
        assert list(found) == list(wanted[: len(found)])
        assert (
            list(short.latest(lsn)) == list(whole.latest(lsn))[-len(short.latest(lsn)) or 1 << 60 :]
        )


@pytest.mark.parametrize("seed", range(30))
def test_a_log_that_is_mostly_in_files_answers_like_one_that_is_all_in_memory(seed: int) -> None:
    twins = Twins(seed)
    for _ in range(60):
        twins.act()
        twins.compare()


def test_little_is_in_memory_however_much_is_kept() -> None:
    log = MemoryLog(latest_bytes=10_000)
    for lsn in range(1, 5001):
        log.append([entry(1, lsn, 1000)])
        log.release(lsn)
    assert log.size_bytes == 5000 * record_bytes(entry(1, 1, 1000))
    assert sum(map(record_bytes, log.latest(1))) <= 21_000
    for start in range(1, 4000, 100):
        log.hold([entry(1, lsn, 1000) for lsn in range(start, start + 100)])
    held = [start for start in range(1, 4000, 100) if log.entries(start, start, 1)]
    assert len(held) == MAX_HELD


def test_what_no_file_has_stays_in_memory() -> None:
    log = MemoryLog(latest_bytes=100)
    log.append([entry(1, lsn, 1000) for lsn in range(1, 11)])
    log.release(4)
    assert [each[1] for each in log.latest(1)] == list(range(5, 11))


def test_records_that_were_read_before_a_cut_are_not_taken_for_those_after_it() -> None:
    log = MemoryLog(latest_bytes=0)
    log.append([entry(1, lsn) for lsn in range(1, 9)])
    log.release(8)
    read = [entry(1, lsn) for lsn in range(3, 7)]
    log.truncate_from(5)
    log.append([entry(2, lsn) for lsn in range(5, 9)])
    log.release(8)
    log.hold(read)
    assert not log.entries(3, 8, 1 << 20)
    log.hold(read[:2])
    assert list(log.entries(3, 8, 1 << 20)) == read[:2]


def test_the_core_s_own_records_are_known_without_reading_the_log() -> None:
    log = MemoryLog(latest_bytes=0)
    own = (2, 2, EPOCH_START, b"")
    log.append([entry(1, 1), own, entry(2, 3)])
    log.release(3)
    assert log.own_entries() == [own]
    log.truncate_from(2)
    assert log.own_entries() == []
