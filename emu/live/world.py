"""The live world: real sockets, real files, real time. Use as an async context manager.

It also measures how far it may be believed: see `fidelity`.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import trio

from emu.live.card import LiveCard, operator_card, outside_card
from emu.live.clock import LiveClock
from emu.live.files import LiveFiles, OpenFiles
from emu.live.network import BUFFER_BYTES, LiveNetwork
from emu.live.ring import RingSyncer
from emu.live.sync import Syncer
from emu.live.timers import HogWatch, LiveTimers
from emu.machine.clock import MachineClock
from emu.machine.context import RUN, NoHistory
from emu.machine.disk import MachineDisk
from emu.machine.events import Events
from emu.machine.life import Holder, Life
from emu.machine.links import Links
from emu.machine.machine import EmulatedMachine
from emu.machine.private_trio import PauseHolder
from emu.machine.reach import not_counted
from emu.machine.refusals import Refusals
from emu.machine.world import MachineSpec
from nodes.base import History, Log, Network
from nodes.metrics import Metrics

TRUSTED_LAG_P99_S: Final = 0.005
TRUSTED_LAG_WORST_S: Final = 0.25
TRUSTED_WITHHELD_RATIO: Final = 0.05
TRUSTED_STALL_S: Final = 0.25
"""Withheld in all, and at a time. The cluster did not notice, as its time stood still; who came
from outside did."""
LEAST_MEASURED_S: Final = 1.0
TRUSTED_REQUESTS_PER_S: Final = 10_000.0
"""What one loop carries from end to end (FACTS). Emulated cores wait instead of computing, so it is
not their number that is beyond a laptop, but the rate that they promise together."""
PROBE_S: Final = 0.05
GC_THRESHOLDS: Final = (5_000, 10, 40)
"""Objects made and not freed until the youngest are looked through, and how often that is done
until the older are, and all. With Python's own numbers all (a store's keys, requests that wait) are
looked through several times a second just when many wait, and that takes half of the loop's time.
"""
LAG_BUCKETS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
LAG_HELP: Final = "How late the emulator's loop came to a timer that was due."
HOST_HELP: Final = "Real time that went by, while the cluster's stood still, too."
WITHHELD_HELP: Final = (
    "Time in which this computer did not let the emulator run: the cluster's time stood still."
)
GC_HELP: Final = "Pauses of Python's garbage collector: everything stands still."


class LiveWorld:
    """emu.machine.world.World on this laptop. `data` holds a folder per machine."""

    name = "live"
    honest_disks = True
    in_processes = False
    network_type: type[LiveNetwork] = LiveNetwork

    def __init__(
        self,
        seed: int | str,
        data: Path,
        *,
        temporary: bool = False,
        events: Callable[[Callable[[], float]], Events] | None = None,
        history: History | None = None,
        aliases: bool = True,
        checkpoint_every: int = 64,
        buffer_bytes: int = BUFFER_BYTES,
        precise_timers: bool = True,
        zero_s: float | None = None,
    ) -> None:
        """`temporary`: what a removed machine had on its disk goes with it. `zero_s`: when its time
        began, where it is other processes' time, too."""
        # Disks that stay hold ids that an earlier run drew: the next must not draw them again.
        self.seed = seed if temporary else f"{seed}{RUN}{time.time_ns() // 1_000:x}"
        self.data = data
        self.temporary = temporary
        self.metrics = Metrics()
        self.clock = LiveClock(
            self.metrics.counter("host_withheld_seconds_total", WITHHELD_HELP), zero_s=zero_s
        )
        began_s = time.monotonic()
        self.metrics.counter("host_seconds_total", HOST_HELP, lambda: time.monotonic() - began_s)
        self.timers = LiveTimers(
            self.clock,
            precise=precise_timers,
            lag=self.metrics.histogram("loop_lag_seconds", LAG_HELP, LAG_BUCKETS_S),
        )
        self._gc_pauses_s = self.metrics.histogram("gc_pause_seconds", GC_HELP)
        self.events = (events or Events)(self.timers.now_s)
        self.history: History = history or NoHistory()
        self.links = Links(seed)
        self.loops = 1
        """How many carry its machines together."""
        self.holder: Holder = PauseHolder()
        self.hogs = HogWatch(self.metrics, self.clock)
        self._aliases = aliases
        self._checkpoint_every = checkpoint_every
        self._buffer_bytes = buffer_bytes
        self._machines: dict[str, EmulatedMachine] = {}
        self._files: dict[str, LiveFiles] = {}
        self._open_files = OpenFiles()
        self.epoch_s = time.time() - self.timers.now_s()
        self._gc_longest_s = 0.0
        self._gc_began_s = 0.0
        self._gc_thresholds = gc.get_threshold()

    async def __aenter__(self) -> Self:
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self.network = self.network_type(
            self._nursery,
            self.timers,
            self.links,
            aliases=self._aliases,
            checkpoint_every=self._checkpoint_every,
            buffer_bytes=self._buffer_bytes,
            on_refused=Refusals(self.events, self.timers.now_s).tell,
            on_taken=self._taken,
        )
        self._syncer: Syncer | RingSyncer | None = None
        self._nursery.start_soon(self.timers.run)
        self._nursery.start_soon(self.network.readiness.run, self.hogs.held)
        self._probe()
        gc.callbacks.append(self._watch_gc)
        gc.disable()  # until boot is over: it makes no garbage worth the pauses
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        for machine in self._machines.values():
            if machine.life is not None:
                machine.life.end(crash=False)
        gc.callbacks.remove(self._watch_gc)
        gc.set_threshold(*self._gc_thresholds)
        gc.unfreeze()
        gc.enable()
        with suppress(KeyError):  # never settled
            trio.lowlevel.remove_instrument(self.hogs)
        self.hogs.end()
        with trio.CancelScope(shield=True):
            await self.network.aclose()
        self._nursery.cancel_scope.cancel()
        for files in self._files.values():
            files.close()
        return await self._manager.__aexit__(kind, error, traceback)

    # --- emu.machine.world.World -----------------------------------------------------------------

    def machine(self, spec: MachineSpec) -> EmulatedMachine:
        found = self._machines.get(spec.name)
        if found is not None:
            return found
        address = self.network.add_machine(spec)
        files = self._files[spec.name] = LiveFiles(self.data / spec.name, self._open_files)
        clock = MachineClock(
            self.timers,
            offset_s=spec.clock.offset_s,
            drift_ratio=spec.clock.drift_ratio,
            epoch_s=self.epoch_s,
        )
        submit = self._real_sync().submit if spec.disk.sync_mode == "real" else None
        disk = MachineDisk(files, self.timers, spec.disk, submit)
        made = EmulatedMachine(self, spec, address, disk, clock)
        self._machines[spec.name] = made
        return made

    def remove_machine(self, name: str) -> None:
        machine = self._machines.pop(name)
        assert machine.life is None or machine.life.dead, f"{name} is running"
        self.network.remove_machine(name)
        files = self._files.pop(name)
        if self.temporary:
            files.delete()
        else:
            files.close()

    def endpoint(self, name: str, port: int) -> str:
        address, real_port = self.network.where(name, port)
        return f"{address}:{real_port}"

    def operator_network(self) -> Network:
        return operator_card(self.network)

    def outside_network(self) -> Network:
        return outside_card(self.network)

    def machines(self) -> Iterable[EmulatedMachine]:
        return self._machines.values()

    def save(self, path: str, data: bytes) -> None:
        aside = Path(f"{path}.new")
        aside.write_bytes(data)
        aside.replace(path)

    def load(self, path: str) -> bytes:
        return Path(path).read_bytes()

    # --- emu.machine.machine.Hypervisor -----------------------------------------------------------

    def card(self, spec: MachineSpec, life: Life) -> Network:
        return LiveCard(self.network, self.network.hosts[spec.name], life)

    def power(self, name: str, on: bool) -> None:
        host = self.network.host(name)
        if host is not None:
            self.network.set_power(host, on)

    def log_for(self, spec: MachineSpec) -> Log:
        log: Log = self.events.logger(node=spec.name, tier=spec.tier, region=spec.region)
        return log

    def rare_for(self, spec: MachineSpec) -> Callable[[str], bool]:
        return lambda name: False

    @property
    def reached(self) -> Callable[[str], object]:
        return not_counted

    # --- being believed ------------------------------------------------------------------

    def settle(self) -> None:
        """After boot: what exists now is not looked at by the collector again, and who holds the
        loop from now on is remembered."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        trio.lowlevel.add_instrument(self.hogs)
        self.timers.late_s.clear()
        self.timers.worst_late_s = 0.0
        self.clock.measure()
        self.hogs.reset()

    def fidelity(self) -> dict[str, Any]:
        """Loop lag by percentile, who held the loop, and whether the run can
        be trusted, with reasons."""
        late = sorted(self.timers.late_s) or [0.0]
        p99_s = late[min(len(late) - 1, int(len(late) * 0.99))]
        worst_s, culprit = self.hogs.worst
        reasons = self._doubts(p99_s)
        return {
            "loop_lag_s": {
                "p50": round(late[len(late) // 2], 6),
                "p99": round(p99_s, 6),
                "max": round(self.timers.worst_late_s, 6),
            },
            "culprit": culprit,
            "held_s": round(worst_s, 6),
            "timers_precise": self.timers.precise,
            "host_withheld_s": round(self.clock.withheld_s, 3),
            "gc_pauses": self._gc_pauses_s.count,
            "gc_total_s": round(self._gc_pauses_s.sum, 6),
            "gc_longest_s": round(self._gc_longest_s, 6),
            "declared_cores": sum(machine.cores for machine in self._machines.values()),
            "laptop_cores": os.cpu_count() or 1,
            "trustworthy": not reasons,
            "reasons": reasons,
        }

    def _doubts(self, p99_s: float) -> list[str]:
        """Why delays and capacities of this run may not be what the topology declares."""
        reasons = []
        culprit, held_s = self.hogs.most
        who = f", {culprit} held it for {held_s:.2f} s in all" if culprit else ""
        worst_s = self.timers.worst_late_s
        if p99_s > TRUSTED_LAG_P99_S:
            reasons.append(f"the loop was {p99_s * 1e3:.1f} ms late at p99{who}: ask for less")
        elif worst_s > TRUSTED_LAG_WORST_S:
            reasons.append(f"the loop was once {worst_s * 1e3:.0f} ms late{who}")
        reasons += self._withheld()
        if not self.timers.precise:
            reasons.append("no timerfd here: delays are rounded to milliseconds")
        promised_per_s = sum(_requests_per_s(each) for each in self._machines.values())
        carried_per_s = self.loops * TRUSTED_REQUESTS_PER_S
        if promised_per_s > carried_per_s:
            reasons.append(
                f"the declared cpus promise {promised_per_s:,.0f} requests/s together, this "
                f"laptop carries some {carried_per_s:,.0f}: raise service_time"
            )
        return reasons

    def _withheld(self) -> Iterable[str]:
        """What other programs, or who stopped this one, took of its time."""
        clock = self.clock
        withheld_s, of_s = clock.withheld_s, clock.measured_s
        most_s = TRUSTED_WITHHELD_RATIO * max(of_s, LEAST_MEASURED_S)
        if withheld_s > most_s or clock.longest_s > TRUSTED_STALL_S:
            yield (
                f"this computer withheld {withheld_s:.1f} s of {of_s:.1f} s "
                f"({clock.longest_s * 1e3:.0f} ms at a time): end other programs"
            )

    def _probe(self) -> None:
        """Always have a timer, so that a late loop shows while nodes have none."""
        self.timers.call_at(self.timers.now_s() + PROBE_S, self._probe)

    def _watch_gc(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._gc_began_s = time.perf_counter()
            return
        took_s = time.perf_counter() - self._gc_began_s
        self._gc_pauses_s.observe(took_s)
        self._gc_longest_s = max(self._gc_longest_s, took_s)

    def _real_sync(self) -> Syncer | RingSyncer:
        if self._syncer is None:
            self._syncer = syncer()
            self._open_files.on_close = self._syncer.forget
            self._nursery.start_soon(self._syncer.run)
        return self._syncer

    def _taken(self, name: str, port: int, instead: int) -> None:
        """Somebody listens on 0.0.0.0 at a port of ours."""
        fields = {"node": name, "port": port, "instead": instead}
        self.events.add("warning", "port taken by another program", fields)


def syncer() -> Syncer | RingSyncer:
    """What makes real files durable, off the loop."""
    try:
        return RingSyncer()
    except OSError:  # not this kernel, or it may not be asked
        return Syncer()


def _requests_per_s(machine: EmulatedMachine) -> float:
    """What this machine's cpu could serve of what really comes: of a crowd, that is its sample. 0
    where none is declared."""
    cpu = machine.spec.cpu
    each_s = cpu.service_time_s * cpu.stands_for
    return machine.cores / each_s if each_s > 0 else 0.0
