"""The only file that touches Trio's private parts; tests/test_private_trio.py is its canary.

Two needs: a seeded scheduler for simulations, and withholding a paused node's tasks from the run
queue.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import trio
from trio._core import _run as trio_run

from emu.life import Life, current_life


def _runner() -> Any:
    return trio_run.GLOBAL_RUN_CONTEXT.runner


class PauseHolder:
    """emu.life.Holder: while somebody is paused, the run queue is a deque that sets their tasks
    aside."""

    def __init__(self) -> None:
        self._paused: dict[Life, list[Any]] = {}

    def hold(self, life: Life) -> None:
        """Withhold every task of `life` from now on."""
        runner = _runner()
        self._paused.setdefault(life, [])
        if not isinstance(runner.runq, _WithholdingQueue):
            runner.runq = _WithholdingQueue(runner.runq, self._paused)
        else:
            runner.runq.sift()

    def release(self, life: Life) -> None:
        """Let them run on, in the order in which they became runnable."""
        withheld = self._paused.pop(life, [])
        runner = _runner()
        if not self._paused and isinstance(runner.runq, _WithholdingQueue):
            runner.runq = deque(runner.runq)
        runner.runq.extend(withheld)


class _WithholdingQueue(deque[Any]):
    """Trio's run queue without the tasks of paused lives."""

    def __init__(self, tasks: Iterable[Any], paused: dict[Life, list[Any]]) -> None:
        super().__init__()
        self._paused = paused
        for task in tasks:
            self.append(task)

    def append(self, task: Any) -> None:
        life = task.context.get(current_life)
        if life is not None and life in self._paused:
            self._paused[life].append(task)
        else:
            super().append(task)

    def extend(self, tasks: Iterable[Any]) -> None:
        for task in tasks:
            self.append(task)

    def sift(self) -> None:
        """Set aside what is queued already."""
        tasks = list(self)
        self.clear()
        self.extend(tasks)


def seed_scheduler(seed: str) -> None:
    """Make the next trio.run of this process choose its order from `seed`."""
    vars(trio_run)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    trio_run._r = random.Random(seed)


def unseed_scheduler() -> None:
    vars(trio_run)["_ALLOW_DETERMINISTIC_SCHEDULING"] = False
    trio_run._r = random.Random()


def something_else_waits() -> bool:
    """Whether Trio itself has work that its clock must not jump over."""
    runner = _runner()
    return bool(runner.waiting_for_idle or runner.entry_queue.size())


def is_runnable() -> bool:
    """Whether a task is ready to run now."""
    return bool(_runner().runq)


def all_tasks() -> Iterator[trio.lowlevel.Task]:
    """Every task of this run, from the root down."""
    root = trio.lowlevel.current_root_task()
    todo = [root] if root is not None else []
    while todo:
        task = todo.pop()
        yield task
        for nursery in task.child_nurseries:
            todo.extend(sorted(nursery.child_tasks, key=lambda each: each.name))
