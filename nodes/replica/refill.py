"""A replica whose state cannot follow its log says why, and takes a peer's state instead.

Its log is as good as any, so the group goes on with it. Until a peer's snapshot that reaches behind
the record is in place, nobody may look at the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from nodes.base import Context
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.parts.timing import take_steps
from nodes.replica.state_machine import StateMachine, restore_in_steps
from nodes.wire.client import Client
from nodes.wire.service import Call
from protocols.errors import RpcError
from protocols.replication.pieces import Pieces
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
        self._driver.ctx.log.error("state stopped", lsn=lsn, why=str(error))
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
        driver, data, lsn = self._driver, Pieces(), 0
        while True:
            answer = await driver.peer(name).call(
                SNAPSHOT_AFTER, self._lsn, lsn, len(data), timeout_s=TIMEOUT_S
            )
            if answer is None:
                return False
            lsn, size_bytes, piece = answer
            data.append(piece)
            if len(data) >= size_bytes:
                break
        times = driver.times_replaced
        steps = restore_in_steps(driver.machine, data)
        become = await take_steps(driver.ctx.clock, steps, STEP_PAUSE_S)
        storage = driver.core.storage
        if times != driver.times_replaced or not storage.first_lsn - 1 <= lsn <= storage.last_lsn:
            return False
        driver.replace_state(become, lsn)
        driver.ctx.log.info("state refilled", lsn=lsn, peer=name)
        driver.want_snapshot(lsn)  # else another life would meet the record again
        driver.follow_again()
        return True

    def serve(self, call: Call, after_lsn: int, lsn: int, offset: int) -> Any:
        """A piece of a snapshot of ours that reaches so far: `[lsn, size, bytes]`; nil if there is
        none yet, or another than the one at `lsn`."""
        snapshot = self._driver.core.storage.snapshot
        if snapshot is None or snapshot.lsn < after_lsn:
            self._driver.want_snapshot(after_lsn)
            return None
        if lsn and lsn != snapshot.lsn:
            return None
        piece = bytes(snapshot.data[offset : offset + PIECE_BYTES])
        return [snapshot.lsn, len(snapshot.data), piece]
