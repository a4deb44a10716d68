"""Who publishes, and what of each partition's records was theirs: so that a retry is none. Pure.

A producer is an id that is never given twice. It repeats what was not answered with the same
sequence, and gets the first offset; what it never published is next, or is refused. An id that was
forgotten is refused as well: taken as new, its retry would be a second record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from protocols.errors import RpcError

MAX_PRODUCERS: Final = 10_000
"""Remembered by a broker group; then whoever was silent for longest is forgotten."""
KEPT: Final = 5
"""Batches of a producer in a partition whose offsets are remembered: more are never under way."""

Where = tuple[str, int]
"""Topic and partition."""


class Batch(NamedTuple):
    """What was published at once."""

    sequence: int
    """Of its first record."""
    records: int
    offset: int


class Producer:
    """One of them."""

    __slots__ = ("batches", "epoch", "name")

    def __init__(self, epoch: int, name: str) -> None:
        self.epoch = epoch
        self.name = name
        self.batches: dict[Where, list[Batch]] = {}


class Producers:
    """All that a broker group knows."""

    def __init__(self) -> None:
        self._known: dict[str, Producer] = {}
        """By id; whoever was heard of last is last."""
        self._ids: dict[str, str] = {}
        """Name → id."""
        self.given = 0
        """How many ids were given."""

    def __len__(self) -> int:
        return len(self._known)

    def named(self, name: str, lsn: int) -> tuple[str, int]:
        """The id and epoch of whoever begins to publish under that name ("": nobody's)."""
        known = self._ids.get(name)
        if known is not None:
            return known, self._known[known].epoch + 1
        return f"{lsn:x}-{self.given:x}", 0  # no LSN is written twice, but by who lost its log

    def begin(self, producer: str, epoch: int, name: str) -> None:
        """A producer has (a later) epoch: its sequences begin at 0."""
        self.given += 1
        self._known.pop(producer, None)
        self._known[producer] = Producer(epoch, name)
        if name:
            self._ids[name] = producer
        while len(self._known) > MAX_PRODUCERS:
            oldest = next(iter(self._known))
            gone = self._known.pop(oldest)
            self._ids.pop(gone.name, None)

    def published(
        self, producer: str, epoch: int, sequence: int, count: int, where: Where
    ) -> int | None:
        """The first offset of what was published before; None if it is next. Raises RpcError."""
        known = self._known.get(producer)
        if known is None:
            raise RpcError("unknown_producer", f"nobody knows the producer {producer!r} any more")
        if epoch != known.epoch:
            raise RpcError("fenced", f"producer {producer!r} is in epoch {known.epoch}")
        batches = known.batches.get(where, [])
        expected = batches[-1].sequence + batches[-1].records if batches else 0
        if sequence == expected:
            return None
        for batch in batches:
            if batch.sequence == sequence and batch.records == count:
                return batch.offset
        raise RpcError(
            "out_of_sequence", f"{where[0]}/{where[1]}: {expected} is next, not {sequence}",
            expected,
        )  # fmt: skip

    def note(self, producer: str, batch: Batch, where: Where) -> None:
        """It has published; whoever does is remembered longest."""
        known = self._known.pop(producer)
        self._known[producer] = known
        batches = known.batches.setdefault(where, [])
        batches.append(batch)
        del batches[:-KEPT]

    def to_wire(self) -> list[Any]:
        known = [
            [name, each.epoch, each.name, [[*where, batches] for where, batches in
                                           each.batches.items()]]
            for name, each in self._known.items()
        ]  # fmt: skip
        return [self.given, known]

    def take(self, value: Sequence[Any]) -> None:
        """Become what `to_wire` gave."""
        given, known = value
        self._known, self._ids = {}, {}
        for producer, epoch, name, batches in known:
            self.begin(producer, epoch, name)
            self._known[producer].batches = {
                (topic, partition): [Batch(*each) for each in kept]
                for topic, partition, kept in batches
            }
        self.given = given
