"""Histories that worker processes hand over: each operation with the times at which it was invoked
and ended, on the clock that all processes of this computer share. So emu finds their true order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from emu.checks.history import FAIL, INFO, OK, Operation, Recorder
from emu.machine.world import World
from emu.processes.control import plain

Tell = Callable[..., object]


class Handover:
    """`nodes.base.History` in a worker process."""

    def __init__(self, tell: Tell) -> None:
        self.notify = tell
        self.now_s: Callable[[], float] = lambda: 0.0
        self._numbers = count(1)

    def invoke(
        self, process: str, f: str, value: Any = None, key: Any = None, *, model: str = "kv"
    ) -> HandedOver:
        number, at_s = next(self._numbers), self.now_s()
        self.notify("invoked", number, at_s, process, f, plain(value), plain(key), model)
        return HandedOver(self, number)

    def leave(self, key: Any, *, model: str = "kv") -> None:
        self.notify("left", plain(key), model)


class HandedOver:
    """`nodes.base.Operation`."""

    __slots__ = ("_history", "_number")

    def __init__(self, history: Handover, number: int) -> None:
        self._history = history
        self._number = number

    def ok(self, value: Any = None) -> None:
        self._completed(OK, value, "")

    def fail(self, reason: str = "") -> None:
        self._completed(FAIL, None, reason)

    def info(self, reason: str = "") -> None:
        self._completed(INFO, None, reason)

    def _completed(self, outcome: str, value: Any, reason: str) -> None:
        number, self._number = self._number, 0
        if number:
            history = self._history
            history.notify("completed", number, history.now_s(), outcome, plain(value), reason)


class Received:
    """What one worker process says of them, put into emu's own history."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[int, Operation] = {}

    def invoked(self, number: int, at_s: float, *what: Any) -> None:
        recorder = self._world.history
        if isinstance(recorder, Recorder):
            process, f, value, key, model = what
            self._open[number] = recorder.invoked(at_s, process, f, value, key, model=model)

    def completed(self, number: int, at_s: float, outcome: str, value: Any, reason: str) -> None:
        recorder, operation = self._world.history, self._open.pop(number, None)
        if operation is not None and isinstance(recorder, Recorder):
            recorder.completed(operation, at_s, outcome, value, reason)

    def left(self, key: Any, model: str) -> None:
        if isinstance(self._world.history, Recorder):
            self._world.history.leave(key, model=model)
