"""Who leaves when a cache is full: LRU, FIFO, SIEVE and S3-FIFO behind one interface.

Pure: they know keys and sizes, no values, no time, and draw no lots. What a cache keeps, and for
how long, is its own business.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final, Generic, Literal, TypeVar

Key = TypeVar("Key", bound=Hashable)
EvictionName = Literal["lru", "fifo", "sieve", "s3fifo"]


class Eviction(Generic[Key]):
    """The keys of a cache that may hold `limit_bytes` in all."""

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < 1:
            raise ValueError("a cache needs room for a byte or more")
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def touch(self, key: Key) -> None:
        """It was read. It must be in the cache."""
        raise NotImplementedError

    def put(self, key: Key, size_bytes: int) -> list[Key]:
        """Take it in; who had to leave for it, in this order. One that is there is touched, and has
        this size from now on.

        Raises ValueError where it would not fit into an empty cache.
        """
        if not 0 <= size_bytes <= self.limit_bytes:
            raise ValueError(f"{size_bytes} bytes do not fit into {self.limit_bytes}")
        left: list[Key] = []
        if key in self:
            self.touch(key)
            self._resize(key, size_bytes)
            while self.used_bytes > self.limit_bytes:
                left += self._evict()
            if key in self:
                return left
            left.remove(key)  # its own turn came: it is as one that is new
        while self.used_bytes + size_bytes > self.limit_bytes:
            left += self._evict()
        self._insert(key, size_bytes)
        self.used_bytes += size_bytes
        return left

    def remove(self, key: Key) -> bool:
        """It is deleted, or its time is over; whether it was there."""
        raise NotImplementedError

    def __contains__(self, key: Key) -> bool:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Key]:
        """All keys; about in the order in which they would leave."""
        raise NotImplementedError

    def _resize(self, key: Key, size_bytes: int) -> None:
        """In its place; `used_bytes` knows."""
        raise NotImplementedError

    def _insert(self, key: Key, size_bytes: int) -> None:
        raise NotImplementedError

    def _evict(self) -> list[Key]:
        """A step towards room: nobody or one leaves, and `used_bytes` knows. There is somebody."""
        raise NotImplementedError


class Fifo(Eviction[Key]):
    """Who came first leaves first, however often it was read or put again."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._sizes: OrderedDict[Key, int] = OrderedDict()

    def touch(self, key: Key) -> None:
        assert key in self._sizes, key

    def remove(self, key: Key) -> bool:
        size_bytes = self._sizes.pop(key, None)
        if size_bytes is None:
            return False
        self.used_bytes -= size_bytes
        return True

    def __contains__(self, key: Key) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._sizes)

    def _resize(self, key: Key, size_bytes: int) -> None:
        self.used_bytes += size_bytes - self._sizes[key]
        self._sizes[key] = size_bytes

    def _insert(self, key: Key, size_bytes: int) -> None:
        self._sizes[key] = size_bytes

    def _evict(self) -> list[Key]:
        key, size_bytes = self._sizes.popitem(last=False)
        self.used_bytes -= size_bytes
        return [key]


class Lru(Fifo[Key]):
    """Who was not read for the longest time leaves first."""

    def touch(self, key: Key) -> None:
        self._sizes.move_to_end(key)


class _Slot(Generic[Key]):
    """A place in SIEVE's line."""

    __slots__ = ("key", "newer", "older", "size_bytes", "visited")

    def __init__(self, key: Key, size_bytes: int, older: _Slot[Key] | None) -> None:
        self.key = key
        self.size_bytes = size_bytes
        self.visited = False
        self.older = older
        self.newer: _Slot[Key] | None = None


class Sieve(Eviction[Key]):
    """A hand goes along the line from the oldest to the newest: who was read since it last came
    stays where it is, the first who was not leaves. (Zhang and others, NSDI 2024.)"""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._slots: dict[Key, _Slot[Key]] = {}
        self._oldest: _Slot[Key] | None = None
        self._newest: _Slot[Key] | None = None
        self._hand: _Slot[Key] | None = None
        """Whom it looks at next; None: the oldest."""

    def touch(self, key: Key) -> None:
        self._slots[key].visited = True

    def remove(self, key: Key) -> bool:
        slot = self._slots.get(key)
        if slot is None:
            return False
        self._unlink(slot)
        return True

    def __contains__(self, key: Key) -> bool:
        return key in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Key]:
        slot = self._oldest
        while slot is not None:
            yield slot.key
            slot = slot.newer

    def _resize(self, key: Key, size_bytes: int) -> None:
        slot = self._slots[key]
        self.used_bytes += size_bytes - slot.size_bytes
        slot.size_bytes = size_bytes

    def _insert(self, key: Key, size_bytes: int) -> None:
        slot = _Slot(key, size_bytes, self._newest)
        if self._newest is None:
            self._oldest = slot
        else:
            self._newest.newer = slot
        self._newest = slot
        self._slots[key] = slot

    def _evict(self) -> list[Key]:
        slot = self._hand or self._oldest
        while slot is not None and slot.visited:
            slot.visited = False
            slot = slot.newer or self._oldest
        assert slot is not None, "nobody is there"
        self._hand = slot
        self._unlink(slot)
        return [slot.key]

    def _unlink(self, slot: _Slot[Key]) -> None:
        if self._hand is slot:
            self._hand = slot.newer
        if slot.older is None:
            self._oldest = slot.newer
        else:
            slot.older.newer = slot.newer
        if slot.newer is None:
            self._newest = slot.older
        else:
            slot.newer.older = slot.older
        del self._slots[slot.key]
        self.used_bytes -= slot.size_bytes


SMALL_RATIO: Final = 0.1
GHOST_RATIO: Final = 0.9
READ_TWICE: Final = 2
"""So often one must be read in the small queue to get into the main one."""
MOST_READS: Final = 3
"""Nobody's reads are counted further."""


class _Entry:
    """What S3-FIFO knows of a key."""

    __slots__ = ("in_main", "reads", "size_bytes")

    def __init__(self, size_bytes: int, in_main: bool) -> None:
        self.size_bytes = size_bytes
        self.in_main = in_main
        self.reads = 0


class S3Fifo(Eviction[Key]):
    """A small queue for newcomers, where most leave soon; a main one for those who were read there,
    or come back while their ghost (the key alone) is remembered. (Yang and others, SOSP 2023.)

    Small queue a tenth, ghosts nine tenths of the limit. While the cache fills for the first time,
    newcomers that find the small queue full go to the main one. Nothing is too large for the small
    queue: it takes one entry of any size, so that a cache of ten works.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.small_limit_bytes = max(1, int(limit_bytes * SMALL_RATIO))
        self.main_limit_bytes = limit_bytes - self.small_limit_bytes
        self._ghost_limit_bytes = int(limit_bytes * GHOST_RATIO)
        self._entries: dict[Key, _Entry] = {}
        self._small: OrderedDict[Key, _Entry] = OrderedDict()
        self._main: OrderedDict[Key, _Entry] = OrderedDict()
        self._ghosts: OrderedDict[Key, int] = OrderedDict()
        self._small_bytes = 0
        self._ghost_bytes = 0
        self._was_full = False
        self._to_main = False
        """Whether the one that is being put goes there."""

    def touch(self, key: Key) -> None:
        entry = self._entries[key]
        if entry.reads < MOST_READS:
            entry.reads += 1

    def put(self, key: Key, size_bytes: int) -> list[Key]:
        self._to_main = self._lay_ghost(key)  # before one that leaves pushes it out
        return super().put(key, size_bytes)

    def remove(self, key: Key) -> bool:
        if key not in self._entries:
            return False
        self.used_bytes -= self._take(key).size_bytes
        return True

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Key]:
        yield from self._small
        yield from self._main

    def _resize(self, key: Key, size_bytes: int) -> None:
        entry = self._entries[key]
        more_bytes = size_bytes - entry.size_bytes
        entry.size_bytes = size_bytes
        self.used_bytes += more_bytes
        if not entry.in_main:
            self._small_bytes += more_bytes

    def _insert(self, key: Key, size_bytes: int) -> None:
        filling = not self._was_full and self._small_bytes >= self.small_limit_bytes
        was_here = self._lay_ghost(key)  # it has just left, because it grew
        self._append(key, size_bytes, in_main=self._to_main or was_here or filling)

    def _append(self, key: Key, size_bytes: int, *, in_main: bool) -> None:
        entry = self._entries[key] = _Entry(size_bytes, in_main)
        if in_main:
            self._main[key] = entry
        else:
            self._small[key] = entry
            self._small_bytes += size_bytes

    def _take(self, key: Key) -> _Entry:
        """Out of its queue."""
        entry = self._entries.pop(key)
        if entry.in_main:
            del self._main[key]
        else:
            del self._small[key]
            self._small_bytes -= entry.size_bytes
        return entry

    def _evict(self) -> list[Key]:
        self._was_full = True
        main_bytes = self.used_bytes - self._small_bytes
        if not self._small or main_bytes > self.main_limit_bytes:
            return self._evict_main()
        return self._evict_small()

    def _evict_small(self) -> list[Key]:
        while self._small:
            key = next(iter(self._small))
            entry = self._take(key)
            if entry.reads < READ_TWICE:
                self.used_bytes -= entry.size_bytes
                self._remember(key, entry.size_bytes)
                return [key]
            self._append(key, entry.size_bytes, in_main=True)
        return []

    def _evict_main(self) -> list[Key]:
        while True:
            key, entry = next(iter(self._main.items()))
            if not entry.reads:
                self.used_bytes -= self._take(key).size_bytes
                return [key]
            entry.reads -= 1
            self._main.move_to_end(key)

    def _lay_ghost(self, key: Key) -> bool:
        """Forget its ghost; whether there was one."""
        ghost_bytes = self._ghosts.pop(key, None)
        self._ghost_bytes -= ghost_bytes or 0
        return ghost_bytes is not None

    def _remember(self, key: Key, size_bytes: int) -> None:
        if size_bytes > self._ghost_limit_bytes:
            return
        while self._ghost_bytes + size_bytes > self._ghost_limit_bytes:
            self._ghost_bytes -= self._ghosts.popitem(last=False)[1]
        self._ghosts[key] = size_bytes
        self._ghost_bytes += size_bytes


POLICIES: Final[dict[EvictionName, type[Eviction[str]]]] = {
    "lru": Lru[str],
    "fifo": Fifo[str],
    "sieve": Sieve[str],
    "s3fifo": S3Fifo[str],
}


def eviction_named(name: EvictionName, limit_bytes: int) -> Eviction[str]:
    return POLICIES[name](limit_bytes)
