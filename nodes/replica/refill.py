"""A replica whose state cannot follow its log says why, and takes a peer's state instead.

Its log is as good as any, so the group goes on with it. Until a peer's snapshot that reaches behind
the record is in place, nobody may look at the state.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Final, Protocol

from nodes.base import Context
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.parts.timing import take_steps
from nodes.replica.event_words import STATE_STOPPED
from nodes.replica.files import ReplicaFiles
from nodes.replica.snapshot_files import Receiving
from nodes.replica.state_machine import StateMachine, restore_in_steps
from nodes.wire.client import Client
from nodes.wire.service import Call
from protocols.errors import RpcError
from protocols.replication.log import CorruptFile
from protocols.replication.replica import WITNESS, Replica

SNAPSHOT_AFTER: Final = "snapshot_after"
PIECE_BYTES: Final = 256 << 10
PAUSE_S: Final = 0.5
STEP_PAUSE_S: Final = 0.005
TIMEOUT_S: Final = 5.0


class Driver(Protocol):
    """Whose state it is (driver.ReplicaDriver)."""

    ctx: Context
    machine: StateMachine
    core: Replica
    files: ReplicaFiles
    times_replaced: int

    def peer(self, name: str) -> Client: ...
    def replace_state(self, become: Callable[[], None], lsn: int) -> None: ...
    def want_snapshot(self, lsn: int) -> None: ...
    def follow_again(self) -> None: ...


class Refill:
    """One replica's: run it beside its driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._wanted = AutoResetEvent()
        self._lsn = 0
        self.problem = ""
        """Why the state stopped; "" while it follows."""

    def begin(self, lsn: int, error: Exception) -> None:
        """The record at `lsn` does not apply here."""
        self._lsn = lsn
        self.problem = f"record {lsn} does not apply to the state here ({error})"
        self._driver.ctx.log.error(STATE_STOPPED, lsn=lsn, why=str(error))
        self._wanted.set()

    def replaced(self) -> None:
        """The state is another, whoever did that."""
        self.problem = ""

    def check(self) -> None:
        """Raises RpcError while nobody may look at the state."""
        if self.problem:
            raise RpcError("unavailable", f"{self.problem}: it waits for a peer's snapshot")

    async def run(self) -> None:
        """Refill what has stopped, until cancelled."""
        driver = self._driver
        while True:
            await self._wanted.wait()
            while self.problem and not await self._try_peers():
                await driver.ctx.clock.sleep(PAUSE_S)
            await driver.files.snapshots.sweep()

    async def _try_peers(self) -> bool:
        core = self._driver.core
        for name, role in list(core.members.items()):
            if name != core.name and role != WITNESS:
                try:
                    if await self._take_from(name):
                        return True
                except RpcError:
                    pass  # it is away, or has none yet: another, or later
        return False

    async def _take_from(self, name: str) -> bool:
        """Whether the state is that of a peer's snapshot now. Raises RpcError."""
        driver, snapshots = self._driver, self._driver.files.snapshots
        receiving = snapshots.receive()
        try:
            lsn = await self._receive_from(name, receiving)
            if lsn is None or not receiving.is_whole:
                return False
            times = driver.times_replaced
            steps = restore_in_steps(driver.machine, receiving.state(), receiving.parts)
            become = await take_steps(driver.ctx.clock, steps, STEP_PAUSE_S)
            storage = driver.core.storage
            is_kept = storage.first_lsn - 1 <= lsn <= storage.last_lsn
            if times != driver.times_replaced or not is_kept:
                return False
            driver.replace_state(become, lsn)
        except CorruptFile as error:
            driver.ctx.log.warning("snapshot lost", why=str(error))
            return False
        finally:
            snapshots.end(receiving)
        driver.ctx.log.info("state refilled", lsn=lsn, peer=name)
        driver.want_snapshot(lsn)  # else another life would meet the record again
        driver.follow_again()
        return True

    async def _receive_from(self, name: str, receiving: Receiving) -> int | None:
        """The LSN of the snapshot that it has given; None if it had none."""
        driver, lsn, offset = self._driver, 0, 0
        while True:
            answer = await driver.peer(name).call(
                SNAPSHOT_AFTER, self._lsn, lsn, offset, timeout_s=TIMEOUT_S
            )
            if answer is None:
                return None
            lsn, size_bytes, piece = answer
            try:
                receiving.add(piece)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return None
            offset += len(piece)
            if offset >= size_bytes:
                return int(lsn)

    async def serve(self, call: Call, after_lsn: int, lsn: int, offset: int) -> Any:
        """A piece of a snapshot of ours that reaches so far: `[lsn, size, bytes]`; nil if there is
        none yet, or another than the one at `lsn`."""
        snapshots = self._driver.files.snapshots
        if not snapshots.lsn or snapshots.lsn < after_lsn:
            self._driver.want_snapshot(after_lsn)
            return None
        if lsn and lsn != snapshots.lsn:
            return None
        lsn = snapshots.lsn
        piece = await snapshots.read_sent(lsn, offset, PIECE_BYTES)
        return None if piece is None else [lsn, snapshots.sent_bytes, piece]
