"""What a shard may do in a move, as facts: the guards that keep a slot with one owner.

A move ends here once (`finished`), and whatever arrives late for it is refused: that, and the
source's fence in the stream, is all that safety rests on. Who decides is the coordinator; how
bytes travel is mover.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nodes.kv.scans import keys_after
from nodes.kv.state import (
    ADOPT,
    CHUNK,
    DROP,
    FENCE,
    IMPORT,
    LAST_DATA_OP,
    RELEASE,
    RESUME,
    STREAM,
    Fact,
    KvState,
    size_of,
)
from protocols.errors import RpcError
from protocols.hashing.partitioning import Range, from_ranges, ranges_to_wire
from protocols.kv.coordinator import MoveOrder
from protocols.numerals import whole

ENTRY_BYTES: Final = 16


class ShardMoves:
    """Both ends of moves, over one shard's state. Each method gives the facts that do it ([]: it
    is so already) or raises RpcError `refused`."""

    def __init__(self, state: KvState) -> None:
        self.state = state

    # --- the target ----------------------------------------------------------------------

    def begin_import(self, order: MoveOrder, from_lsn: int) -> list[Fact]:
        """Copy from nothing; again if the copy cannot be continued."""
        self._check_not_over(order.move)
        ours = self.state.incoming.get(order.move)
        if ours is not None and ours.drained:
            raise RpcError("refused", f"{order.move} is drained: nothing is copied again")
        wanted = frozenset(from_ranges(order.ranges))
        facts: list[Fact] = []
        for move, theirs in self.state.incoming.items():
            if move != order.move and not wanted.isdisjoint(from_ranges(theirs.ranges)):
                facts.append((DROP, move))  # its coordinator has given it up, and told us in vain
        copied = {
            slot for each in self.state.incoming.values() for slot in from_ranges(each.ranges)
        }
        for slot in from_ranges(order.ranges):
            if self.state.held[slot] is not None and slot not in copied:
                raise RpcError("refused", f"slot {slot} is held here already")
        ranges = ranges_to_wire(order.ranges)
        return [*facts, (IMPORT, order.move, ranges, order.source, from_lsn)]

    def import_nothing(self, order: MoveOrder) -> list[Fact]:
        """The whole of what is left, where neither end has a log and both were restarted."""
        ranges = ranges_to_wire(order.ranges)
        fence = (FENCE, order.move, ranges, order.target)
        return [
            *self.begin_import(order, 0),
            (CHUNK, order.move, None, [], []),
            (STREAM, order.move, 0, [fence]),
        ]

    def take_chunk(self, move: str, cursor: str | None, chunk: dict[str, Any]) -> list[Fact]:
        """One page of the snapshot, if it continues ours."""
        incoming = self.state.incoming.get(move)
        if incoming is None or incoming.cursor != cursor or cursor is None:
            raise RpcError("refused", f"{move}: this page does not continue the copy")
        return [(CHUNK, move, chunk["cursor"], chunk["entries"], chunk["outcomes"])]

    def take_stream(self, move: str, from_lsn: int, through_lsn: int, facts: Any) -> list[Fact]:
        """Changes after `from_lsn`, if they continue ours."""
        incoming = self.state.incoming.get(move)
        if incoming is None or incoming.through_lsn != from_lsn:
            raise RpcError("refused", f"{move}: these changes do not continue the stream")
        return [(STREAM, move, through_lsn, facts)]

    def adopt(self, order: MoveOrder, epoch: int) -> list[Fact]:
        """Own the slots: only once all that the source ever had is here."""
        if self.state.finished.get(order.move) == "adopted":
            return []
        self._check_not_over(order.move)
        incoming = self.state.incoming.get(order.move)
        if incoming is None or incoming.cursor is not None or not incoming.drained:
            raise RpcError("refused", f"{order.move} is not drained: it cannot be adopted")
        return [(ADOPT, order.move, ranges_to_wire(incoming.ranges), epoch)]

    def drop(self, order: MoveOrder) -> list[Fact]:
        """Never adopt it: the coordinator has decided against the move."""
        if self.state.finished.get(order.move) == "dropped":
            return []
        self._check_not_over(order.move)
        return [(DROP, order.move)]

    # --- the source ----------------------------------------------------------------------

    def fence(self, order: MoveOrder) -> list[Fact]:
        """Serve the slots no more; what was answered before is in the log before this."""
        if order.move in self.state.outgoing:
            return []
        self._check_not_over(order.move)
        for slot in from_ranges(order.ranges):
            if self.state.serving[slot] is None:
                raise RpcError("refused", f"slot {slot} is not served here")
        return [(FENCE, order.move, ranges_to_wire(order.ranges), order.target)]

    def fence_again(self, move: str, told: Sequence[Fact]) -> list[Fact]:
        """For whoever has all that ever changed here: the fence, where it was before their copy
        began, so that they would wait for it in vain."""
        outgoing = self.state.outgoing.get(move)
        if outgoing is None or any(fact[0] == FENCE for fact in told):
            return []
        return [(FENCE, move, ranges_to_wire(outgoing.ranges), outgoing.target)]

    def resume(self, order: MoveOrder, epoch: int) -> list[Fact]:
        """Serve them again: the coordinator has excluded that the target ever owns them."""
        if self.state.finished.get(order.move) == "resumed":
            return []
        self._check_not_over(order.move)
        return [(RESUME, order.move, epoch, ranges_to_wire(order.ranges))]

    def release(self, order: MoveOrder, version: int) -> list[Fact]:
        """Forget the data: the target owns it."""
        if self.state.finished.get(order.move) == "released":
            return []
        if order.move not in self.state.outgoing:
            if all(self.state.held[slot] is None for slot in from_ranges(order.ranges)):
                return []  # a restart without a log has forgotten them already
            raise RpcError("refused", f"{order.move} is not fenced here")
        return [(RELEASE, order.move, version)]

    def _check_not_over(self, move: str) -> None:
        how = self.state.finished.get(move)
        if how is not None:
            raise RpcError("refused", f"{move} is over here: {how}", how)

    # --- what the source gives ------------------------------------------------------------

    def page(self, ranges: Sequence[Range], cursor: str, page_bytes: int) -> dict[str, Any]:
        """A page of the snapshot from `cursor` on: slot by slot, its request ids in the order in
        which they came, then its keys in order. The next cursor is None at the end."""
        at, last_id, last_key = _parse(cursor)
        page = _Page(page_bytes)
        for slot in from_ranges(ranges):
            if slot < at:
                continue
            data = self.state.held[slot]
            if data is None:
                raise RpcError("refused", f"slot {slot} is not here")
            resumed = slot == at
            if not (resumed and last_key):
                for outcome in self._outcomes(slot, last_id if resumed else ""):
                    if page.is_full:
                        return page.to_wire(page.cursor)
                    page.add_outcome(slot, outcome)
            for key in keys_after(data, last_key if resumed else ""):
                if page.is_full:
                    return page.to_wire(page.cursor)
                page.add_entry([slot, key, data[key], self.state.expiry.get(key, 0)])
        return page.to_wire(None)

    def _outcomes(self, slot: int, after: str) -> list[list[Any]]:
        known = self.state.requests.of_slot(slot)
        at = next((place for place, each in enumerate(known) if each[1] == after), -1)
        return known[at + 1 :]


class _Page:
    """What fits one record of the target's log."""

    def __init__(self, size_bytes: int) -> None:
        self.entries: list[list[Any]] = []
        self.outcomes: list[list[Any]] = []
        self.cursor = ""
        self._room_bytes = size_bytes

    @property
    def is_full(self) -> bool:
        return self._room_bytes <= 0

    def add_entry(self, entry: list[Any]) -> None:
        slot, key, value, _ = entry
        self.entries.append(entry)
        self.cursor = f"{slot}:{key}"
        self._room_bytes -= len(key) + size_of(value) + ENTRY_BYTES

    def add_outcome(self, slot: int, outcome: list[Any]) -> None:
        self.outcomes.append(outcome)
        self.cursor = f"{slot}#{outcome[1]}"
        self._room_bytes -= len(outcome[1]) + size_of(outcome[2]) + ENTRY_BYTES

    def to_wire(self, cursor: str | None) -> dict[str, Any]:
        return {"entries": self.entries, "outcomes": self.outcomes, "cursor": cursor}


def _parse(cursor: str) -> tuple[int, str, str]:
    """`slot#request id` or `slot:key` → (slot, request id, key). Raises RpcError."""
    if not cursor:
        return 0, "", ""
    for sign in ":#":
        number, found, rest = cursor.partition(sign)
        slot = whole(number)
        if found and slot is not None:
            return slot, rest if sign == "#" else "", rest if sign == ":" else ""
    raise RpcError("bad_request", f"{cursor!r} is no cursor of a move")


def changes_for(
    move: str, slots: frozenset[int], records: list[tuple[int, list[Fact]]]
) -> list[Fact]:
    """Of a source's records, what the target of that move must take in, in order."""
    return [
        fact
        for _, facts in records
        for fact in facts
        if (fact[1] in slots if fact[0] <= LAST_DATA_OP else _is_about(fact, move))
    ]


def _is_about(fact: Fact, move: str) -> bool:
    return fact[0] in (FENCE, RESUME) and fact[1] == move
