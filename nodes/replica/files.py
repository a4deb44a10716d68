"""A replica's files on the node's disk: state, log, snapshots, and what was set aside for people.

What is written when is the driver's business (driver.py); here is how it is written so that a
power cut, a full disk or a flipped bit does no harm. The log's files are segments.py's, snapshots
are snapshot_files.py's, and what is found at the start is recovery.py's.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from nodes.base import Context, Syncing
from nodes.parts.timing import move_on_after
from nodes.replica import reach
from nodes.replica.recovery import STATE, Recovered, Recovery
from nodes.replica.segments import READ_BYTES, SEGMENT_BYTES, Segments
from nodes.replica.snapshot_files import Receiving, SnapshotFiles
from nodes.replica.state_machine import StateMachine
from protocols.replication.log import Entry
from protocols.replication.messages import Members
from protocols.replication.replica import DATA, Diverged, HardState, Snapshot

ROOM_PAUSE_S: Final = 0.2
DIVERGENT: Final = "divergent-"
"""What the names of files begin with that have records which were cut: a line of JSON each."""
TIGHT_BYTES: Final = 1 << 20


class ReplicaFiles:
    """All of a replica's files, and what of the log is not in them yet."""

    def __init__(
        self, ctx: Context, name: str, machine: StateMachine, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.ctx = ctx
        self.log = Segments(ctx, segment_bytes)
        self.snapshots = SnapshotFiles(ctx, machine)
        self.written_mark = 0
        """The mark of the last Ready whose records are all in the log's files."""
        self.sync_interval_s = 0.0
        """Above 0: data is synced once in so long, not as soon as it is written."""
        self._syncing: tuple[list[Syncing], int, int] | None = None
        """What is under way, the mark that it covers, and what had been written to the log."""
        self._urgent = trio.Event()
        """A record was written that is no data: an election, or who is a member, waits for it."""
        self._name = name
        self._machine = machine
        self._unwritten: list[Entry] = []
        """Records that found the disk full, in order, and the mark of the last of them."""
        self._unwritten_mark = 0

    async def recover(self, founders: Members) -> Recovered:
        """Read what is there, and mend what may be mended. Raises CorruptLog."""
        return await Recovery(self, self._name, founders).run()

    # --- the log -----------------------------------------------------------------------------

    @property
    def lacks_room(self) -> bool:
        """Whether records wait in memory because the disk is full."""
        return bool(self._unwritten)

    @property
    def is_tight(self) -> bool:
        """Whether there is little room left on the disk."""
        try:
            self.check_room(TIGHT_BYTES)
        except OSError as error:
            return error.errno == errno.ENOSPC
        return False

    def check_room(self, size_bytes: int) -> None:
        """Raises OSError if the log could not grow by so much just now."""
        if self._unwritten:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.ctx.disk.check_room(size_bytes)

    def append(self, entries: Sequence[Entry], synced_lsn: int, mark: int) -> bool:
        """Write records, or keep them in memory while the disk is full (False): see `retry`.

        Raises OSError for any other failure.
        """
        if self._unwritten:
            self._unwritten += entries
            self._unwritten_mark = mark
            return False
        try:
            self._write(entries, synced_lsn)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._unwritten, self._unwritten_mark = list(entries), mark
            self.ctx.reached(reach.FULL)
            self.ctx.log.warning("disk full: records wait", from_lsn=entries[0][1])
            return False
        self.written_mark = mark
        return True

    def retry(self, synced_lsn: int) -> bool:
        """Write what waits; False while there is still no room."""
        if self._unwritten:
            try:
                self._write(self._unwritten, synced_lsn)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return False
            self.ctx.log.info("disk has room again", records=len(self._unwritten))
            self._unwritten = []
            self.written_mark = self._unwritten_mark
        return True

    def _write(self, entries: Sequence[Entry], synced_lsn: int) -> None:
        self.log.append(entries, synced_lsn)
        if any(kind != DATA for _, _, kind, _ in entries):
            self._urgent.set()

    async def sync_is_due(self) -> None:
        """Return when what is written should be synced."""
        if self.sync_interval_s:
            with move_on_after(self.ctx.clock, self.sync_interval_s):
                await self._urgent.wait()
            self._urgent = trio.Event()

    def begin_sync(self) -> None:
        """Start what `sync` waits for, unless it is under way, or is to come later."""
        if self._syncing is None and not self.sync_interval_s:
            self._start_sync()

    def _start_sync(self) -> None:
        self._syncing = self.log.begin_sync(), self.written_mark, self.log.written_bytes

    async def sync(self, synced: Callable[[int, int], object]) -> None:
        """Return when what was written as it began is durable, having called `synced` with the mark
        of that, and how many bytes had been written by then: perhaps before this task is woken
        (nodes.base.Syncing). Raises OSError."""
        if self._syncing is None:
            self._start_sync()
        assert self._syncing is not None
        syncing, mark, written_bytes = self._syncing
        task = trio.lowlevel.current_task()

        def done() -> None:
            self._syncing = None
            if mark != self.written_mark and trio.lowlevel.current_task() is not task:
                self.begin_sync()  # the disk need not wait for our task
            synced(mark, written_bytes)

        if not syncing:
            await trio.lowlevel.checkpoint()
            done()
        for each in syncing:
            await each.wait(done if each is syncing[-1] else None)

    async def cut(self, lsn: int) -> None:
        """Forget the records from `lsn` on; durable when it returns."""
        self._unwritten = [entry for entry in self._unwritten if entry[1] < lsn]
        if await self.log.cut(lsn):
            self.ctx.log.info("log cut", from_lsn=lsn)

    async def install(self, received: Receiving, snapshot: Snapshot) -> None:
        """A peer's snapshot, which is complete, takes the place of snapshot and log."""
        await self.snapshots.install(received, snapshot)
        self._unwritten = []
        await self.log.clear()

    # --- whole files -------------------------------------------------------------------------

    async def save_state(self, state: HardState) -> None:
        await self.when_there_is_room(lambda: self.replace(STATE, state.encode()))

    async def replace(self, name: str, data: bytes) -> None:
        """Atomically and durably."""
        aside = await self._begin_aside(name)
        self.ctx.disk.append(aside, data)
        await self._put_in_place(aside, name)

    async def _begin_aside(self, name: str) -> str:
        """Where to write what shall be called so: what an earlier attempt left there is gone."""
        disk, aside = self.ctx.disk, f"{name}.new"
        if aside in disk.names():
            await disk.remove(aside)
        return aside

    async def _put_in_place(self, aside: str, name: str) -> None:
        await self.ctx.disk.sync(aside)
        await self.ctx.disk.rename(aside, name)

    async def when_there_is_room(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do it, again and again while the disk is full: what follows depends on it."""
        told = False
        while True:
            try:
                await action()
                return
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            if not told:
                self.ctx.log.warning("disk full: waiting")
                told = True
            await self.ctx.clock.sleep(ROOM_PAUSE_S)

    async def save_divergent(self, event: Diverged, epoch: int) -> str:
        """Before they are cut: our records that the group does not have, readable. The file's
        name."""
        name = f"{DIVERGENT}{epoch}-{event.from_lsn}.jsonl"

        async def save() -> None:
            disk, aside = self.ctx.disk, await self._begin_aside(name)
            lsn, in_memory_lsn = event.from_lsn, event.last_lsn + 1 - len(event.records)
            disk.append(aside, b"")
            while lsn < in_memory_lsn:
                found = await self.log.read(lsn, READ_BYTES)
                disk.append(aside, self._in_words(found[: in_memory_lsn - lsn]))
                lsn = found[-1][1] + 1
            disk.append(aside, self._in_words(event.records))
            await self._put_in_place(aside, name)

        await self.when_there_is_room(save)
        return name

    def _in_words(self, entries: Sequence[Entry]) -> bytes:
        lines = []
        for epoch, lsn, kind, payload in entries:
            line: dict[str, Any] = {"epoch": epoch, "lsn": lsn, "record": None}
            if kind == DATA:
                line["record"] = self._machine.describe(payload)
                line["data"] = payload.hex()
            lines.append(json.dumps(line, default=repr) + "\n")
        return "".join(lines).encode()
