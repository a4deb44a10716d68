"""How a task that works on demand waits for work, without a new event for every time. No I/O."""

from __future__ import annotations

from typing import Any

from trio import lowlevel


class AutoResetEvent:
    """One task waits; whoever has work for it calls `set`. What is set while it works is kept."""

    __slots__ = ("_task", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        """Since the last wait ended."""
        self._task: lowlevel.Task | None = None

    def set(self) -> None:
        self.is_set = True
        task, self._task = self._task, None
        if task is not None:
            lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Until `set` was called since the last wait; always a checkpoint."""
        assert self._task is None, "one task waits here"
        if self.is_set:
            await lowlevel.checkpoint()
        else:
            self._task = lowlevel.current_task()
            await lowlevel.wait_task_rescheduled(self._abort)
        self.is_set = False

    def _abort(self, _: Any) -> lowlevel.Abort:
        self._task = None
        return lowlevel.Abort.SUCCEEDED
