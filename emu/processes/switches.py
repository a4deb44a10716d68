"""The fault switches of a machine whose disk and clock a worker process uses: emu keeps their
state, tells the process that runs, and the next one when it boots the node."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from emu.live.files import LiveFiles, OpenFiles
from emu.machine.clock import ClockState, MachineClock
from emu.machine.disk import MachineDisk
from emu.machine.world import DiskSpec, Timers
from emu.processes.control import MAX_WAITING_BYTES

Tell = Callable[..., object]
MOST_SENT_BYTES: Final = MAX_WAITING_BYTES // 2
"""Of files that go over the control connection."""


class WorkerDisk:
    """`emu.machine.world.DiskControl`. `tell(word, ...)` reaches the process, if there is one."""

    def __init__(
        self,
        folder: Path,
        spec: DiskSpec,
        timers: Timers,
        *,
        tell: Callable[..., bool],
        in_use: Callable[[], bool],
        here: bool,
    ) -> None:
        """`tell` says whether somebody hears it. `here`: whether the files are in `folder`."""
        self._folder = folder
        self._spec = spec
        self._timers = timers
        self._tell = tell
        self._in_use = in_use
        self.here = here
        self._state: dict[str, Any] = {
            "slow_factor": 1.0, "fail_reads": False, "fail_writes": False, "full": False,
            "bandwidth_bytes_per_s": spec.bandwidth_bytes_per_s,
            "capacity_bytes": spec.capacity_bytes,
        }  # fmt: skip
        self._on_change: Callable[[str], object] | None = None

    def state(self) -> dict[str, Any]:
        return dict(self._state)

    def _set(self, name: str, value: Any) -> None:
        self._state[name] = value
        self._tell("disk", name, value)

    @property
    def slow_factor(self) -> float:
        return float(self._state["slow_factor"])

    @slow_factor.setter
    def slow_factor(self, slow_factor: float) -> None:
        self._set("slow_factor", slow_factor)

    @property
    def fail_reads(self) -> bool:
        return bool(self._state["fail_reads"])

    @fail_reads.setter
    def fail_reads(self, fail_reads: bool) -> None:
        self._set("fail_reads", fail_reads)

    @property
    def fail_writes(self) -> bool:
        return bool(self._state["fail_writes"])

    @fail_writes.setter
    def fail_writes(self, fail_writes: bool) -> None:
        self._set("fail_writes", fail_writes)

    @property
    def full(self) -> bool:
        return bool(self._state["full"])

    @full.setter
    def full(self, full: bool) -> None:
        self._set("full", full)

    @property
    def bandwidth_bytes_per_s(self) -> float:
        return float(self._state["bandwidth_bytes_per_s"])

    @bandwidth_bytes_per_s.setter
    def bandwidth_bytes_per_s(self, bandwidth_bytes_per_s: float) -> None:
        self._set("bandwidth_bytes_per_s", bandwidth_bytes_per_s)

    @property
    def capacity_bytes(self) -> int:
        return int(self._state["capacity_bytes"])

    @capacity_bytes.setter
    def capacity_bytes(self, capacity_bytes: int) -> None:
        self._set("capacity_bytes", capacity_bytes)

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
        if self.here or not self._tell("flip", name, byte_offset, bit):
            self._at_rest().flip_bit(name, byte_offset, bit)

    def names(self) -> list[str]:
        return self._at_rest().names()

    def read(self, name: str) -> bytes:
        return self._at_rest().read(name)

    def wipe(self) -> None:
        if self._in_use():
            raise OSError("a worker process uses this disk: end the node before it is wiped")
        if not self._tell("wipe"):
            self._at_rest().wipe()

    def load(self, files: Mapping[str, bytes]) -> None:
        if self._in_use():
            raise OSError("a worker process uses this disk: end the node before it is loaded")
        if self.here:
            self._at_rest().load(files)
            self._tell("reread")
            return
        size_bytes = sum(map(len, files.values()))
        if size_bytes > MOST_SENT_BYTES:
            raise OSError(
                f"{size_bytes:,} bytes are too much for a disk that is elsewhere: at most "
                f"{MOST_SENT_BYTES:,}"
            )
        if not self._tell("load", dict(files)):
            self._at_rest().load(files)

    def _at_rest(self) -> MachineDisk:
        """The files as they are on this computer's disk, whoever else has them open."""
        if not self.here:
            raise OSError("its disk is with its process, where emu cannot look")
        return MachineDisk(LiveFiles(self._folder, OpenFiles()), self._timers, self._spec)


class WorkerClock:
    """`emu.machine.world.ClockControl`: `clock`, in emu's own process, reads what the machine's
    does."""

    def __init__(self, clock: MachineClock, *, tell: Tell) -> None:
        self._clock = clock
        self._tell = tell
        self.late: tuple[float, float] = (0.0, 0.0)
        """Up to how much its timers come late, and what seeds that."""

    def state(self) -> ClockState:
        return self._clock.state()

    def step(self, seconds: float) -> None:
        self._clock.step(seconds)
        self._tell("clock", self._clock.state())

    def set_drift(self, drift_ratio: float) -> None:
        self._clock.set_drift(drift_ratio)
        self._tell("clock", self._clock.state())

    def set_late(self, up_to_s: float, rng: random.Random) -> None:
        self.late = (up_to_s, rng.random())
        self._tell("late", *self.late)
