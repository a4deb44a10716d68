"""A snapshot that a peer sent takes the place of a replica's state and log.

It is written and loaded beside them, in pieces, while this replica goes on confirming that it is
there and answering from what it has; only the change-over holds back what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from nodes.base import Context
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.parts.timing import take_steps
from nodes.replica.files import ReplicaFiles
from nodes.replica.state_machine import StateMachine, restore_in_steps
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
        self._snapshot: Snapshot | None = None
        self._become: Callable[[], None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether state and log are about to be replaced."""
        return self._snapshot is not None

    @property
    def is_prepared(self) -> bool:
        return self._become is not None

    def begin(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._wanted.set()

    async def run(self) -> None:
        """Prepare each snapshot, then have the driver finish it."""
        driver = self._driver
        while True:
            await self._wanted.wait()
            snapshot = self._snapshot
            assert snapshot is not None
            await driver.files.receive(snapshot)
            steps = restore_in_steps(driver.machine, snapshot.data)
            self._become = await take_steps(driver.ctx.clock, steps, STEP_PAUSE_S)
            driver.pump_soon()

    async def finish(self) -> None:
        """Nothing may be appended or applied until this returns."""
        driver, snapshot, become = self._driver, self._snapshot, self._become
        assert snapshot is not None and become is not None
        await driver.files.install(snapshot)
        driver.replace_state(become, snapshot.lsn)
        self._snapshot = self._become = None
        driver.core.snapshot_installed()
        driver.ctx.log.info("snapshot installed", lsn=snapshot.lsn)
