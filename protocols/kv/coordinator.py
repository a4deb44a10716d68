"""The coordinator's words, the slot map that it publishes, and the names a kv tier expands to.

`map(min_version, wait_ms)` → the map (see SlotMap), once its version is at least that; else, when
    the wait is over, `unavailable`. Any coordinator answers.
`plan(shards, options)` → what a change to those shards would move, for each partitioner; nothing
    is changed. options: `partitioner`
`reshard(shards, options)` → {"plan": id, "slots": n, "moves": n}: begin. options: `partitioner`,
    `keys_per_s` (0: as fast as it goes), `slots_per_move`. `refused` while another is under way
`cancel()` → whether a plan was under way: moves that are not published are undone
`rejoin(shard)` → [[first slot, last slot, epoch], ...]: what a shard owns that has lost everything,
    and may take again. `unavailable` while it has not taken its first slots, or a move needs it
`progress()` → the plan and its moves, with keys, bytes, pauses and outcomes
Details of `moved`: slot, owner ("" if unknown), map version; of `ask`: slot, target shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from protocols.hashing.partitioning import ranges_from_wire, ranges_to_wire, to_ranges
from protocols.hashing.slots import SLOTS

MAP: Final = "map"
PLAN: Final = "plan"
RESHARD: Final = "reshard"
CANCEL: Final = "cancel"
PROGRESS: Final = "progress"
REJOIN: Final = "rejoin"

MAX_SHARDS: Final = 256


class SlotMap(NamedTuple):
    """Who owns each slot, and since which version (its epoch). Versions only grow."""

    version: int
    shards: tuple[str, ...]
    owners: tuple[str, ...]
    epochs: tuple[int, ...]

    def to_wire(self) -> dict[str, Any]:
        """`ranges` are [first slot, last slot, index of the shard, epoch]."""
        number = {shard: index for index, shard in enumerate(self.shards)}
        ranges: list[list[int]] = []
        for slot, (owner, epoch) in enumerate(zip(self.owners, self.epochs, strict=True)):
            last = ranges[-1] if ranges else None
            if last is not None and last[2] == number[owner] and last[3] == epoch:
                last[1] = slot
            else:
                ranges.append([slot, slot, number[owner], epoch])
        return {"version": self.version, "shards": list(self.shards), "ranges": ranges}

    @classmethod
    def from_wire(cls, value: Any) -> SlotMap:
        """Raises ValueError for anything but a whole map."""
        match value:
            case {"version": int(version), "shards": [*shards], "ranges": [*ranges]}:
                owners: list[str] = []
                epochs: list[int] = []
                for item in ranges:
                    match item:
                        case [int(first), int(last), int(index), int(epoch)] if (
                            first == len(owners) and first <= last and 0 <= index < len(shards)
                        ):
                            owners += [str(shards[index])] * (last - first + 1)
                            epochs += [epoch] * (last - first + 1)
                        case _:
                            raise ValueError(f"{item!r} does not continue the map")
                if len(owners) == SLOTS:
                    names = tuple(str(each) for each in shards)
                    return cls(version, names, tuple(owners), tuple(epochs))
        raise ValueError("not a whole slot map")

    def ranges_of(self, shard: str) -> list[tuple[int, int]]:
        return to_ranges(slot for slot, owner in enumerate(self.owners) if owner == shard)


class MoveOrder(NamedTuple):
    """What a coordinator tells both ends of a move."""

    move: str
    ranges: Sequence[tuple[int, int]]
    source: str
    target: str
    keys_per_s: int = 0

    def to_wire(self) -> list[Any]:
        return [self.move, ranges_to_wire(self.ranges), *self[2:]]

    @classmethod
    def from_wire(cls, value: Any) -> MoveOrder:
        """Raises ValueError."""
        match value:
            case [str(move), ranges, str(source), str(target), int(keys_per_s)]:
                return cls(move, ranges_from_wire(ranges), source, target, keys_per_s)
        raise ValueError("not a move")


def coordinator_tier(group: str) -> str:
    return f"{group}-coordinator"


def router_tier(group: str) -> str:
    return f"{group}-router"


def shard_tier(group: str, number: int) -> str:
    """The tier of the shard with that number; 1 is the first."""
    return f"{group}-shard-{number}"


def shard_number(tier: str) -> int:
    """The number at the end of a shard tier's name, or 0."""
    tail = tier.rpartition("-")[2]
    return int(tail) if tail.isdecimal() else 0
