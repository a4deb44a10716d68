"""How a replica's state follows its log: at once, in slices, or when enough has gathered.

What a record means is the StateMachine's business; what is committed, the core's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import trio

from nodes.base import Context, Timer
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.replica import reach
from nodes.replica.state_machine import DoesNotApply, StateMachine, apply_entries
from protocols.replication.log import Entry
from protocols.replication.log_memory import MemoryLog
from protocols.replication.replica import PRIMARY, Replica

SLICE: Final = 100
SLICE_BYTES: Final = 256 << 10
PART: Final = 10
STEP_S: Final = 0.001
"""Of the processor: with so much spent on a slice, the rest of it comes later. All nodes share it,
and a record may be anything."""


class Driver(Protocol):
    """Whose state it is that follows (driver.ReplicaDriver)."""

    ctx: Context
    machine: StateMachine
    core: Replica
    storage: MemoryLog
    state_lsn: int

    @property
    def held(self) -> bool: ...
    @property
    def is_cut(self) -> bool: ...
    @property
    def is_stopped(self) -> bool: ...
    def stop_state(self, lsn: int, error: Exception) -> None: ...
    def pump(self) -> None: ...
    async def have_at_hand(self, lsn: int) -> None: ...


class Applying:
    """One replica's: run it beside its driver."""

    def __init__(self, driver: Driver, pause_s: float) -> None:
        """`pause_s`: how long records may gather on a replica while nobody asks for them."""
        self._driver = driver
        self._pause_s = pause_s
        self._wanted = AutoResetEvent()
        self._timer: Timer | None = None
        self._changed: trio.Event | None = None
        """Set when the state moves on; None while nobody waits for that."""
        self._is_at_hand = True
        """Whether the next records are in memory."""

    def follow(self) -> None:
        """The log or what is visible of it has moved on. A short way the state goes at once, or
        soon; a long one in slices."""
        driver = self._driver
        may_wait = self._pause_s and self._changed is None and driver.core.role != PRIMARY
        if may_wait and driver.state_lsn < self._target():
            if self._timer is None:
                clock = driver.ctx.clock
                at_s = clock.monotonic_s() + self._pause_s
                self._timer = clock.call_at(at_s, self._wanted.set)
        elif self._apply_some():
            self._wanted.set()

    def catch_up(self) -> None:
        """Somebody looks at the state: apply now what has gathered, a slice of it at most."""
        if not self._driver.held:
            self._apply_some()

    def start(self) -> None:
        """The state has gone back: follow again, in slices."""
        self._wanted.set()

    async def reached(self, lsn: int) -> None:
        """Return when the state contains `lsn`, committed."""
        driver = self._driver
        self.catch_up()
        while driver.is_cut or min(driver.state_lsn, driver.core.visible_lsn) < lsn:
            if self._changed is None:
                self._changed = trio.Event()
            await self._changed.wait()

    async def run(self) -> None:
        """Apply slices, until cancelled."""
        driver = self._driver
        while True:
            await self._wanted.wait()
            self._timer = None
            while not (driver.held or driver.is_stopped) and driver.state_lsn < self._target():
                if self._apply_some():
                    driver.ctx.reached(reach.FAR_BEHIND)
                if self._is_at_hand:
                    await driver.ctx.clock.sleep(0)
                else:
                    await driver.have_at_hand(driver.state_lsn + 1)
            driver.pump()

    def _apply_in_time(self, entries: Sequence[Entry]) -> None:
        """Some of them at least."""
        cpu_s = self._driver.ctx.clock.cpu_s
        until_s = cpu_s() + STEP_S
        for place in range(0, len(entries), PART):
            self._apply(entries[place : place + PART])
            if self._driver.is_stopped or cpu_s() > until_s:
                return

    def _apply(self, entries: Sequence[Entry]) -> None:
        """All of them, or those before one that does not apply."""
        driver = self._driver
        try:
            apply_entries(driver.machine, entries)
            driver.state_lsn = entries[-1][1]
        except DoesNotApply as error:
            if len(entries) == 1:
                driver.stop_state(entries[0][1], error)
                return
            for each in entries:
                if not driver.is_stopped:
                    self._apply([each])

    def _target(self) -> int:
        core = self._driver.core
        if core.role == PRIMARY:
            return core.storage.last_lsn  # a primary works ahead
        return min(core.visible_lsn, core.storage.last_lsn)

    def _apply_some(self) -> bool:
        """Apply one slice; whether there is more."""
        driver, core = self._driver, self._driver.core
        self._is_at_hand = True
        if core.cut_from is not None:
            return False  # the next Ready takes the state back first
        if driver.is_stopped:
            return False
        target = self._target()
        if driver.state_lsn < target:
            stop = min(target, driver.state_lsn + SLICE)
            entries = driver.storage.entries(driver.state_lsn + 1, stop, SLICE_BYTES)
            self._is_at_hand = bool(entries)
            if entries:
                self._apply_in_time(entries)
        applied_lsn = min(driver.state_lsn, core.visible_lsn)
        if core.applied_lsn != applied_lsn:
            core.applied(applied_lsn, driver.ctx.clock.monotonic_s())
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()
        return driver.state_lsn < target and not driver.is_stopped
