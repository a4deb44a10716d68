"""A sync under way: who waits for it, and what is done as it ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from emu.machine.parking import Parked


class Waiter(Parked):
    __slots__ = ("error", "is_done", "then")

    def __init__(self) -> None:
        super().__init__()
        self.error: OSError | None = None
        self.is_done = False
        self.then: Callable[[], object] | None = None
        """Called as it succeeds, before the task that waits goes on."""

    def finish(self, error: OSError | None) -> None:
        self.error, self.is_done = error, True
        then, self.then = self.then, None
        if then is not None and error is None:
            then()
        self.wake()


class Sync:
    """A sync in flight. It covers what was there at its start; who comes later shares the next."""

    __slots__ = ("followers", "name", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiters: list[Waiter] = []
        self.followers: list[Waiter] = []


class Disk(Protocol):
    """Of one generation (disk.NodeDisk)."""

    @property
    def is_real(self) -> bool:
        """Whether what is synced here lies on a disk of this computer's."""
        ...

    def now_s(self) -> float: ...
    def call(self, callback: Callable[[], object]) -> None:
        """Call it for the node: later while that is paused, never once it is dead."""
        ...

    def synced(self, error: OSError | None, asked_s: float) -> None:
        """A sync has ended. Raises what it failed with, and Fenced."""
        ...


class Syncing:
    """`nodes.base.Syncing`: a sync of one generation's."""

    __slots__ = ("_asked_s", "_disk", "_is_over", "_waiter")

    def __init__(self, disk: Disk, waiter: Waiter) -> None:
        self._disk = disk
        self._waiter = waiter
        self._asked_s = disk.now_s()
        self._is_over = False

    async def wait(self, done: Callable[[], object] | None = None) -> None:
        """nodes.base.Syncing."""
        waiter, disk = self._waiter, self._disk
        if waiter.is_done:
            await trio.lowlevel.checkpoint()
        elif done is None or not disk.is_real:
            await waiter.wait()
        else:
            waiter.then = partial(disk.call, partial(self._end, done))
            try:
                await waiter.wait()
            finally:
                waiter.then = None
        if not self._is_over:
            self._end(done)

    def _end(self, done: Callable[[], object] | None) -> None:
        """Raises what it failed with, and Fenced."""
        self._is_over = True
        self._disk.synced(self._waiter.error, self._asked_s)
        if done is not None:
            done()
