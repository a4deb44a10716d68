"""A snapshot that a peer sends takes the place of a replica's state and log.

It is written beside them as it comes, and loaded in steps, while this replica goes on confirming
that it is there and answering from what it has; only the change-over holds back what follows.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, Protocol

from nodes.base import Context
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.parts.timing import take_steps
from nodes.replica.event_words import FILLED
from nodes.replica.files import ReplicaFiles
from nodes.replica.snapshot_files import Receiving
from nodes.replica.state_machine import StateMachine, restore_in_steps
from protocols.replication.log import CorruptFile
from protocols.replication.messages import SnapshotChunk
from protocols.replication.replica import Replica, Snapshot

STEP_PAUSE_S: Final = 0.005


class Driver(Protocol):
    """Whose state and log are replaced (driver.ReplicaDriver)."""

    ctx: Context
    machine: StateMachine
    core: Replica
    files: ReplicaFiles

    def pump_soon(self) -> None: ...
    def replace_state(self, become: Callable[[], None], lsn: int) -> None: ...


class Installer:
    """One replica's: run it beside its driver, which calls `finish` once `is_prepared`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._wanted = AutoResetEvent()
        self._receiving: Receiving | None = None
        self._has_litter = False
        """Files are there of something that will not be installed."""
        self._snapshot: Snapshot | None = None
        self._become: Callable[[], None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether state and log are about to be replaced."""
        return self._snapshot is not None

    @property
    def is_prepared(self) -> bool:
        return self._become is not None

    def take(self, chunk: SnapshotChunk) -> None:
        """Write down what follows; a chunk of offset 0 begins another one. While the disk is full
        it is lost, and sent again."""
        if chunk.offset == 0:
            self._abandon()
            self._receiving = self._driver.files.snapshots.receive()
        if self._receiving is None:
            return
        try:
            self._receiving.add(chunk.data)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._lose("the disk is full")
        self._wanted.set()

    def begin(self, snapshot: Snapshot) -> None:
        """All of it has been taken."""
        if self._receiving is not None:
            self._snapshot = snapshot
            self._wanted.set()

    def _abandon(self) -> None:
        if self._receiving is not None:
            self._driver.files.snapshots.end(self._receiving)
            self._receiving, self._has_litter = None, True

    def _lose(self, why: str) -> None:
        self._driver.ctx.log.warning("snapshot lost", why=why)
        self._abandon()
        self._snapshot = None
        self._driver.core.snapshot_lost()

    async def run(self) -> None:
        """Sync what comes, prepare each snapshot, then have the driver finish it."""
        driver = self._driver
        while True:
            await self._wanted.wait()
            if self._has_litter:
                self._has_litter = False
                await driver.files.snapshots.sweep()
            receiving, snapshot = self._receiving, self._snapshot
            if receiving is not None and snapshot is None:
                await receiving.sync()
            elif receiving is not None and snapshot is not None and not self.is_prepared:
                await self._prepare(receiving, snapshot)

    async def _prepare(self, receiving: Receiving, snapshot: Snapshot) -> None:
        driver, files = self._driver, self._driver.files
        if not receiving.is_whole:
            self._lose("it is shorter than it says")
            return
        await files.when_there_is_room(lambda: files.snapshots.complete(receiving, snapshot))
        try:
            steps = restore_in_steps(driver.machine, receiving.state(), receiving.parts)
            self._become = await take_steps(driver.ctx.clock, steps, STEP_PAUSE_S)
        except CorruptFile as error:
            self._lose(str(error))
            return
        driver.pump_soon()

    async def finish(self) -> None:
        """Nothing may be appended or applied until this returns."""
        driver, receiving, snapshot = self._driver, self._receiving, self._snapshot
        assert receiving is not None and snapshot is not None and self._become is not None
        await driver.files.install(receiving, snapshot)
        driver.replace_state(self._become, snapshot.lsn)
        self._receiving = self._snapshot = self._become = None
        driver.core.snapshot_installed()
        self._has_litter = True
        self._wanted.set()
        driver.ctx.log.info(FILLED, lsn=snapshot.lsn)
