"""emu's own world where worker processes are on its network: it tells them of every change, and
believes of the whole no more than of the worst of them. What they make of it is in joined.py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from emu.live.network import LOCALHOST, Host
from emu.live.world import LiveWorld
from emu.machine.links import Links, Rule, RuleHandle, Shaper, Throttle, Trunk
from emu.machine.machine import EmulatedMachine
from emu.machine.world import MachineSpec
from emu.model.shaping import DeclaredShaper
from emu.processes.apart import OuterSubnet
from emu.processes.registry import Copy, News
from emu.processes.trunks import Cells, shared_memory
from nodes.metrics import Metrics

Tell = Callable[..., object]


class SharedWorld(LiveWorld):
    """`listeners` hear of each change of the network: a word and what belongs to it."""

    in_processes = True

    def __init__(self, *args: Any, outer: str = "", **options: Any) -> None:
        """`outer`: the address at which this computer is found, where some processes are on others
        (see apart.py); else all are on a 127.N network of this one."""
        if outer:
            options["aliases"] = False
        super().__init__(*args, zero_s=time.monotonic(), **options)
        self.outer = outer
        self.guests: dict[str, Tell] = {}
        """Who runs each node that is at an address of its own, and is to know who dials it."""
        self._told_of: dict[tuple[str, int], dict[Tell, None]] = {}
        """Of a socket of ours that is open: who knows whose it is."""
        self.listeners: dict[Tell, None] = {}
        self.trunks_fd = shared_memory()
        self._cells = Cells(self.trunks_fd)
        self.links = self._links = SharedLinks(args[0], self._cells, self.notify)
        self.links_seed: int | str = args[0]
        self.settled = False
        self.told: dict[int, dict[str, Any]] = {}
        """How far each worker may be believed, as it last said."""
        self.titles: dict[int, str] = {}
        """What each is called, where doubts name it."""
        self.doubts: list[str] = []
        """Of workers that have ended."""
        self._measured: dict[int, Copy] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self.outer:
            self.network.subnet = self._addresses = OuterSubnet()
            self.network.outer = self.network.common = self.outer
            self.network.shared = frozenset({self.outer, LOCALHOST})
            self.network.on_dialled = self._dialled
            self.network.on_forgotten = self._forgotten
        self.network.on_listening = self._listening
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:
        try:
            return await super().__aexit__(*exc)
        finally:
            os.close(self.trunks_fd)

    def notify(self, word: str, *params: Any) -> None:
        for listener in list(self.listeners):
            listener(word, *params)

    def machine(self, spec: MachineSpec) -> EmulatedMachine:
        before = len(self._machines)
        made = super().machine(spec)
        if len(self._machines) != before:
            self.notify("machine", made.spec, made.address)
        return made

    def remove_machine(self, name: str) -> None:
        super().remove_machine(name)
        self.notify("gone", name)

    def forget_machine(self, name: str, *, files_too: bool) -> None:
        """Of a machine that a worker has it is the worker who removes the files."""
        temporary, self.temporary = self.temporary, self.temporary and files_too
        try:
            self.remove_machine(name)
        finally:
            self.temporary = temporary

    def found_at(self, name: str, address: str) -> None:
        """A node's machine is (or will be) there from now on."""
        self._addresses.know(name, address)
        self._move(name, address)

    def lost_at(self, name: str) -> None:
        """It is there no more: whoever has that address next is somebody else."""
        self._addresses.forget(name)
        self._move(name, self._addresses.address(name))

    def _move(self, name: str, address: str) -> None:
        host = self.network.host(name)
        if host is not None and host.address != address:
            self.network.move(host, address)
            self.notify("machine", host.spec, address)

    def address_of(self, name: str) -> str:
        return self.network.hosts[name].address

    def _dialled(self, endpoint: tuple[str, int], dialer: str, target: str) -> None:
        tell = self.guests.get(target)
        if tell is not None and tell not in self._told_of.setdefault(endpoint, {}):
            self._told_of[endpoint][tell] = None
            tell("dials", endpoint, dialer)

    def _forgotten(self, endpoint: tuple[str, int]) -> None:
        for tell in self._told_of.pop(endpoint, ()):
            tell("closes", endpoint)

    def _listening(self, host: Host) -> None:
        self.notify("ports", host.spec.name, dict(host.ports))

    def believed(self, number: int, fidelity: dict[str, Any], news: News) -> None:
        """What a worker says of itself."""
        self.told[number] = fidelity
        if number not in self._measured:
            self._measured[number] = Copy(Metrics({"process": str(number)}))
        self._measured[number].take_over(news)
        if any(what is not None for _, _, what in news):
            self.metrics.merge(self._measured[number].metrics)

    def forget_worker(self, number: int) -> None:
        """It has ended: the next one of that number counts from the start."""
        doubts = self.told.pop(number, {}).get("reasons", ())
        title = self.titles.pop(number)
        self.doubts += [f"{title}, which has ended: {why}" for why in doubts]
        self._measured.pop(number, None)

    def listens(self, name: str, ports: dict[int, tuple[str, int]]) -> None:
        """Where a machine's ports are, if they are not where they should be."""
        host = self.network.host(name)
        if host is not None and host.ports != ports:
            host.ports = dict(ports)
            self.notify("ports", name, ports)

    def settle(self) -> None:
        super().settle()
        self.settled = True
        self.notify("settle")

    def snapshot(self) -> Iterator[tuple[Any, ...]]:
        """What somebody has to be told who knows nothing."""
        for machine in self.machines():
            yield "machine", machine.spec, self.address_of(machine.spec.name)
            host = self.network.host(machine.spec.name)
            if host is not None and host.ports:
                yield "ports", machine.spec.name, host.ports
        yield from self._links.snapshot()
        if self.settled:
            yield ("settle",)

    def fidelity(self) -> dict[str, Any]:
        """Of the worst process; `loop_lag_s` names it where that is a worker."""
        found = super().fidelity()
        for number, each in sorted(self.told.items()):
            found["reasons"] = [
                *found["reasons"], *(f"{self.titles[number]}: {why}" for why in each["reasons"])
            ]  # fmt: skip
            if each["loop_lag_s"]["p99"] > found["loop_lag_s"]["p99"]:
                worst = {key: each[key] for key in ("culprit", "held_s")}
                found |= {
                    **worst,
                    "loop_lag_s": {**each["loop_lag_s"], "process": self.titles[number]},
                }
            for key in ("host_withheld_s", "gc_longest_s"):
                found[key] = max(found[key], each[key])
        found["reasons"] = [*found["reasons"], *self.doubts]
        found["trustworthy"] = not found["reasons"]
        return found


class SharedLinks(Links):
    """Links whose changes are told, and whose wider trunks are everybody's."""

    def __init__(self, seed: int | str, cells: Cells, tell: Tell) -> None:
        super().__init__(seed)
        self._cells = cells
        self._tell = tell
        self._armed = False
        self._cell_of: dict[str, int] = {}
        """Of a trunk, by its name; of the trunk of a rule, by its number."""

    def shape(self, shaper: Shaper) -> None:
        for name in shaper.trunks() if isinstance(shaper, DeclaredShaper) else ():
            self._take(name)
        super().shape(shaper)
        self._armed = True
        self._tell("shape", *self._shaped())

    def _shaped(self) -> tuple[Any, ...]:
        return self._shaper, dict(self._cell_of)

    def add(self, rule: Rule) -> RuleHandle:
        number = self._next_rule
        if isinstance(rule, Throttle):
            self._take(str(number))
        handle = super().add(rule)
        self._tell("rule", number, rule, self._cell_of.get(str(number)))
        return handle

    def remove(self, number: int) -> None:
        super().remove(number)
        self._give_back(number)
        self._tell("unrule", number)

    def heal(self) -> None:
        for number in self._rules:
            self._give_back(number)
        super().heal()
        self._tell("heal")

    def set_power(self, name: str, on: bool) -> None:
        changes = (name not in self._dark) is not on
        super().set_power(name, on)
        if changes:
            self._tell("power", name, on)

    def snapshot(self) -> Iterator[tuple[Any, ...]]:
        if self._armed:
            yield "shape", *self._shaped()
        for number, (rule, _) in self._rules.items():
            yield "rule", number, rule, self._cell_of.get(str(number))
        for name in self._dark:
            yield "power", name, False

    def _new_trunk(self, name: str, bandwidth_bytes_per_s: float) -> Trunk:
        return self._cells.trunk(bandwidth_bytes_per_s, self._cell_of.get(name))

    def _trunk_of_rule(self, number: int, rule: Rule) -> Trunk | None:
        if not isinstance(rule, Throttle):
            return None
        return self._new_trunk(str(number), rule.bandwidth_bytes_per_s)

    def _take(self, name: str) -> None:
        if name not in self._cell_of:
            cell = self._cells.take()
            if cell is not None:
                self._cell_of[name] = cell

    def _give_back(self, number: int) -> None:
        cell = self._cell_of.pop(str(number), None)
        if cell is not None:
            self._cells.give_back(cell)
