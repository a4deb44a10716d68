"""What clients in worker processes do is in emu's history as if they had run in its own process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from emu.checks.history import Recorder
from emu.processes.history import Handover, Received


def test_what_a_worker_tells_is_recorded_and_so_is_what_it_leaves():
    now_s = 3.0
    recorder = Recorder(lambda: 4.0, by_time=True)
    received: Any = Received(SimpleNamespace(history=recorder))  # type: ignore[arg-type]
    told = {"invoked": received.invoked, "completed": received.completed, "left": received.left}
    handover = Handover(lambda what, *more: told[what](*more))
    handover.now_s = lambda: now_s
    handover.invoke("clients-1.1/1", "add", 5, ["x"], model="set").ok(5)
    handover.leave(["x"], model="set")
    (operation,) = recorder.operations
    assert operation.is_ok and operation.result == 5 and operation.invoked_s == now_s
    assert list(recorder.left) == [("set", ("x",))]
