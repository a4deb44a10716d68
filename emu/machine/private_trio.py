"""The only file that touches Trio's private parts; a test of it is the canary.

Its needs: a seeded scheduler, withholding a paused node's tasks from the run queue, and a look at
(and a stop of) a run that is stuck. Nothing here knows what a simulation or a node is.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, MutableSequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import outcome
import trio
from trio._core import _run as trio_run
from trio._core._entry_queue import EntryQueue

from emu.machine.life import Life, current_life

POLL_EVERY: Final = 64
"""A simulation looks for signals once in so many turns of the scheduler: epoll is a system call."""

RUNNER_FIELDS: Final = (
    "runq", "deadlines", "waiting_for_idle", "entry_queue", "io_manager", "instruments",
    "main_task", "main_task_outcome",
)  # fmt: skip
QUEUE_FIELDS: Final = ("queue", "idempotent_queue", "wakeup")


class UnknownTrio(Exception):
    """This Trio is built otherwise than emu expects."""


class RealIOInSimulation(Exception):
    """Simulated code waited for a real socket, or started a thread: it would not be repeatable."""


def check_trio() -> None:
    """Raise UnknownTrio, naming what is missing, unless this Trio is one that we know."""
    task = trio_run.Task
    wanted = {
        "_run._ALLOW_DETERMINISTIC_SCHEDULING": hasattr(
            trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING"
        ),
        "_run._r": isinstance(getattr(trio_run, "_r", None), random.Random),
        "_run.GLOBAL_RUN_CONTEXT": hasattr(trio_run, "GLOBAL_RUN_CONTEXT"),
        "Task._counter": hasattr(task, "_counter"),
        "Task._attempt_abort": hasattr(task, "_attempt_abort"),
        "Task._abort_func": hasattr(task, "_abort_func"),
        "Task._next_send_fn": hasattr(task, "_next_send_fn"),
        "_threads.start_thread_soon": hasattr(trio._threads, "start_thread_soon"),
    }
    for owner, names in ((trio_run.Runner, RUNNER_FIELDS), (EntryQueue, QUEUE_FIELDS)):
        fields = {field.name for field in owner.__attrs_attrs__}
        wanted |= {f"{owner.__name__}.{name}": name in fields for name in names}
    missing = sorted(name for name, found in wanted.items() if not found)
    if missing:
        raise UnknownTrio(f"Trio {trio.__version__} has no {', '.join(missing)}: see {__file__}")


def current_runner() -> Any:
    """Trio's runner; read `runq` and `deadlines` of it in this package's clock only."""
    return trio_run.GLOBAL_RUN_CONTEXT.runner


# --- withholding a paused node's tasks ---------------------------------------------------


class PauseHolder:
    """emu.machine.life.Holder: while somebody is paused, the run queue is a deque that
    sets their tasks aside."""

    def __init__(self) -> None:
        self._paused: dict[Life, list[Any]] = {}

    def hold(self, life: Life) -> None:
        """Withhold every task of `life` from now on (those of this very turn take their step)."""
        runner = current_runner()
        self._paused.setdefault(life, [])
        if not isinstance(runner.runq, _WithholdingQueue):
            runner.runq = _WithholdingQueue(runner.runq, self._paused)
        else:
            runner.runq.sift()

    def release(self, life: Life) -> None:
        """Let them run on, in the order in which they became runnable."""
        withheld = self._paused.pop(life, [])
        runner = current_runner()
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


# --- a repeatable run --------------------------------------------------------------------


@contextmanager
def seeded_scheduler(seed: str) -> Iterator[None]:
    """Runs started in this block choose their order from `seed`; afterwards all is as before."""
    check_trio()
    module = vars(trio_run)
    before = module["_ALLOW_DETERMINISTIC_SCHEDULING"], module["_r"]
    module["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    module["_r"] = _Shuffler(seed)
    threads = vars(trio._threads)
    start_thread, threads["start_thread_soon"] = threads["start_thread_soon"], _no_threads
    try:
        yield
    finally:
        module["_ALLOW_DETERMINISTIC_SCHEDULING"], module["_r"] = before
        threads["start_thread_soon"] = start_thread


class _Shuffler(random.Random):
    """What Trio shuffles each batch with. Most batches of a simulation hold one task."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        if len(x) > 1:
            super().shuffle(x)


def _no_threads(*args: Any, **options: Any) -> NoReturn:
    raise RealIOInSimulation("a simulation has no threads: they do not follow its clock")


class _NoInstruments(dict[str, dict[Any, None]]):
    """Trio looks its instruments up five times a turn, in a dict written in Python."""

    def add_instrument(self, instrument: Any) -> NoReturn:
        raise TypeError("a simulation takes its instruments when it starts")


def forbid_real_io() -> None:
    """From a clock's start_clock: this run waits for no file descriptor but Trio's own."""
    runner = current_runner()
    if not runner.instruments["_all"]:
        runner.instruments = _NoInstruments(_all={})
    runner.io_manager = _NoIO(runner.io_manager, runner.entry_queue.wakeup.wakeup_sock)


class _NoIO:
    """Trio's I/O manager where there is no I/O: asks the system only when idle, or now and then."""

    def __init__(self, real: Any, own: Any) -> None:
        self._real = real
        self._own = own
        self._turns = 0

    def get_events(self, timeout_s: float) -> Any:
        self._turns += 1
        if timeout_s > 0 or self._turns >= POLL_EVERY:
            self._turns = 0
            return self._real.get_events(timeout_s)
        return ()

    def process_events(self, events: Any) -> None:
        if events:
            self._real.process_events(events)

    async def wait_readable(self, fd: Any) -> None:
        if fd is not self._own:
            raise RealIOInSimulation(f"a simulation has no real sockets or files: {fd}")
        await self._real.wait_readable(fd)

    async def wait_writable(self, fd: Any) -> None:
        raise RealIOInSimulation(f"a simulation has no real sockets or files: {fd}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def main_lives(runner: Any) -> bool:
    """Whether the function given to trio.run has not returned yet."""
    return runner.main_task_outcome is None


def may_jump(runner: Any) -> bool:
    """Whether its clock may move on: the main task lives, and Trio itself has nothing to do."""
    queue = runner.entry_queue
    return runner.main_task_outcome is None and not (
        runner.waiting_for_idle or queue.queue or queue.idempotent_queue
    )


def fail_main(runner: Any, error: Exception) -> None:
    """Raise `error` in the main task, wherever it waits."""
    task = runner.main_task

    def throw(*args: Any) -> NoReturn:
        raise error

    if task is None or not main_lives(runner):
        raise error
    if task._abort_func is not None:
        task._attempt_abort(throw)
    elif task._next_send_fn is not None:
        task._next_send = outcome.Error(error)
    else:
        raise error


# --- a look at what is there ---------------------------------------------------------------


def all_tasks() -> Iterator[trio.lowlevel.Task]:
    """Every task of this run, from the root down, siblings in the order of their start."""
    root = trio.lowlevel.current_root_task()
    todo = [root] if root is not None else []
    while todo:
        task = todo.pop()
        yield task
        for nursery in reversed(task.child_nurseries):
            todo.extend(sorted(nursery.child_tasks, key=lambda each: -each._counter))


def undead() -> list[str]:
    """The tasks of dead lives that are still there, and where they are: a corpse must unwind
    within a few turns."""
    found = []
    for task in all_tasks():
        life = task.context.get(current_life)
        if life is not None and life.dead:
            stack = " < ".join(reversed([f.f_code.co_name for f, _ in task.iter_await_frames()]))
            found.append(f"{life} in {stack}")
    return found


def task_stacks(*, most_tasks: int = 40) -> str:
    """Every task that is not Trio's own, with the node it belongs to and where it waits."""
    lines: list[str] = []
    shown = left_out = 0
    for task in all_tasks():
        frames = [
            f"    {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
            for frame, line in task.iter_await_frames()
        ]
        if task.name.startswith(("<init>", "<TrioToken", "<async_gen")):
            continue
        if shown == most_tasks:
            left_out += 1
            continue
        shown += 1
        life = task.context.get(current_life)
        lines.append(f"  {task.name} of {life.node if life is not None else 'emu'}")
        lines.extend(frames)
    if left_out:
        lines.append(f"  … and {left_out} more tasks")
    return "\n".join(lines)
