"""A place where one task waits until it is woken, without a cancel scope or an event.

What the clock, the cpu and the disk of a machine wait with. A cancelled wait only clears
its own slot: Trio aborts tasks in an order that differs between processes, so nothing
else may happen there.
"""

from __future__ import annotations

from typing import Any

import trio


class Parked:
    """One wait: `await wait()` in the task, `wake()` from a callback, at most once each."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        """The waiting task; None before, after, and once the wait was cancelled."""

    async def wait(self) -> None:
        self.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def wake(self) -> None:
        """Nothing happens if nobody waits any more."""
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED
