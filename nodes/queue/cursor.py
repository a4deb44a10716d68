"""How far a work group is in one partition: what is out, what rests, what is done. Pure.

A record is AVAILABLE, until a worker ACQUIRED it; then it is done, or it failed and is available
again, perhaps after it RESTED. One that failed too often is DYING until the dead letters have it.
All before `floor` is done; a record that nobody has asked for yet is at `next` or after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

AVAILABLE: Final = 0
ACQUIRED: Final = 1
RESTING: Final = 2
DYING: Final = 3
RECENT: Final = 256
"""Records that are done of which it is remembered by which delivery."""
GIVEN_UP: Final = 0
"""In place of a delivery: it is done because it failed for good."""
MAX_WINDOW: Final = 10_000
"""Records from the floor on that may be neither done nor untouched: beyond it none is handed out
until the floor moves."""


class Entry:
    """A record that is not done yet."""

    __slots__ = ("attempt", "consumer", "delivered", "failed", "key", "state", "wait_ms")

    def __init__(self, key: int | None = None) -> None:
        self.state = AVAILABLE
        self.delivered = 0
        """How often it was handed out: which delivery it is."""
        self.failed = 0
        self.consumer = ""
        self.attempt = 0
        """The consumer's own number for what it asked."""
        self.wait_ms = 0
        """For how long it is locked, or rests: a length, and no time of anybody's clock."""
        self.key = key

    def to_wire(self) -> list[Any]:
        return [self.state, self.delivered, self.failed, self.consumer, self.attempt, self.wait_ms,
                self.key]  # fmt: skip

    @classmethod
    def from_wire(cls, value: Sequence[Any]) -> Entry:
        made = cls()
        (made.state, made.delivered, made.failed, made.consumer, made.attempt, made.wait_ms,
         made.key) = value  # fmt: skip
        return made


class Found(NamedTuple):
    """What could be handed out: offsets to take, with what is passed over on the way to them."""

    taken: list[int]
    passed: list[tuple[int, int | None]]
    """(offset, key) of records that nobody asked for before, and that cannot be taken yet."""
    keys: list[int | None]
    """Of what is taken."""


class Cursor:
    """One group's in one partition."""

    __slots__ = ("available", "done", "entries", "floor", "held", "in_flight", "lost", "next",
                 "recent")  # fmt: skip

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        self.next = floor
        self.entries: dict[int, Entry] = {}
        self.done: dict[int, None] = {}
        """Beyond the floor."""
        self.available: dict[int, None] = {}
        """Entries that may be handed out again."""
        self.held: dict[int, int] = {}
        """Key → how many of its records are out, rest or die: the others of it wait."""
        self.recent: dict[int, int] = {}
        """Of the latest that are done: the delivery whose worker said so, or GIVEN_UP. Who has to
        say so again, unheard, learns whether it was believed, or another was."""
        self.in_flight = 0
        self.lost = 0
        """Records that were dropped before they were done."""

    # --- who gets what -------------------------------------------------------------------

    def find(self, end: int, most: int, keys: Sequence[int | None] | None, base: int) -> Found:
        """Up to `most` records before `end` that may be handed out now.

        `keys`: for a group that keeps the order of keys, those of the records from `base` on, as
        far as they are known; None for one that does not.
        """
        assert base <= self.next, "the keys of what comes next are known, or none"
        found = Found([], [], [])
        waiting: dict[int, None] = {}
        for offset in sorted(self.available):
            if len(found.taken) >= most:
                return found
            self._consider(offset, self.entries[offset].key, found, waiting, keys is not None)
        limit = min(end, self.floor + MAX_WINDOW)
        if keys is not None:
            limit = min(limit, base + len(keys))
        offset = self.next
        while offset < limit and len(found.taken) < most:
            key = keys[offset - base] if keys is not None else None
            if not self._consider(offset, key, found, waiting, keys is not None):
                found.passed.append((offset, key))
            offset += 1
        last = found.taken[-1] if found.taken else -1
        found.passed[:] = [each for each in found.passed if each[0] < last]
        return found

    def _consider(
        self, offset: int, key: int | None, found: Found, waiting: dict[int, None], ordered: bool
    ) -> bool:
        """Take it, unless one of its key that comes first is not done."""
        if ordered and key is not None:
            if key in self.held or key in waiting:
                return False
            waiting[key] = None
        found.taken.append(offset)
        found.keys.append(key)
        return True

    # --- what happens --------------------------------------------------------------------

    def acquire(
        self, offset: int, key: int | None, consumer: str, attempt: int, lock_ms: int
    ) -> None:
        """A consumer has it. What nobody had asked for before it was passed over."""
        assert offset < self.next or offset == self.next, "what is passed over is said first"
        if offset == self.next:
            self.entries[offset] = Entry(key)
            self.next += 1
        entry = self.entries[offset]
        assert entry.state == AVAILABLE, "a record is with one consumer at a time"
        self.available.pop(offset, None)
        entry.state = ACQUIRED
        entry.delivered += 1
        entry.consumer, entry.attempt, entry.wait_ms = consumer, attempt, lock_ms
        self.in_flight += 1
        self._hold(entry, 1)

    def pass_over(self, offset: int, key: int | None) -> None:
        """The next record cannot be taken yet, and one behind it will be."""
        assert offset == self.next, "records are passed in their order"
        self.entries[offset] = Entry(key)
        self.available[offset] = None
        self.next += 1

    def settle(self, offset: int) -> None:
        """It is done, or in the dead letters."""
        entry = self.entries.pop(offset)
        self.recent[offset] = entry.delivered if entry.state == ACQUIRED else GIVEN_UP
        if len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]
        self._leave(entry)
        self.available.pop(offset, None)
        self.done[offset] = None
        while self.floor in self.done:
            del self.done[self.floor]
            self.floor += 1

    def give_back(self, offset: int, *, failed: bool, delay_ms: int, max_deliver: int) -> None:
        """It is with nobody any more; after so many failures for good."""
        entry = self.entries[offset]
        self._leave(entry)
        entry.failed += failed
        entry.consumer, entry.wait_ms = "", 0
        if entry.failed >= max_deliver:
            entry.state = DYING
        elif delay_ms:
            entry.state, entry.wait_ms = RESTING, delay_ms
        else:
            entry.state = AVAILABLE
            self.available[offset] = None
        self._hold(entry, 1)

    def renew(self, offset: int, lock_ms: int) -> None:
        """Whoever has it takes longer than was said."""
        self.entries[offset].wait_ms = lock_ms

    def terminate(self, offset: int) -> None:
        """It will never do."""
        entry = self.entries[offset]
        self._leave(entry)
        entry.state, entry.consumer = DYING, ""
        self._hold(entry, 1)

    def rested(self, offset: int) -> None:
        """It may be tried again; so may one that was given up, as if it had never failed."""
        entry = self.entries[offset]
        self._leave(entry)
        if entry.state == DYING:
            entry.failed = 0
        entry.state, entry.wait_ms = AVAILABLE, 0
        self.available[offset] = None

    def trim(self, start: int) -> int:
        """Records before `start` are gone; how many of them were not done."""
        if start <= self.floor:
            return 0
        lost = 0
        for offset in range(self.floor, min(start, self.next)):
            entry = self.entries.pop(offset, None)
            self.available.pop(offset, None)
            self.done.pop(offset, None)
            if entry is not None:
                self._leave(entry)
                lost += 1
        lost += max(0, start - max(self.next, self.floor))
        self.floor, self.next = start, max(self.next, start)
        while self.floor in self.done:
            del self.done[self.floor]
            self.floor += 1
        self.lost += lost
        return lost

    def _leave(self, entry: Entry) -> None:
        self.in_flight -= entry.state == ACQUIRED
        self._hold(entry, -1)

    def _hold(self, entry: Entry, count: int) -> None:
        if entry.key is None or entry.state == AVAILABLE:
            return
        held = self.held.get(entry.key, 0) + count
        if held:
            self.held[entry.key] = held
        else:
            del self.held[entry.key]

    # --- looked at -----------------------------------------------------------------------

    def lag(self, start: int, end: int) -> int:
        """How many records are not done yet."""
        return max(0, end - max(self.floor, start) - len(self.done))

    def to_wire(self) -> list[Any]:
        entries = [[offset, each.to_wire()] for offset, each in sorted(self.entries.items())]
        recent = list(self.recent.items())
        return [self.floor, self.next, self.lost, sorted(self.done), entries, recent]

    @classmethod
    def from_wire(cls, value: Sequence[Any]) -> Cursor:
        floor, following, lost, done, entries, recent = value
        made = cls(floor)
        made.next, made.lost = following, lost
        made.done, made.recent = dict.fromkeys(done), dict(recent)
        for offset, each in entries:
            entry = made.entries[offset] = Entry.from_wire(each)
            if entry.state == AVAILABLE:
                made.available[offset] = None
            made.in_flight += entry.state == ACQUIRED
            made._hold(entry, 1)
        return made
