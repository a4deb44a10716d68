"""The faults of a run: what each met, since when, and how it is undone. What a fault does is in
inject.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from emu.machine.world import Timers
from emu.model.expectations import WHEN_OVER
from emu.model.faults import Fault, to_record
from emu.model.topology import FaultItem
from emu.running.layers import Layers
from nodes.base import Log
from nodes.operations import Progress

Undo = Callable[[], Awaitable[None]]


class UnderWay(Protocol):
    """An operation as everybody may look at it (emu/operations/operating.py does it)."""

    verb: str
    main: str
    """What it is done to."""
    progress: Progress | None
    """As it was when last looked at."""
    over: trio.Event


@dataclass(slots=True)
class Planned:
    """An item of the run's own timeline, and what became of it."""

    item: FaultItem
    has_run: bool = False
    problem: str = ""
    """Why it could not be done."""

    @property
    def not_run(self) -> str:
        """What there is to say of it at the end of the run; "" if it was done."""
        if self.has_run:
            return ""
        item, target = self.item, to_record(self.item.fault)
        what = f"`{item.fault.verb} {_words(target[item.fault.main])}`"
        where = f"line {item.line}: " if item.line else ""
        if self.problem:
            return f"{where}{what} was not possible: {self.problem}"
        if item.on:
            return f"{where}{what} waited for the event `{item.on}`, which did not come"
        return f"{where}{what} is at {item.at_s:g} s, {WHEN_OVER}"


@dataclass(slots=True)
class ActiveFault:
    """A fault that can still be undone."""

    number: int
    fault: Fault
    since_s: float
    until_s: float | None
    undo: Undo

    @property
    def nodes(self) -> tuple[str, ...]:
        """Whom it met, where it ends nodes or holds them."""
        return getattr(self.undo, "names", ())

    @property
    def over(self) -> bool:
        """Whether it was undone by other means (`start` after `kill`)."""
        check = getattr(self.undo, "over", None)
        return check is not None and bool(check())


class Faults:
    """Every fault of one cluster, numbered from 1."""

    def __init__(self, timers: Timers, log: Log) -> None:
        self.active: dict[int, ActiveFault] = {}
        self.timeline: list[dict[str, Any]] = []
        """Every fault with its start and end, for reports and `--record`."""
        self.planned: list[Planned] = []
        """What the run's own timeline is to do."""
        self.layers = Layers()
        self._timers = timers
        self._log = log

    def begun(
        self,
        fault: Fault,
        undo: Undo | None,
        began_s: float,
        for_s: float | None,
        *,
        idle: bool = False,
    ) -> int:
        """Remember a fault that was done; it lasts if something undoes it. `idle`: it came to
        nothing, as all was so already. Returns its number."""
        number = len(self.timeline) + 1
        record = {"number": number, "at_s": round(began_s, 6), **to_record(fault)}
        if idle:
            record["idle"] = True
        self.timeline.append(record)
        if for_s is not None:
            record["for_s"] = for_s
        if undo is None:
            return number
        until_s = None if for_s is None else began_s + for_s
        active = self.active[number] = ActiveFault(number, fault, began_s, until_s, undo)
        if active.nodes:
            record["affected"] = list(active.nodes)
        self._log.info("fault started", **_shown(fault), number=number)
        return number

    @property
    def by_hand(self) -> int:
        """How many were done that the run's own timeline has not asked for."""
        return len(self.timeline) - sum(each.has_run for each in self.planned)

    async def undo(self, number: int) -> None:
        """End one that is active; nothing happens if it has ended."""
        active = self.active.pop(number, None)
        if active is None:
            return
        await active.undo()
        self._ended(active)

    async def undo_all(self) -> None:
        """The newest first; but what several have set goes back to what was there first, and
        through nothing between."""
        for each in self.active.values():
            lift = getattr(each.undo, "lift", None)
            if lift is not None:
                lift()
        for number in sorted(self.active, reverse=True):
            await self.undo(number)

    def end_what_is_over(self) -> None:
        """Nodes have started or resumed: some faults may have been undone by that."""
        for number in [number for number, each in self.active.items() if each.over]:
            self._ended(self.active.pop(number))

    def _ended(self, active: ActiveFault) -> None:
        for record in self.timeline:
            if record["number"] == active.number:
                record["ended_s"] = round(self._timers.now_s(), 6)
        self._log.info("fault ended", **_shown(active.fault), number=active.number)


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _shown(fault: Fault) -> dict[str, Any]:
    return {key: value for key, value in to_record(fault).items() if value not in ("", None)}
