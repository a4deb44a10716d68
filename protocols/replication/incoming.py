"""A snapshot on its way here, chunk by chunk, and then while the driver puts it in place."""

from __future__ import annotations

from protocols.replication.messages import SnapshotChunk
from protocols.replication.pieces import Pieces
from protocols.replication.storage import Snapshot


class Incoming:
    """At most one snapshot: another one's first chunk takes the place of what came before."""

    __slots__ = ("_data", "_of", "installing")

    def __init__(self) -> None:
        self._of: tuple[int, int] | None = None
        self._data = Pieces()
        self.installing: Snapshot | None = None
        """All of it is here; the driver says when it is in place."""

    def take(self, chunk: SnapshotChunk) -> Snapshot | None:
        """Keep the chunk, if it is the next one; the snapshot, once it is whole."""
        of = (chunk.lsn, chunk.lsn_epoch)
        if chunk.offset == 0 and self._of != of:
            self._of, self._data = of, Pieces()
        if self._of != of:
            return None
        if chunk.offset == len(self._data):
            self._data.append(chunk.data)
        if len(self._data) < chunk.total_bytes:
            return None
        self.installing = Snapshot(*of, chunk.members, chunk.epochs, self._data)
        self._of, self._data = None, Pieces()
        return self.installing

    def received_bytes(self, chunk: SnapshotChunk) -> int:
        """How much of the chunk's snapshot is here."""
        return len(self._data) if self._of == (chunk.lsn, chunk.lsn_epoch) else 0
