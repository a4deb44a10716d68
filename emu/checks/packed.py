"""Operations of a long run that nobody looks at before its end: as they were, in a tenth of the
memory or less."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Sequence
from typing import Any, Final

from emu.checks.history import Operation

LEAST: Final = 200
"""Fewer are not worth it."""
CHUNK: Final = 500
"""So many take a millisecond or two."""
FIELDS: Final = (
    "process", "f", "value", "key", "model", "begin", "end", "invoked_s", "completed",
    "completed_s", "outcome", "result", "reason",
)  # fmt: skip


class Packed:
    """Some operations on one object."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.count = 0

    def add(self, operations: Sequence[Operation]) -> None:
        """They have ended."""
        rows = [tuple(getattr(each, name) for name in FIELDS) for each in operations]
        self._chunks.append(zlib.compress(pickle.dumps(rows), 1))
        self.count += len(operations)

    def operations(self) -> list[Operation]:
        """Equal ones to those that were added, in the order of their invocations."""
        found = [
            _operation(row)
            for chunk in self._chunks
            for row in pickle.loads(zlib.decompress(chunk))
        ]
        return sorted(found, key=lambda each: each.begin)


def _operation(row: Sequence[Any]) -> Operation:
    operation = Operation(row[0], row[1])
    for name, value in zip(FIELDS, row, strict=True):
        setattr(operation, name, value)
    return operation
