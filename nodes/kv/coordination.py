"""What the coordinators' records mean: the slot map, the shards, the plan and its moves.

A move is a small state machine (NEXT) whose arrows are records: nothing is done on the strength of
a phase before the record that begins it is committed, and the same step may be asked for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgpack

from protocols.hashing.partitioning import Range, from_ranges, moved_slots, to_ranges
from protocols.kv.coordinator import MoveOrder, SlotMap
from protocols.replication.pieces import Content

FOUND: Final = 1
"""[FOUND, partitioner, shards, owners' indexes as ranges [[first, last, index], ...]]"""
ADOPTED: Final = 2
"""[ADOPTED, shard]: it has taken its first slots."""
PLAN: Final = 3
"""[PLAN, id, partitioner, shards at the end, [[move, ranges, source, target], ...], keys_per_s]"""
PHASE: Final = 4
"""[PHASE, move, phase, figures]"""
CANCEL: Final = 5
"""[CANCEL]: no further moves of the plan."""
ENDED: Final = 6
"""[ENDED, outcome]: nothing of the plan is left to do."""

QUEUED: Final = "queued"
COPYING: Final = "copying"
FENCING: Final = "fencing"
PUBLISHED: Final = "published"
DONE: Final = "done"
ABORTING: Final = "aborting"
ABORTED: Final = "aborted"
NEXT: Final = {
    QUEUED: (COPYING, ABORTED),
    COPYING: (FENCING, ABORTING),
    FENCING: (PUBLISHED, ABORTING),
    PUBLISHED: (DONE,),
    ABORTING: (ABORTED,),
    DONE: (),
    ABORTED: (),
}
"""Phase → what may follow. `published` is the commit point: the map names the target from there
on. A source that was fenced serves again only after `aborting`, which excludes it for ever. An
aborted move is queued again, a few times."""
OVER: Final = (DONE, ABORTED)

MAX_ATTEMPTS: Final = 5
MAX_ENDED: Final = 1000
"""Ended moves whose figures are kept."""
FIGURES: Final = ("keys", "bytes", "streamed", "pause_s", "copy_s", "why")


class Move:
    """Slots on their way from one shard to another."""

    __slots__ = ("attempt", "epoch", "figures", "name", "phase", "ranges", "source", "target")

    def __init__(self, name: str, ranges: Sequence[Range], source: str, target: str) -> None:
        self.name = name
        self.ranges = [(first, last) for first, last in ranges]
        self.source = source
        self.target = target
        self.phase = QUEUED
        self.attempt = 1
        self.epoch = 0
        """Once published or aborting: the map version that decided it."""
        self.figures: dict[str, Any] = {}

    @property
    def slots(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def order(self, keys_per_s: int) -> MoveOrder:
        return MoveOrder(self.name, self.ranges, self.source, self.target, keys_per_s)

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Move:
        made = cls(values["name"], values["ranges"], values["source"], values["target"])
        made.phase, made.attempt, made.epoch = values["phase"], values["attempt"], values["epoch"]
        made.figures = values["figures"]
        return made


class Coordination:
    """The state of the coordinators' group. It changes by `apply_fact` only."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.version = 0
        self.partitioner = ""
        self.shards: list[str] = []
        self.owners: list[str] = []
        self.epochs: list[int] = []
        self.adopted: dict[str, bool] = {}
        """Shard → whether it has taken its first slots (a shard that came later needs none)."""
        self.since: dict[str, int] = {}
        """Shard that came later → the map's version then: one of that name may have been before."""
        self.plan = ""
        """The plan under way, or ""."""
        self.plan_shards: list[str] = []
        self.plan_outcome = ""
        self.cancelled = False
        self.keys_per_s = 0
        self.moves: dict[str, Move] = {}
        """Of the plan under way, in order."""
        self.ended: list[dict[str, Any]] = []
        self._map: SlotMap | None = None
        self._wire_map: dict[str, Any] | None = None

    @property
    def map(self) -> SlotMap:
        if self._map is None:
            self._map = SlotMap(
                self.version, tuple(self.shards), tuple(self.owners), tuple(self.epochs)
            )
        return self._map

    @property
    def wire_map(self) -> dict[str, Any]:
        """The map as clients get it."""
        if self._wire_map is None:
            self._wire_map = self.map.to_wire()
        return self._wire_map

    @property
    def arrangement(self) -> tuple[int, str]:
        """replica.state_machine.SharesOut."""
        if not self.plan:
            return self.version, ""
        over = sum(each.phase in OVER for each in self.moves.values())
        return self.version, f"a reshard has done {over} of its {len(self.moves)} moves"

    def active(self) -> list[Move]:
        """Moves that are begun and not over."""
        return [each for each in self.moves.values() if each.phase not in (QUEUED, *OVER)]

    def next_queued(self) -> Move | None:
        return next((each for each in self.moves.values() if each.phase == QUEUED), None)

    def outcome(self) -> str:
        """What the plan came to, once no move is queued or active."""
        for move in self.moves.values():
            if any(self.owners[slot] != move.target for slot in from_ranges(move.ranges)):
                return "cancelled" if self.cancelled else "incomplete"
        return "done"

    # --- records -------------------------------------------------------------------------

    def apply(self, payload: bytes, lsn: int) -> None:
        for fact in msgpack.unpackb(payload, strict_map_key=False):
            self.apply_fact(fact)

    def apply_fact(self, fact: Sequence[Any]) -> None:
        _APPLY[fact[0]](self, fact)
        self._map = self._wire_map = None

    def describe(self, payload: bytes) -> Any:
        return msgpack.unpackb(payload, strict_map_key=False)

    def _found(self, fact: Sequence[Any]) -> None:
        _, self.partitioner, self.shards, ranges = fact
        assert not self.owners, "a map is founded once"
        self.shards = list(self.shards)
        for first, last, index in ranges:
            self.owners += [self.shards[index]] * (last - first + 1)
        self.version = 1
        self.epochs = [1] * len(self.owners)
        self.adopted = dict.fromkeys(self.shards, False)

    def _adopted(self, fact: Sequence[Any]) -> None:
        self.adopted[fact[1]] = True

    def _plan(self, fact: Sequence[Any]) -> None:
        _, self.plan, self.partitioner, shards, moves, self.keys_per_s = fact
        self.plan_shards, self.plan_outcome, self.cancelled = list(shards), "", False
        for shard in shards:
            if shard not in self.adopted:
                self.shards.append(shard)
                self.adopted[shard] = True
                self.since[shard] = self.version + 1
        self.version += 1
        self.moves = {name: Move(name, *rest) for name, *rest in moves}

    def _phase(self, fact: Sequence[Any]) -> None:
        _, name, phase, figures = fact
        move = self.moves[name]
        assert phase in NEXT[move.phase], f"{name}: {move.phase} → {phase}"
        move.phase = phase
        move.figures.update(figures)
        if phase in (PUBLISHED, ABORTING):
            self.version += 1
            move.epoch = self.version
            owner = move.target if phase == PUBLISHED else move.source
            for slot in from_ranges(move.ranges):
                self.owners[slot], self.epochs[slot] = owner, self.version
        if phase in OVER:
            self.ended.append(move.to_dict())
            del self.ended[:-MAX_ENDED]
        if phase == ABORTED and move.attempt < MAX_ATTEMPTS and not self.cancelled:
            again = Move(f"{name}'", move.ranges, move.source, move.target)
            again.attempt = move.attempt + 1
            self.moves[again.name] = again

    def _cancel(self, fact: Sequence[Any]) -> None:
        self.cancelled = True

    def _ended(self, fact: Sequence[Any]) -> None:
        _, self.plan_outcome = fact
        self.plan, self.cancelled = "", False
        owning = set(self.owners)
        kept = [each for each in self.shards if each in self.plan_shards or each in owning]
        for shard in self.shards:
            if shard not in kept:
                del self.adopted[shard]
                self.since.pop(shard, None)
        self.shards = kept
        self.version += 1

    # --- the whole -----------------------------------------------------------------------

    def dump(self) -> bytes:
        packed: bytes = msgpack.packb(
            {
                **{name: getattr(self, name) for name in _DUMPED},
                "moves": [each.to_dict() for each in self.moves.values()],
            }
        )
        return packed

    def restore(self, data: Content | None) -> None:
        self._clear()
        if data is None:
            return
        whole = msgpack.unpackb(bytes(data), strict_map_key=False)
        for name in _DUMPED:
            if name in whole:  # an older snapshot has not all of them
                setattr(self, name, whole[name])
        self.moves = {each["name"]: Move.from_dict(each) for each in whole["moves"]}


_DUMPED: Final = (
    "version", "partitioner", "shards", "owners", "epochs", "adopted", "since", "plan",
    "plan_shards", "plan_outcome", "cancelled", "keys_per_s", "ended",
)  # fmt: skip
_APPLY: Final[dict[int, Callable[[Coordination, Sequence[Any]], None]]] = {
    FOUND: Coordination._found,
    ADOPTED: Coordination._adopted,
    PLAN: Coordination._plan,
    PHASE: Coordination._phase,
    CANCEL: Coordination._cancel,
    ENDED: Coordination._ended,
}


def found_fact(partitioner: str, shards: Sequence[str], owners: Sequence[str]) -> list[Any]:
    """The record that begins a map."""
    ranges: list[list[int]] = []
    for slot, owner in enumerate(owners):
        index = shards.index(owner)
        if ranges and ranges[-1][2] == index:
            ranges[-1][1] = slot
        else:
            ranges.append([slot, slot, index])
    return [FOUND, partitioner, list(shards), ranges]


def moves_between(
    plan: str, before: Sequence[str], after: Sequence[str], slots_per_move: int
) -> list[list[Any]]:
    """The moves of a plan, no more than so many slots each; sources take turns, so that none is
    under load for the whole time."""
    queues = []
    for (source, target), slots in moved_slots(before, after).items():
        parts = [slots[at : at + slots_per_move] for at in range(0, len(slots), slots_per_move)]
        queues.append([(part, source, target) for part in parts])
    turns = [queue[turn] for turn in range(max(map(len, queues), default=0))
             for queue in queues if turn < len(queue)]  # fmt: skip
    return [
        [f"{plan}/{number}", to_ranges(part), source, target]
        for number, (part, source, target) in enumerate(turns, 1)
    ]
