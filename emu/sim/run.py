"""Runs a program in a simulated world: one seed in, one outcome with its digest out.

Here real time is looked at once more: to say how long it took, and to catch a
task that never yields.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Final, Generic, TypeVar

import trio

from emu.machine.private_trio import seeded_scheduler
from emu.machine.trace import Rules, Trace
from emu.sim.timers import MAX_TURNS, MAX_VIRTUAL_S, SimClock, SimulationStuck
from emu.sim.world import SimWorld

WATCHDOG_S: Final = 20.0
"""A task that holds the loop for so long (real seconds) never gives it back."""
LOOKS: Final = 50
"""How often the watchdog looks in that time."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of one seed. `error` is what the program raised; the digest holds either way."""

    seed: int | str
    value: T | None
    error: Exception | None
    digest: str
    trace: Trace
    virtual_s: float
    wall_s: float
    turns: int

    @property
    def messages(self) -> int:
        return self.trace.messages


def run_simulation(
    main: Callable[[SimWorld], Awaitable[T]], *, seed: int | str, **options: Any
) -> Outcome[T]:
    """Run `main(world)` and return its outcome; raise what it raised. Options: see `simulate`."""
    outcome = simulate(main, seed=seed, **options)
    if outcome.error is not None:
        raise outcome.error
    return outcome


def simulate(
    main: Callable[[SimWorld], Awaitable[T]],
    *,
    seed: int | str,
    keep_trace: int = 0,
    max_virtual_s: float = MAX_VIRTUAL_S,
    max_turns: int = MAX_TURNS,
    watchdog_s: float = WATCHDOG_S,
    **world_options: Any,
) -> Outcome[T]:
    """Run `main(world)` in a world that is made for it; otherwise as `in_virtual_time`."""

    async def program() -> T:
        async with SimWorld(seed, **world_options) as world:
            return await main(world)

    return in_virtual_time(
        program,
        seed=seed,
        keep_trace=keep_trace,
        max_virtual_s=max_virtual_s,
        max_turns=max_turns,
        watchdog_s=watchdog_s,
    )


def in_virtual_time(
    program: Callable[[], Awaitable[T]],
    *,
    seed: int | str,
    keep_trace: int = 0,
    rules: Rules | None = None,
    max_virtual_s: float = MAX_VIRTUAL_S,
    max_turns: int = MAX_TURNS,
    watchdog_s: float = WATCHDOG_S,
) -> Outcome[T]:
    """Run `program()`, which makes its own world. An Exception of its is part of the outcome.

    The same seed, code and versions give the same digest. `keep_trace`: how many of the newest
    events to remember; `rules` reads what the nodes say. Raises nothing but what ends the process
    (KeyboardInterrupt).
    """
    trace = Trace(keep=keep_trace, rules=rules)
    clock = SimClock(trace=trace, max_virtual_s=max_virtual_s, max_turns=max_turns)
    began_s = time.perf_counter()
    value: T | None = None
    error: Exception | None = None
    watched = partial(_unwoken, program, clock, watchdog_s)
    with seeded_scheduler(f"{seed}/scheduler"), _collector_off():
        try:
            value = trio.run(watched, clock=clock, strict_exception_groups=True)
        except Exception as raised:
            error = clock.failure or raised
            if error is not raised:
                error.__cause__ = _other_than(raised, error)
        except BaseExceptionGroup as raised:  # Ctrl-C meets whatever runs just then
            if raised.subgroup(KeyboardInterrupt) is None:
                raise
            raise KeyboardInterrupt from None
    return Outcome(
        seed,
        value,
        error,
        trace.digest(),
        trace,
        clock.now,
        time.perf_counter() - began_s,
        clock.turns,
    )


async def _unwoken(program: Callable[[], Awaitable[T]], clock: SimClock, watchdog_s: float) -> T:
    """Run `program` so that no signal wakes Trio, the watchdog's neither: a turn of its loop that
    the seed did not ask for shifts the seeded scheduler. Ctrl-C still ends the run: Trio's handler
    wakes the loop itself."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)  # Trio has set its own just now, and puts back what was before
    with _watchdog(clock, watchdog_s):
        return await program()


def _other_than(raised: BaseException, error: Exception) -> BaseException | None:
    """What else was raised beside `error`, which is usually wrapped in groups of itself."""
    if not isinstance(raised, BaseExceptionGroup):
        return None
    _, rest = raised.split(lambda each: each is error)
    return rest


@contextmanager
def _collector_off() -> Iterator[None]:
    """Collection happens at fixed points of the run (emu/sim/timers.py), not when memory says.

    Those look at what is young alone: this first one makes all that was there before old.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _watchdog(clock: SimClock, seconds: float) -> Iterator[None]:
    """Raise in the very frame that has held the loop for `seconds`.

    It looks LOOKS times in that time, and each must find the same turn: a process that was stopped
    meanwhile (SIGSTOP, a closed laptop) is looked at once when it goes on, whatever it missed.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not (in_main and seconds > 0 and hasattr(signal, "setitimer")):
        yield
        return
    last_turn = -1
    same = 0

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal last_turn, same
        same = same + 1 if clock.turns == last_turn else 0
        if same >= LOOKS and clock.failure is None:
            signal.setitimer(signal.ITIMER_REAL, 0)  # once is enough
            stack = "".join(traceback.format_stack(frame, limit=12))
            why = f"a task has not yielded for {seconds:g} real seconds"
            error = SimulationStuck("runaway task", why, stack)
            clock.interrupt(error)
            raise error
        last_turn = clock.turns

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, seconds / LOOKS, seconds / LOOKS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
