"""The fault switches of a machine whose disk and clock a child process uses: emu keeps their state,
tells the process that runs, and the next one at its boot."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from emu.live.files import LiveFiles, OpenFiles
from emu.machine.clock import MachineClock
from emu.machine.disk import MachineDisk
from emu.machine.world import DiskSpec, Timers


class ChildDisk:
    """`emu.machine.world.DiskControl`. `tell(word, ...)` reaches the process, if there is one."""

    SWITCHES: Final = ("slow_factor", "fail_reads", "fail_writes", "full")

    def __init__(
        self,
        folder: Path,
        spec: DiskSpec,
        timers: Timers,
        *,
        tell: Callable[..., None],
        in_use: Callable[[], bool],
    ) -> None:
        self._folder = folder
        self._spec = spec
        self._timers = timers
        self._tell = tell
        self._in_use = in_use
        self._state: dict[str, Any] = dict.fromkeys(self.SWITCHES, False)
        self._state["slow_factor"] = 1.0
        self._on_change: Callable[[str], object] | None = None

    def state(self) -> dict[str, Any]:
        return dict(self._state)

    def set(self, name: str, value: Any) -> None:
        self._state[name] = value
        self._tell("disk", name, value)

    @property
    def on_change(self) -> Callable[[str], object] | None:
        return self._on_change

    @on_change.setter
    def on_change(self, call: Callable[[str], object] | None) -> None:
        self._on_change = call
        self._tell("watch", call is not None)

    def writing(self, name: str) -> None:
        """The process has begun to write this file."""
        call, self._on_change = self._on_change, None
        if call is not None:
            call(name)

    def flip_bit(self, name: str, byte_offset: int, bit: int) -> None:
        self._at_rest().flip_bit(name, byte_offset, bit)

    def wipe(self) -> None:
        if self._in_use():
            raise OSError("a child process uses this disk: end it before it is wiped")
        self._at_rest().wipe()

    def _at_rest(self) -> MachineDisk:
        """The files as they are on this computer's disk, whoever else has them open."""
        return MachineDisk(LiveFiles(self._folder, OpenFiles()), self._timers, self._spec)


def _switch(name: str) -> property:
    return property(lambda disk: disk.state()[name], lambda disk, value: disk.set(name, value))


for _name in ChildDisk.SWITCHES:
    setattr(ChildDisk, _name, _switch(_name))


class ChildClock:
    """`emu.machine.world.ClockControl`: `clock`, in emu's process, goes as the machine's does."""

    def __init__(
        self, clock: MachineClock, drift_ratio: float, *, tell: Callable[..., None]
    ) -> None:
        self._clock = clock
        self._drift_ratio = drift_ratio
        self._tell = tell

    def state(self) -> tuple[float, float, float]:
        """Its monotonic and its wall time just now, and its drift."""
        return self._clock.monotonic_s(), self._clock.wall_s(), self._drift_ratio

    def step(self, seconds: float) -> None:
        self._clock.step(seconds)
        self._tell("step", seconds)

    def set_drift(self, drift_ratio: float) -> None:
        self._clock.set_drift(drift_ratio)
        self._drift_ratio = drift_ratio
        self._tell("drift", drift_ratio)

    def set_late(self, up_to_s: float, rng: random.Random) -> None:
        self._tell("late", up_to_s, rng.random())
