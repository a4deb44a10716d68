"""What is read back from a replica's files for its peers: old records, and its snapshot.

It is read in the background, and in the order in which it was wanted; the core has said how much
may be on its way, so that bounds it here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from nodes.base import Context
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.replica import reach
from nodes.replica.files import ReplicaFiles
from protocols.replication.log import Entry
from protocols.replication.log_memory import MemoryLog
from protocols.replication.messages import Message, SnapshotChunk
from protocols.replication.replica import Ready, Replica

AHEAD_BYTES: Final = 1 << 20
"""Read at once for a peer that follows from afar: several messages' worth."""
GONE_S: Final = 0.01


class Driver(Protocol):
    """For whom it is read (driver.ReplicaDriver)."""

    ctx: Context
    core: Replica
    files: ReplicaFiles
    storage: MemoryLog

    def send(self, message: Message) -> None: ...
    def pump(self) -> None: ...


class Reader:
    """One replica's: run it beside its driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._wanted = AutoResetEvent()
        self._records: deque[int] = deque()
        self._chunks: deque[tuple[SnapshotChunk, int]] = deque()

    def want(self, ready: Ready) -> None:
        """What a Ready asks for."""
        self._records += ready.reads
        self._chunks += ready.chunks
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wanted.wait()
            while self._records or self._chunks:
                if self._records:
                    await self._read_records(self._records.popleft())
                if self._chunks:
                    await self._send_chunk(*self._chunks.popleft())

    async def _read_records(self, lsn: int) -> None:
        driver = self._driver
        driver.ctx.reached(reach.READ_BACK)
        entries = await driver.files.log.read(lsn, AHEAD_BYTES)
        if not entries:
            await driver.ctx.clock.sleep(GONE_S)
        driver.core.fetched(lsn, entries, driver.ctx.clock.monotonic_s())
        driver.pump()

    async def _send_chunk(self, chunk: SnapshotChunk, size_bytes: int) -> None:
        driver = self._driver
        data = await driver.files.snapshots.read_sent(chunk.lsn, chunk.offset, size_bytes)
        if data is not None:  # else it asks again, for the next one
            driver.send(chunk._replace(data=data))

    async def have_at_hand(self, lsn: int) -> None:
        """Bring the records from `lsn` on into memory, for whoever looks next."""
        driver = self._driver
        entries = await driver.files.log.read(lsn, AHEAD_BYTES)
        if not entries:
            await driver.ctx.clock.sleep(GONE_S)
        driver.storage.hold(entries)

    async def records(
        self, from_lsn: int, to_lsn: int, max_bytes: int = AHEAD_BYTES
    ) -> Sequence[Entry]:
        """Records from..to inclusive, as far as they are kept: at least one of them if any is, cut
        so that they fit `max_bytes`."""
        storage = self._driver.storage
        while storage.first_lsn <= from_lsn <= min(to_lsn, storage.last_lsn):
            found = storage.entries(from_lsn, to_lsn, max_bytes)
            if found:
                return found
            await self.have_at_hand(from_lsn)
        return ()
