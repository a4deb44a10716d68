"""Bugs of a sharded store: moves of slots and what goes with them, indexes, limits, transactions.

How they are hunted is test_planted_bugs.py's.
"""

from __future__ import annotations

from typing import Any

from nodes.kv import mover as kv_mover
from nodes.kv import state as kv_state
from nodes.kv.commands import KvCommands
from nodes.kv.documents import Index
from nodes.kv.keys import KvKeys
from nodes.kv.moves import ShardMoves
from nodes.kv.state import KvState
from protocols.errors import RpcError
from protocols.hashing.partitioning import from_ranges
from tests.planting import Swap, listed
from tests.sim.planted_bugs import PlantedBug

STORE_BUGS: list[PlantedBug] = []
SHARDS = "shards"
DOCUMENTS = "documents"


def bug(topology: str) -> Any:
    """List the function under its docstring."""
    return listed(STORE_BUGS, PlantedBug, topology, "swarm")


# --- moves -----------------------------------------------------------------------------------


@bug(SHARDS)
def _outcomes_left_behind(swap: Swap) -> None:
    """request ids do not move with their slots"""
    swap.setattr(ShardMoves, "_outcomes", lambda self, slot, after: [])


@bug(SHARDS)
def _stream_lacks_changes(swap: Swap) -> None:
    """what is changed behind the copy does not follow it"""
    swap.setattr(kv_mover, "changes_for", lambda *arguments: [])


@bug(SHARDS)
def _last_outcome_left_behind(swap: Swap) -> None:
    """the latest request id of a slot does not move with it"""
    sound = ShardMoves._outcomes

    def outcomes(self: Any, slot: int, after: str) -> list[Any]:
        return sound(self, slot, after)[:-1]

    swap.setattr(ShardMoves, "_outcomes", outcomes)


@bug(SHARDS)
def _increments_again(swap: Swap) -> None:
    """an increment that is asked for again is done again"""
    sound = KvKeys.incr

    def incr(self: Any, params: Any, epoch: Any = None) -> int:
        return sound(self, [each for each in params if type(each) is not dict], epoch)

    swap.setattr(KvKeys, "incr", incr)


@bug(SHARDS)
def _appends_again(swap: Swap) -> None:
    """an append that is copied and streamed is done twice"""

    def append(self: Any, fact: Any) -> None:
        _, slot, key, suffix, _ = fact
        data = self._data(slot)
        self.put(data, key, data.get(key, suffix[:0]) + suffix, self.expiry.get(key, 0))

    swap.setitem(kv_state._APPLY, kv_state.APPEND, append)


@bug(SHARDS)
def _fence_forgets(swap: Swap) -> None:
    """a source forgets its data with the fence, before the target owns them"""
    sound = KvState._fence

    def fence(self: Any, fact: Any) -> None:
        sound(self, fact)
        self._forget(from_ranges(fact[2]))

    swap.setitem(kv_state._APPLY, kv_state.FENCE, fence)


# --- indexes, limits, transactions of a store ------------------------------------------------


def _without_index(swap: Swap, method: str) -> None:
    sound = getattr(KvState, method)

    def unindexed(self: Any, *arguments: Any, **more: Any) -> None:
        index, self.index = self.index, None
        try:
            sound(self, *arguments, **more)
        finally:
            self.index = index

    swap.setattr(KvState, method, unindexed)


@bug(DOCUMENTS)
def _deleted_and_found(swap: Swap) -> None:
    """the index is not told of a delete"""
    _without_index(swap, "remove")


@bug(DOCUMENTS)
def _moved_and_found(swap: Swap) -> None:
    """a document that changes hands stays where it was in the index"""
    sound = Index.replace

    def replace(self: Any, key: str, old: Any, new: Any) -> None:
        sound(self, key, old if new is None else None, new)

    swap.setattr(Index, "replace", replace)


@bug(DOCUMENTS)
def _restored_unindexed(swap: Swap) -> None:
    """what a snapshot brings back is not in the index"""
    _without_index(swap, "take_slot")


@bug(DOCUMENTS)
def _first_change_stays(swap: Swap) -> None:
    """a transaction that is refused leaves its first change to whoever reads next"""
    sound = KvCommands.transact

    def transact(self: Any, params: Any, epoch: Any = None) -> Any:
        try:
            return sound(self, params, epoch)
        except RpcError as error:
            if error.code == "refused":
                facts, size_bytes = len(self.facts), self.fact_bytes
                self._operate(params[0][0], epoch)
                del self.facts[facts:]
                self.fact_bytes = size_bytes
            raise

    swap.setattr(KvCommands, "transact", transact)


@bug(DOCUMENTS)
def _limit_stays(swap: Swap) -> None:
    """a time limit that is taken away takes effect"""
    sound = KvState._expire

    def expire(self: Any, fact: Any) -> None:
        if fact[3]:
            sound(self, fact)

    swap.setitem(kv_state._APPLY, kv_state.EXPIRE, expire)
