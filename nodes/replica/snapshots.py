"""A replica's snapshots of its own: when the log is long, so that it can be shortened.

A snapshot that came from a peer is install.py's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final, Protocol

from nodes.base import Context
from nodes.replica import reach
from nodes.replica.files import ReplicaFiles
from nodes.replica.state_machine import KeepsFiles, StateMachine, dump_in_steps
from protocols.replication.log_memory import MemoryLog
from protocols.replication.pieces import Content
from protocols.replication.replica import DATA, Replica, Snapshot
from protocols.replication.snapshot_file import StateFile

LOOK_S: Final = 1.0
SETTLE_LOOKS: Final = 100
SETTLE_LOOK_S: Final = 0.05
STEP_PAUSE_S: Final = 0.01
"""Between the steps of a dump: what the state serves comes first."""


LEAST_DUE_BYTES: Final = 1000
"""Of log, for a snapshot on a disk that is nearly full."""


class Driver(Protocol):
    """Whose state is dumped, and whose log shortened (driver.ReplicaDriver)."""

    ctx: Context
    machine: StateMachine
    core: Replica
    files: ReplicaFiles
    storage: MemoryLog
    state_lsn: int
    times_replaced: int

    @property
    def held(self) -> bool: ...
    @property
    def is_cut(self) -> bool: ...
    @property
    def is_installing(self) -> bool: ...


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
                driver.files.snapshots.dumped = ()

    def _is_due(self) -> bool:
        """Not for less log than the state is long: a large state would be written all the time."""
        driver = self._driver
        last = driver.storage.snapshot
        last_lsn = last.lsn if last is not None else 0
        if last_lsn < self._wanted_lsn <= driver.state_lsn:
            return True
        after_bytes = driver.storage.bytes_after(last_lsn)
        in_files = isinstance(driver.machine, KeepsFiles) and after_bytes >= LEAST_DUE_BYTES
        if in_files and driver.files.is_tight:
            return True  # it costs little, and lets files go that only the last one has
        due_bytes = max(self._every_bytes, driver.files.snapshots.state_bytes)
        return after_bytes > due_bytes

    async def _take(self) -> None:
        driver, core = self._driver, self._driver.core
        before = core.storage.snapshot.lsn if core.storage.snapshot is not None else 0
        try:
            data, files, lsn, epoch = await self._dump()
        except OSError as error:  # a state that lies in files may have to write them first
            if error.errno != errno.ENOSPC:
                raise
            driver.files.snapshots.full()
            return
        if data is None or lsn <= before or not epoch or core.storage.epoch_at(lsn) != epoch:
            return
        made = core.snapshot_of(lsn)
        for _ in range(SETTLE_LOOKS):
            if core.is_settled(made):
                break
            await driver.ctx.clock.sleep(SETTLE_LOOK_S)
        if not core.is_settled(made) or driver.held:
            return
        saved = await driver.files.snapshots.save(made, data, files, lambda: self._is_newest(made))
        if saved is not None:
            first_lsn = core.compact(saved)
            await driver.files.log.drop_before(first_lsn)
            driver.ctx.reached(reach.OWN_SNAPSHOT)
            driver.ctx.log.info("snapshot taken", lsn=saved.lsn, log_from_lsn=first_lsn)

    async def _dump(self) -> tuple[Content | None, Sequence[StateFile], int, int]:
        """A state, the files beside it, its LSN and that record's epoch (0: it held records that
        had been cut); None if it was replaced meanwhile, or went on too fast."""
        driver, storage = self._driver, self._driver.storage
        lsn, epoch, times = driver.state_lsn, 0, driver.times_replaced

        def applied() -> Iterator[bytes]:
            nonlocal lsn, epoch
            before, lsn = lsn, driver.state_lsn
            epoch = 0 if driver.is_cut else storage.epoch_at(lsn) or 0
            if lsn > before:
                driver.ctx.reached(reach.WRITTEN_TO)
            return _payloads(storage, before + 1, lsn)

        with closing(dump_in_steps(driver.machine, applied)) as steps:
            while driver.times_replaced == times:
                try:
                    next(steps)
                except StopIteration as ended:
                    files = driver.files.snapshots.dumped = _files_of(driver.machine)
                    return ended.value, files, lsn, epoch
                except _TooFast:
                    break
                await driver.ctx.clock.sleep(STEP_PAUSE_S)
        return None, (), lsn, epoch

    def _is_newest(self, made: Snapshot) -> bool:
        """Whether no peer's snapshot takes, or took, the place of this one, and nobody is just
        restoring the last."""
        driver, last = self._driver, self._driver.storage.snapshot
        is_free = not (driver.is_installing or driver.held)
        return is_free and (last is None or last.lsn < made.lsn)


class _TooFast(Exception):
    """What was applied since the last look is not in memory any more."""


def _payloads(storage: MemoryLog, from_lsn: int, to_lsn: int) -> Iterator[bytes]:
    while from_lsn <= to_lsn:
        entries = storage.entries(from_lsn, to_lsn)
        if not entries:
            raise _TooFast
        yield from [payload for _, _, kind, payload in entries if kind == DATA]
        from_lsn = entries[-1][1] + 1


def _files_of(machine: StateMachine) -> Sequence[StateFile]:
    return machine.dumped_files() if isinstance(machine, KeepsFiles) else ()
