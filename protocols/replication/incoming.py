"""A snapshot on its way here, chunk by chunk, and then while the driver puts it in place.

How much of it is here is counted; the chunks themselves are the driver's to keep.
"""

from __future__ import annotations

from protocols.replication.messages import SnapshotChunk
from protocols.replication.storage import Snapshot


class Incoming:
    """At most one snapshot: another one's first chunk takes the place of what came before."""

    __slots__ = ("_of", "_received_bytes", "installing")

    def __init__(self) -> None:
        self._of: tuple[int, int] | None = None
        self._received_bytes = 0
        self.installing: Snapshot | None = None
        """All of it is here; the driver says when it is in place."""

    def take(self, chunk: SnapshotChunk) -> bool:
        """Whether it is the next one, and to be kept; `installing` is set once it was the last."""
        of = (chunk.lsn, chunk.lsn_epoch)
        if chunk.offset == 0 and self._of != of:
            self._of, self._received_bytes = of, 0
        if self._of != of or chunk.offset != self._received_bytes:
            return False
        self._received_bytes += len(chunk.data)
        if self._received_bytes >= chunk.total_bytes:
            self._of = None
            self.installing = Snapshot(*of, chunk.members, chunk.epochs, chunk.total_bytes)
        return True

    def lose(self) -> None:
        """What was received is gone."""
        self._of = self.installing = None

    def received_bytes(self, chunk: SnapshotChunk) -> int:
        """How much of the chunk's snapshot is here."""
        return self._received_bytes if self._of == (chunk.lsn, chunk.lsn_epoch) else 0
