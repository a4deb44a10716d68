"""The simulated world: machines in memory, virtual time, everything drawn from one seed.

Use it inside `emu.sim.run.run_simulation`; it is an async context manager like the live world.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

import trio

from emu.machine.clock import EPOCH_S, MachineClock
from emu.machine.context import NoHistory
from emu.machine.disk import MachineDisk
from emu.machine.events import Events
from emu.machine.life import Holder, Life
from emu.machine.links import Links, Rule, RuleHandle, Shaper
from emu.machine.machine import EmulatedMachine
from emu.machine.private_trio import PauseHolder
from emu.machine.refusals import Refusals
from emu.machine.world import MachineSpec
from emu.sim.card import SimCard, operator_card, outside_card
from emu.sim.files import Habits, SimFiles
from emu.sim.network import SimNetwork
from emu.sim.timers import SimClock
from nodes.base import History, Log, Network
from nodes.metrics import Metrics

SPLITS: Final = (0.0, 0.01, 0.2)


@dataclass(frozen=True, slots=True)
class Knobs:
    """How odd the world of one seed is, apart from its faults."""

    split_ratio: float = 0.0
    """How many reads get only a part of what has arrived."""
    rare_names_ratio: float = 0.0
    """How many of the rare branches are taken at all."""
    rare_ratio: float = 0.0
    """How often such a branch is taken."""
    disk: Habits = field(default_factory=Habits)

    @classmethod
    def draw(cls, seed: int | str) -> Knobs:
        """The swarm's choice for a seed (honest disks: lies are asked for by name)."""
        rng = random.Random(f"{seed}/knobs")
        return cls(
            split_ratio=rng.choice(SPLITS),
            rare_names_ratio=rng.choice((0.0, 0.3, 0.6)),
            rare_ratio=rng.choice((0.02, 0.2, 0.5)),
            disk=Habits(late_sync_ratio=rng.choice((0.0, 0.01, 0.1))),
        )


class SimWorld:
    """emu.machine.world.World in virtual time. trio must run on a SimClock."""

    name = "sim"

    def __init__(
        self,
        seed: int | str,
        *,
        knobs: Knobs | None = None,
        events: Callable[[Callable[[], float]], Events] | None = None,
        history: History | None = None,
        checkpoint_every: int = 64,
    ) -> None:
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, SimClock):
            raise RuntimeError("a simulated world needs run_simulation: this run has another clock")
        self.seed = seed
        self.knobs = knobs or Knobs.draw(seed)
        self.epoch_s = EPOCH_S
        self.honest_disks = not self.knobs.disk.lying_sync_ratio
        self.in_processes = False
        self.timers = clock
        self.trace = clock.trace
        self.events = (events or Events)(clock.now_s)
        self.history: History = history or NoHistory()
        self.links: Links = _TracedLinks(seed, clock)
        self.metrics = Metrics()
        self._shelf: dict[str, bytes] = {}
        """Files of whoever operates the cluster: they are gone with it."""
        self.holder: Holder = _TracedHolder(clock)
        self._refusals = Refusals(self.events, clock.now_s)
        self.network = SimNetwork(
            clock,
            self.links,
            seed,
            split_ratio=self.knobs.split_ratio,
            checkpoint_every=checkpoint_every,
            on_refused=self._refused,
        )
        self._machines: dict[str, EmulatedMachine] = {}

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *error: object) -> None:
        for machine in self._machines.values():
            if machine.life is not None:
                machine.life.end(crash=False)
        await trio.lowlevel.cancel_shielded_checkpoint()

    # --- emu.machine.world.World -----------------------------------------------------------------

    def machine(self, spec: MachineSpec) -> EmulatedMachine:
        found = self._machines.get(spec.name)
        if found is not None:
            return found
        address = self.network.add_machine(spec)
        clock = MachineClock(
            self.timers,
            offset_s=spec.clock.offset_s,
            drift_ratio=spec.clock.drift_ratio,
            reached=self.trace.reach,
        )
        files = SimFiles(
            spec.name,
            random.Random(f"{self.seed}/disk/{spec.name}"),
            habits=self.knobs.disk,
            trace=self._trace_disk,
            reached=self.trace.reach,
        )
        made = EmulatedMachine(
            self, spec, address, MachineDisk(files, self.timers, spec.disk), clock
        )
        self._machines[spec.name] = made
        return made

    def remove_machine(self, name: str) -> None:
        machine = self._machines.pop(name)
        assert machine.life is None or machine.life.dead, f"{name} is running"
        self.network.remove_machine(name)

    def endpoint(self, name: str, port: int) -> str:
        return f"{self._machines[name].address}:{port}"

    def operator_network(self) -> Network:
        return operator_card(self.network)

    def outside_network(self) -> Network:
        return outside_card(self.network)

    def machines(self) -> Iterable[EmulatedMachine]:
        return self._machines.values()

    # --- emu.machine.machine.Hypervisor -----------------------------------------------------------

    def card(self, spec: MachineSpec, life: Life) -> Network:
        self._note("boot", spec.name, f"generation {life.generation}")
        life.own(_LastNote(self.timers, spec.name))
        return SimCard(self.network, self.network.hosts[spec.name], life)

    def power(self, name: str, on: bool) -> None:
        host = self.network.host(name)
        if host is not None:
            self.network.set_power(host, on)

    def save(self, path: str, data: bytes) -> None:
        self._shelf[path] = data

    def load(self, path: str) -> bytes:
        if path not in self._shelf:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self._shelf[path]

    def log_for(self, spec: MachineSpec) -> Log:
        log: Log = self.events.logger(node=spec.name, tier=spec.tier, region=spec.region)
        return log

    def rare_for(self, spec: MachineSpec) -> Callable[[str], bool]:
        """The switches of this machine: which names are hot is the seed's choice, for all alike."""
        names_ratio, ratio = self.knobs.rare_names_ratio, self.knobs.rare_ratio
        streams: dict[str, Callable[[], float]] = {}

        def rare(name: str) -> bool:
            draw = streams.get(name)
            if draw is None:
                hot = random.Random(f"{self.seed}/rare/{name}").random() < names_ratio
                own = random.Random(f"{self.seed}/rare/{name}/{spec.name}")
                draw = streams[name] = own.random if hot else _never
            return draw() < ratio

        return rare

    @property
    def reached(self) -> Callable[[str], object]:
        return self.trace.reach

    # --- being believed ------------------------------------------------------------------

    def settle(self) -> None:
        """After boot: nothing to settle in virtual time."""

    def fidelity(self) -> dict[str, Any]:
        """Virtual time is never late."""
        return {
            "loop_lag_s": {"p50": 0.0, "p99": 0.0, "max": 0.0},
            "culprit": "",
            "trustworthy": True,
            "reasons": [],
        }

    def _trace_disk(self, line: bytes) -> None:
        self.trace.disk(self.timers.now, line)

    def _refused(self, dialer: str, target: str, why: str) -> None:
        self._note("refused", dialer, why)
        self._refusals.tell(dialer, target, why)

    def _note(self, kind: str, source: str, detail: str) -> None:
        self.trace.note(self.timers.now, kind, source, "", detail)


def _never() -> float:
    return 1.0


class _LastNote:
    """A generation's end, in the trace."""

    def __init__(self, clock: SimClock, node: str) -> None:
        self._clock = clock
        self._node = node

    def end(self, *, crash: bool) -> None:
        self._clock.trace.note(self._clock.now, "crash" if crash else "kill", self._node)


class _TracedHolder(PauseHolder):
    def __init__(self, clock: SimClock) -> None:
        super().__init__()
        self._clock = clock

    def hold(self, life: Life) -> None:
        self._clock.trace.note(self._clock.now, "pause", life.node)
        super().hold(life)

    def release(self, life: Life) -> None:
        self._clock.trace.note(self._clock.now, "unpause", life.node)
        super().release(life)


class _TracedLinks(Links):
    def __init__(self, seed: int | str, clock: SimClock) -> None:
        super().__init__(seed, clock.trace.reach)
        self._clock = clock

    def shape(self, shaper: Shaper) -> None:
        self._note("shape", "")
        super().shape(shaper)

    def add(self, rule: Rule) -> RuleHandle:
        ends = f"{' '.join(sorted(rule.first))} / {' '.join(sorted(rule.second))}"
        self._note(type(rule).__name__.lower(), f"{ends} {'both' if rule.both else 'one way'}")
        return super().add(rule)

    def remove(self, number: int) -> None:
        self._note("remove", str(number))
        super().remove(number)

    def heal(self) -> None:
        self._note("heal", "")
        super().heal()

    def _note(self, kind: str, detail: str) -> None:
        self._clock.trace.note(self._clock.now, kind, "links", "", detail)
