"""How a partitioner shares the slots out among shards, and what a change of the shards moves.

Slots are the unit in which data moves, whatever the partitioner: `modulo` deals them out in turn
(slot % n), `ring` and `maglev` hash each slot, `slots` keeps who has what and moves the fewest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from protocols.hashing.slots import SLOTS, MaglevBuilder, Ring, even_slots, hash64, maglev_owner

MODULO: Final = "modulo"
RANGES: Final = "slots"
RING: Final = "ring"
MAGLEV: Final = "maglev"
PARTITIONERS: Final = (MODULO, RANGES, RING, MAGLEV)

STEP_SLOTS: Final = 1024
STEP_ENTRIES: Final = 4096
"""Of a Maglev table."""

Range = tuple[int, int]
"""First and last slot, both included."""


def assign(partitioner: str, shards: Sequence[str], current: Sequence[str] = ()) -> list[str]:
    """The owner of each slot among `shards`, given who owns them now (none at the start)."""
    steps = assigning(partitioner, shards, current)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            owners: list[str] = done.value
            return owners


def assigning(
    partitioner: str, shards: Sequence[str], current: Sequence[str] = ()
) -> Generator[None, None, list[str]]:
    """`assign` in steps of about a millisecond, for whoever has others waiting."""
    owner_of: Callable[[str], str]
    if partitioner == MODULO:
        return [shards[slot % len(shards)] for slot in range(SLOTS)]
    if partitioner == RANGES:
        return rebalanced(current, shards) if current else even_slots(shards)
    if partitioner == RING:
        owner_of = Ring(shards).owner
    else:
        assert partitioner == MAGLEV, partitioner
        builder = MaglevBuilder(shards)
        while not builder.step(STEP_ENTRIES):
            yield
        owner_of = partial(_by_table, shards, builder.table)
    owners: list[str] = []
    for first in range(0, SLOTS, STEP_SLOTS):
        owners += [owner_of(_name(slot)) for slot in range(first, first + STEP_SLOTS)]
        yield
    return owners


def _by_table(shards: Sequence[str], table: Sequence[int], name: str) -> str:
    return shards[maglev_owner(table, name)]


def _name(slot: int) -> str:
    """What is hashed for a slot, so that neighbours do not stay together."""
    return f"slot-{slot}/{hash64(str(slot)):x}"


def rebalanced(current: Sequence[str], shards: Sequence[str]) -> list[str]:
    """Even shares for `shards` with the fewest slots moved: whoever has too many gives its last
    ones, whoever is no longer among them gives all."""
    least, extra = divmod(SLOTS, len(shards))
    held = Counter(owner for owner in current if owner in shards)
    richest = sorted(shards, key=lambda name: (-held[name], shards.index(name)))
    quota = {name: least + (rank < extra) for rank, name in enumerate(richest)}
    owners: list[str] = list(current)
    kept: Counter[str] = Counter()
    free: list[int] = []
    for slot, owner in enumerate(owners):
        if owner in quota and kept[owner] < quota[owner]:
            kept[owner] += 1
        else:
            free.append(slot)
    for name in shards:
        wanted = quota[name] - kept[name]
        for slot in free[:wanted]:
            owners[slot] = name
        del free[:wanted]
    return owners


def moved_slots(before: Sequence[str], after: Sequence[str]) -> dict[tuple[str, str], list[int]]:
    """Which slots go from whom to whom."""
    moves: dict[tuple[str, str], list[int]] = {}
    for slot, (source, target) in enumerate(zip(before, after, strict=True)):
        if source != target:
            moves.setdefault((source, target), []).append(slot)
    return moves


def to_ranges(slots: Iterable[int]) -> list[Range]:
    """Slots in rising order as ranges."""
    ranges: list[Range] = []
    for slot in slots:
        if ranges and ranges[-1][1] == slot - 1:
            ranges[-1] = (ranges[-1][0], slot)
        else:
            ranges.append((slot, slot))
    return ranges


def from_ranges(ranges: Iterable[Sequence[int]]) -> list[int]:
    """The slots of ranges that `to_ranges` made."""
    return [slot for first, last in ranges for slot in range(first, last + 1)]


def ranges_to_wire(ranges: Iterable[Range]) -> list[list[int]]:
    """As MessagePack has them."""
    return [list(each) for each in ranges]


def ranges_from_wire(value: Any) -> list[Range]:
    """Raises ValueError for anything but rising ranges of slots."""
    if not isinstance(value, list | tuple):
        raise ValueError("slot ranges are a list of [first, last]")
    ranges: list[Range] = []
    for item in value:
        match item:
            case [int(first), int(last)] if 0 <= first <= last < SLOTS:
                if ranges and first <= ranges[-1][1]:
                    raise ValueError(f"slot ranges overlap or fall at {first}")
                ranges.append((first, last))
            case _:
                raise ValueError(f"{item!r} is no range of slots 0 to {SLOTS - 1}")
    return ranges


def shares(owners: Sequence[str]) -> Mapping[str, int]:
    """How many slots each owner has."""
    return dict(sorted(Counter(owners).items()))
