"""What a replica gives to whoever makes a backup of its group: its snapshot and its log, piece by
piece, while writes go on.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from nodes.base import Context
from nodes.replica.files import ReplicaFiles
from nodes.replica.lag import LagClock
from nodes.replica.reading import AHEAD_BYTES
from nodes.replica.recovery import STATE
from nodes.replica.segments import PREFIX
from nodes.replica.snapshot_files import SNAPSHOT
from nodes.replica.state_machine import KeepsFiles, SharesOut, StateMachine
from nodes.wire.admin import Admin
from nodes.wire.service import Call
from protocols.errors import RpcError
from protocols.replication.backup import GroupAbout, Names
from protocols.replication.log import Entry, encode_batch
from protocols.replication.log_memory import MemoryLog
from protocols.replication.replica import Replica

BACKUP: Final = "backup"
"""`[]` → a GroupAbout: of the primary."""
BACKUP_SNAPSHOT: Final = "backup_snapshot"
"""`[lsn, offset]` → bytes of the snapshot of that LSN."""
BACKUP_LOG: Final = "backup_log"
"""`[from_lsn, to_lsn]` → the first of those records, as bytes of a log."""
ARRANGEMENT: Final = "backup_arrangement"
"""`[]` → [version, what is being changed]: of who says which group has what (SharesOut); of others
[0, ""]."""
TIMES: Final = "backup_times"
"""`[lsn]` → [[how long ago in seconds, the last record that was there then], ...], up to that."""
PIECE_BYTES: Final = 1 << 20
NAMES: Final = Names(STATE, SNAPSHOT, PREFIX)


class Driver(Protocol):
    """Whose group it is (driver.ReplicaDriver)."""

    ctx: Context
    core: Replica
    machine: StateMachine
    files: ReplicaFiles
    storage: MemoryLog
    lag: LagClock

    def check_can_read(self) -> None: ...
    async def records(self, from_lsn: int, to_lsn: int, max_bytes: int = AHEAD_BYTES) -> Any: ...


class BackupSource:
    """One replica's."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def add_methods(self, admin: Admin) -> None:
        admin.add(BACKUP, self._about)
        admin.add(BACKUP_SNAPSHOT, self._snapshot)
        admin.add(BACKUP_LOG, self._log)
        admin.add(ARRANGEMENT, self._arrangement)
        admin.add(TIMES, self._times)

    def _about(self, call: Call) -> list[Any]:
        """What is committed now. Raises RpcError: not_primary; unavailable, where it cannot know:
        its epoch has not begun, or its lease is over."""
        driver, core = self._driver, self._driver.core
        driver.check_can_read()
        prefix = driver.machine.file_prefix if isinstance(driver.machine, KeepsFiles) else ""
        lsn, members = min(core.visible_lsn, driver.storage.last_lsn), tuple(core.members)
        ours = driver.files.snapshots.current
        snapshot = ours.snapshot if ours is not None else None
        about = GroupAbout(lsn, core.epoch, core.founding, members, prefix, snapshot)
        return about.to_wire()

    def _arrangement(self, call: Call) -> list[Any]:
        """Raises RpcError as `_about` does."""
        self._driver.check_can_read()
        machine = self._driver.machine
        return list(machine.arrangement if isinstance(machine, SharesOut) else (0, ""))

    def _times(self, call: Call, lsn: int) -> list[tuple[float, int]]:
        return self._driver.lag.marks_until(lsn, self._driver.ctx.clock.monotonic_s())

    async def _snapshot(self, call: Call, lsn: int, offset: int) -> bytes:
        """Raises RpcError: refused, when there is another one by now."""
        found = await self._driver.files.snapshots.read_sent(lsn, offset, PIECE_BYTES)
        if found is None:
            raise RpcError("refused", f"the snapshot at LSN {lsn} is no more: begin again")
        return found

    async def _log(self, call: Call, from_lsn: int, to_lsn: int) -> bytes:
        """Raises RpcError: refused, where they are not kept any more."""
        entries: list[Entry] = list(await self._driver.records(from_lsn, to_lsn, PIECE_BYTES))
        if not entries:
            raise RpcError("refused", f"record {from_lsn} is not kept any more: begin again")
        return encode_batch(entries)
