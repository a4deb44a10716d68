"""Which acknowledged writes are gone: known where objects are read whole (lists, sets, partitions).

At settings that permit it this is a number, not an anomaly; it is told by key either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from emu.checks.history import Operation
from emu.checks.partitions import ALL, PUBLISH
from emu.checks.values import freeze

WRITES: Final = {"list-append": "append", "set": "add", "queue": PUBLISH}
"""model → the operation whose element every later read must show."""


class Losses(NamedTuple):
    """Of one history: how many writes were acknowledged, and those that the last reads lack."""

    acknowledged: int
    lost: tuple[Operation, ...]


def find_losses(operations: Sequence[Operation], model: str) -> Losses | None:
    """None where reads do not tell, or nobody read an object after writing it."""
    word = WRITES.get(model)
    if word is None:
        return None
    last_reads: dict[Any, Operation] = {}
    writes: list[Operation] = []
    for each in operations:
        if not each.is_ok:
            continue
        if each.f == word:
            writes.append(each)
        elif word != PUBLISH or each.value == ALL:
            key = freeze(each.key)
            if key not in last_reads or each.begin > last_reads[key].begin:
                last_reads[key] = each
    if word == PUBLISH and not last_reads:
        return None  # a queue of another sort
    rows = {key: read.result or [] for key, read in last_reads.items()}
    if word == PUBLISH:
        rows = {key: [row[-1] for row in each] for key, each in rows.items()}
    shown = {key: {freeze(one) for one in each} for key, each in rows.items()}
    lost = []
    for write in writes:
        key = freeze(write.key)
        if key not in last_reads or write.end > last_reads[key].begin:
            return None
        if freeze(write.value) not in shown[key]:
            lost.append(write)
    return Losses(len(writes), tuple(lost))
