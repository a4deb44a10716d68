"""One emulated network in several processes: who is on it, and what its links do, as data.

emu's own world tells of every change; a child's world joins the 127.N network that emu claimed,
knows every machine by its address, and applies the same shapes and rules to what it sends itself.
What several senders share (bandwidth) is counted by each process for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

from emu.live.addresses import Subnet
from emu.live.world import LiveWorld
from emu.machine.clock import MachineClock
from emu.machine.events import Events
from emu.machine.links import PLAIN, Links, Rule, RuleHandle, Shape, Shaper
from emu.machine.machine import EmulatedMachine
from emu.machine.world import MachineSpec, Timers
from nodes.base import OUTSIDE, Operation


@dataclass(frozen=True)
class NetworkState:
    """All that a process needs to know of a network, whatever it knew before."""

    subnet: int
    machines: dict[str, tuple[MachineSpec, str]] = field(default_factory=dict)
    """Name → spec and address."""
    shapes: dict[tuple[str, str], tuple[Shape, str]] = field(default_factory=dict)
    """(source, target) → shape and trunk, where it is not plain."""
    rules: dict[int, Rule] = field(default_factory=dict)
    dark: tuple[str, ...] = ()
    """Machines without power."""


class SharedWorld(LiveWorld):
    """emu's own world, whose network other processes are on. `listeners` hear of each change."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.listeners: dict[Callable[[], object], None] = {}
        self.links: SharedLinks = SharedLinks(args[0], self.changed)

    def changed(self) -> None:
        for listener in list(self.listeners):
            listener()

    def machine(self, spec: MachineSpec) -> EmulatedMachine:
        before = len(self._machines)
        made = super().machine(spec)
        if len(self._machines) != before:
            self.changed()
        return made

    def remove_machine(self, name: str) -> None:
        super().remove_machine(name)
        self.changed()

    def network_state(self) -> NetworkState:
        machines = {each.spec.name: (each.spec, each.address) for each in self.machines()}
        return NetworkState(
            self.network.subnet.number,
            machines,
            self.links.shapes([*machines, OUTSIDE]),
            self.links.rules(),
            self.links.dark(),
        )


class SharedLinks(Links):
    """Links that can be told of."""

    def __init__(self, seed: int | str, changed: Callable[[], object]) -> None:
        super().__init__(seed)
        self._changed = changed

    def shape(self, shaper: Shaper) -> None:
        super().shape(shaper)
        self._changed()

    def add(self, rule: Rule) -> RuleHandle:
        handle = super().add(rule)
        self._changed()
        return handle

    def remove(self, number: int) -> None:
        super().remove(number)
        self._changed()

    def heal(self) -> None:
        super().heal()
        self._changed()

    def set_power(self, name: str, on: bool) -> None:
        super().set_power(name, on)
        self._changed()

    def shapes(self, names: list[str]) -> dict[tuple[str, str], tuple[Shape, str]]:
        found = {pair: self._shaper(*pair) for pair in permutations(names, 2)}
        return {pair: shaped for pair, shaped in found.items() if shaped[0] != PLAIN}

    def rules(self) -> dict[int, Rule]:
        return {number: rule for number, (rule, _) in self._rules.items()}

    def dark(self) -> tuple[str, ...]:
        return tuple(self._dark)


# --- in the child ----------------------------------------------------------------------------


class JoinedWorld(LiveWorld):
    """A child's world, with one machine of its own on emu's network."""

    def __init__(
        self,
        seed: int | str,
        data: Path,
        own: MachineSpec,
        state: NetworkState,
        *,
        monotonic_s: float,
        wall_s: float,
        drift_ratio: float,
        events: Callable[[Callable[[], float]], Events],
    ) -> None:
        """`monotonic_s` and `wall_s`: what the machine's clock reads just now."""
        super().__init__(
            seed, data, temporary=True, events=events, history=NoHandover(), aliases=False
        )
        self._own = own
        self._state = state
        self._clock = CarriedClock(self.timers, monotonic_s, wall_s, drift_ratio)
        self._rule_handles: dict[int, RuleHandle] = {}

    async def __aenter__(self) -> JoinedWorld:
        await super().__aenter__()
        self.network.subnet = self._subnet = JoinedSubnet(self._state.subnet)
        self.apply(self._state)
        return self

    def machine(self, spec: MachineSpec) -> EmulatedMachine:
        made = super().machine(spec)
        if spec.name == self._own.name and made.clock is not self._clock:
            made = EmulatedMachine(self, spec, made.address, made._disk, self._clock)
            self._machines[spec.name] = made
        return made

    def apply(self, state: NetworkState) -> None:
        """Make it so: other machines by name and address, shapes, rules, power."""
        before, self._state = self._state, state
        for name, (spec, address) in state.machines.items():
            self._subnet.know(name, address)
            if name != self._own.name and self.network.host(name) is None:
                self.network.add_machine(spec)
        for name in before.machines:
            if name not in state.machines:
                self.network.remove_machine(name)
        self.links.shape(lambda source, target: state.shapes.get((source, target), (PLAIN, "")))
        for number in [each for each in self._rule_handles if each not in state.rules]:
            self._rule_handles.pop(number).remove()
        for number, rule in state.rules.items():
            if number not in self._rule_handles:
                self._rule_handles[number] = self.links.add(rule)
        for name in state.machines:
            if name != self._own.name:
                self.links.set_power(name, name not in state.dark)


class JoinedSubnet(Subnet):
    """The network that another process has claimed, with the addresses that it gave."""

    def __init__(self, number: int) -> None:
        super().__init__(aliases=False)
        self.aliases = True
        self.number = number

    def know(self, name: str, address: str) -> None:
        self._by_name[name] = address


class CarriedClock(MachineClock):
    """Goes on from what the machine's clock read when the process was begun."""

    def __init__(
        self, timers: Timers, monotonic_s: float, wall_s: float, drift_ratio: float
    ) -> None:
        super().__init__(timers, drift_ratio=drift_ratio, epoch_s=wall_s - monotonic_s)
        self._anchor_s = self._last_s = monotonic_s


class NoHandover:
    """nodes.base.History for a process that cannot hand histories over."""

    def invoke(self, *args: Any, **options: Any) -> Operation:
        raise RuntimeError(
            "a child process hands no history over; run nodes that record one in emu's own process"
        )
