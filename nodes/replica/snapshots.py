"""A replica's snapshots of its own: when the log is long, so that it can be shortened.

A snapshot that came from a peer is install.py's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import Final, Protocol

from nodes.base import Context
from nodes.replica.files import ReplicaFiles
from nodes.replica.state_machine import StateMachine, dump_in_steps
from protocols.replication.pieces import Content
from protocols.replication.replica import DATA, Replica, Snapshot

LOOK_S: Final = 1.0
SETTLE_LOOKS: Final = 100
SETTLE_LOOK_S: Final = 0.05
STEP_PAUSE_S: Final = 0.01
"""Between the steps of a dump: what the state serves comes first."""


class Driver(Protocol):
    """Whose state is dumped, and whose log shortened (driver.ReplicaDriver)."""

    ctx: Context
    machine: StateMachine
    core: Replica
    files: ReplicaFiles
    state_lsn: int
    times_replaced: int

    @property
    def held(self) -> bool: ...
    @property
    def is_cut(self) -> bool: ...
    @property
    def is_installing(self) -> bool: ...
    def hold(self) -> AbstractContextManager[None]: ...


class Snapshots:
    """One replica's: run it beside its driver."""

    def __init__(self, driver: Driver, every_bytes: int) -> None:
        self._driver = driver
        self._every_bytes = every_bytes
        self._wanted_lsn = 0

    def want(self, lsn: int) -> None:
        """Somebody needs one that reaches so far, however short the log is."""
        self._wanted_lsn = max(self._wanted_lsn, lsn)

    async def run(self) -> None:
        """When the log is long: snapshot what is committed, and drop what nobody needs."""
        driver = self._driver
        while True:
            await driver.ctx.clock.sleep(LOOK_S)
            if not (driver.held or driver.is_installing) and self._is_due():
                await self._take()

    def _is_due(self) -> bool:
        """Not for less log than the state is long: a large state would be written all the time."""
        last = self._driver.core.storage.snapshot
        if (last.lsn if last is not None else 0) < self._wanted_lsn <= self._driver.state_lsn:
            return True
        if last is None:
            return self._driver.files.size_bytes > self._every_bytes
        due_bytes = max(self._every_bytes, len(last.data))
        return self._driver.files.bytes_after(last.lsn) > due_bytes

    async def _take(self) -> None:
        driver, core = self._driver, self._driver.core
        before = core.storage.snapshot.lsn if core.storage.snapshot is not None else 0
        data, lsn, epoch = await self._dump()
        if data is None or lsn <= before or not epoch or core.storage.epoch_at(lsn) != epoch:
            return
        made = core.snapshot_of(lsn, data)
        for _ in range(SETTLE_LOOKS):
            if core.is_settled(made):
                break
            await driver.ctx.clock.sleep(SETTLE_LOOK_S)
        if not core.is_settled(made) or driver.held:
            return
        saved = await driver.files.save_snapshot(made, lambda: self._is_newest(made))
        if saved and self._is_newest(made) and not driver.held and not driver.files.lacks_room:
            await self._compact(made)

    async def _dump(self) -> tuple[Content | None, int, int]:
        """A state, its LSN and that record's epoch (0: it held records that had been cut); None if
        it was replaced meanwhile."""
        driver, storage = self._driver, self._driver.core.storage
        lsn, epoch, times = driver.state_lsn, 0, driver.times_replaced

        def applied() -> list[bytes]:
            nonlocal lsn, epoch
            before, lsn = lsn, driver.state_lsn
            epoch = 0 if driver.is_cut else storage.epoch_at(lsn) or 0
            entries = storage.entries(before + 1, lsn, 1 << 62)
            return [payload for _, _, kind, payload in entries if kind == DATA]

        with closing(dump_in_steps(driver.machine, applied)) as steps:
            while driver.times_replaced == times:
                try:
                    next(steps)
                except StopIteration as ended:
                    return ended.value, lsn, epoch
                await driver.ctx.clock.sleep(STEP_PAUSE_S)
        return None, lsn, epoch

    def _is_newest(self, made: Snapshot) -> bool:
        """Whether no peer's snapshot takes, or took, the place of this one."""
        last = self._driver.core.storage.snapshot
        return not self._driver.is_installing and (last is None or last.lsn < made.lsn)

    async def _compact(self, made: Snapshot) -> None:
        """Drop what nobody needs; what is appended at the very end of it waits."""
        driver = self._driver
        first_lsn = driver.core.compact(made)
        copy = await driver.files.copy_log(driver.core.storage, first_lsn)
        if copy is not None and not driver.held:
            with driver.hold():
                await driver.files.replace_log(copy, driver.core.storage)
        driver.ctx.log.info("snapshot taken", lsn=made.lsn, log_from_lsn=first_lsn)
