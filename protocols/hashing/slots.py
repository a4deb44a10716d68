"""Where a key belongs: CRC16 slots, the consistent-hash ring, modulo, and Maglev's lookup table.

Pure functions of names and keys, the same in every process; how a sharded store shares its slots
out is in partitioning.py, who owns which slot just now the coordinator's business.
"""

from __future__ import annotations

import binascii
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import xxhash

SLOTS: Final = 16384
VIRTUAL_NODES: Final = 150
MAGLEV_SIZE: Final = 65537
"""Prime, so that every step width visits every entry."""
MIN_SHARE: Final = 0.01
"""A Maglev weight below this part of the heaviest counts as this much."""


def crc16(data: bytes) -> int:
    """CRC16/XMODEM: crc16(b"123456789") == 0x31C3."""
    return binascii.crc_hqx(data, 0)


def hash_tag(key: bytes) -> bytes:
    """The part of the key that is hashed: the first non-empty {...}, else the whole key."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            return key[start + 1 : end]
    return key


def has_tag(text: str) -> bool:
    """Whether every key that begins so is in one slot: it has a whole hash tag."""
    start = text.find("{")
    return start >= 0 and text.find("}", start + 1) > start + 1


def slot_of(key: bytes | str) -> int:
    """The key's slot, 0 to 16383."""
    raw = key.encode() if isinstance(key, str) else key
    if b"{" in raw:
        raw = hash_tag(raw)
    return binascii.crc_hqx(raw, 0) & (SLOTS - 1)


def even_slots(owners: Sequence[str]) -> list[str]:
    """The owner of each slot when all get one contiguous range of nearly equal length."""
    assert owners, "slots need an owner"
    return [owners[slot * len(owners) // SLOTS] for slot in range(SLOTS)]


def hash64(key: bytes | str) -> int:
    """A 64-bit hash that is the same in every process (unlike Python's own)."""
    return xxhash.xxh3_64_intdigest(key)


def modulo(key: bytes | str | int, nodes: int) -> int:
    """The index of the owner: an integer key itself (`user_id % n`), any other by its hash."""
    assert nodes > 0, "modulo needs at least one node"
    return (key if isinstance(key, int) else hash64(key)) % nodes


class Ring:
    """A consistent-hash ring: each name owns the arcs that end at its virtual nodes."""

    __slots__ = ("_owners", "_points", "names")

    def __init__(
        self,
        names: Sequence[str],
        *,
        virtual_nodes: int = VIRTUAL_NODES,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.names = tuple(names)
        points: list[tuple[int, str]] = []
        for name in self.names:
            share = 1.0 if weights is None else weights.get(name, 1.0)
            count = max(1, round(virtual_nodes * share))
            points.extend((hash64(f"{name}#{number}"), name) for number in range(count))
        points.sort()
        self._points = [point for point, _ in points]
        self._owners = [name for _, name in points]

    def owner(self, key: bytes | str) -> str:
        """The name that owns the key. Raises LookupError on an empty ring."""
        if not self._points:
            raise LookupError("the ring is empty")
        at = bisect_right(self._points, hash64(key))
        return self._owners[at if at < len(self._owners) else 0]

    def preference(self, key: bytes | str) -> Iterator[str]:
        """Every name once, the owner first, then whoever would own the key without it, ..."""
        if not self._points:
            return
        start = bisect_right(self._points, hash64(key))
        seen: dict[str, None] = {}
        for step in range(len(self._owners)):
            name = self._owners[(start + step) % len(self._owners)]
            if name not in seen:
                seen[name] = None
                yield name
                if len(seen) == len(self.names):
                    return


class MaglevBuilder:
    """Fills a Maglev lookup table in steps, because a whole one (65,537 entries) takes tens of
    milliseconds, too long to hold an event loop.

    Each name walks its own permutation of the table and takes the next free entry in its turn; a
    name of weight w gets w turns where the heaviest gets 1 / max(w).
    """

    def __init__(
        self,
        names: Sequence[str],
        weights: Mapping[str, float] | None = None,
        size: int = MAGLEV_SIZE,
    ) -> None:
        self.names = tuple(names)
        self.size = size
        self._table = [-1] * size
        self._left = size if self.names else 0
        shares = [1.0 if weights is None else weights.get(name, 1.0) for name in self.names]
        heaviest = max(shares, default=1.0) or 1.0
        self._shares = [max(share / heaviest, MIN_SHARE) for share in shares]
        self._credits = [0.0] * len(self.names)
        self._next: list[int] = []
        self._skips: list[int] = []
        for name in self.names:
            self._next.append(hash64(f"{name}/offset") % size)
            self._skips.append(hash64(f"{name}/skip") % (size - 1) + 1)

    def step(self, entries: int) -> bool:
        """Fill about `entries` more entries; True when the table is complete."""
        table, size, left = self._table, self.size, self._left
        until = max(0, left - entries)
        while left > until:
            for index, share in enumerate(self._shares):
                credit = self._credits[index] + share
                if credit < 1.0:
                    self._credits[index] = credit
                    continue
                self._credits[index] = credit - 1.0
                at, skip = self._next[index], self._skips[index]
                while table[at] >= 0:
                    at = (at + skip) % size
                table[at] = index
                self._next[index] = (at + skip) % size
                left -= 1
                if left == 0:
                    break
        self._left = left
        return left == 0

    @property
    def table(self) -> list[int]:
        """For each entry the index of its owner in `names`; only once `step` said True."""
        assert self._left == 0, "the table is not complete"
        return self._table if self.names else []


def maglev_table(
    names: Sequence[str],
    weights: Mapping[str, float] | None = None,
    size: int = MAGLEV_SIZE,
) -> list[int]:
    """The whole table at once: the owner's index in `names` for each of `size` entries."""
    builder = MaglevBuilder(names, weights, size)
    builder.step(size)
    return builder.table


def maglev_owner(table: Sequence[int], key: bytes | str) -> int:
    """The index of the key's owner in the names that the table was made from."""
    return table[hash64(key) % len(table)]
