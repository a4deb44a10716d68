"""The Context that a node gets, in both worlds: its machine's parts, seen by one generation."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from emu.machine.life import Life
from emu.machine.world import MachineSpec
from nodes.base import Access, Clock, Cpu, Disk, History, Log, Network, Operation
from nodes.metrics import Metrics

RUN: Final = "/"
"""In a seed: behind it comes what tells runs on the same disks apart."""


class NodeContext:
    """nodes.base.Context."""

    def __init__(
        self,
        spec: MachineSpec,
        life: Life,
        *,
        seed: int | str,
        network: Network,
        disk: Disk,
        clock: Clock,
        cpu: Cpu,
        metrics: Metrics,
        log: Log,
        access: Access,
        history: History,
        rare: Callable[[str], bool],
        reached: Callable[[str], object],
    ) -> None:
        self.name = spec.name
        self.tier = spec.tier
        self.kind = spec.kind
        self.region = spec.region
        self.generation = life.generation
        self.run = str(seed).partition(RUN)[2]
        self.network = network
        self.disk = disk
        self.clock = clock
        self.cpu = cpu
        self.metrics = metrics
        self.log: Log = _LivingLog(log, life)
        self.access: Access | None = access
        self.history: History = _LivingHistory(history, life)
        self._seed = f"{seed}/node/{spec.name}/{life.generation}"
        self._rngs: dict[str, random.Random] = {}
        self._rare = rare
        self.reached = reached

    def rng(self, name: str) -> random.Random:
        """The same object each time: whoever shares a stream goes on with it."""
        found = self._rngs.get(name)
        if found is None:
            found = self._rngs[name] = random.Random(f"{self._seed}/{name}")
        return found

    def rare(self, name: str) -> bool:
        return self._rare(name)


class _LivingLog:
    """The dead write nothing."""

    def __init__(self, log: Log, life: Life) -> None:
        self._log = log
        self._life = life

    def debug(self, event: str, /, **fields: Any) -> Any:
        if not self._life.dead:
            self._log.debug(event, **fields)

    def info(self, event: str, /, **fields: Any) -> Any:
        if not self._life.dead:
            self._log.info(event, **fields)

    def warning(self, event: str, /, **fields: Any) -> Any:
        if not self._life.dead:
            self._log.warning(event, **fields)

    def error(self, event: str, /, **fields: Any) -> Any:
        if not self._life.dead:
            self._log.error(event, **fields)


class _NoOperation:
    def ok(self, value: Any = None) -> None: ...
    def fail(self, reason: str = "") -> None: ...
    def info(self, reason: str = "") -> None: ...


class NoHistory:
    """Where nobody keeps a history."""

    def invoke(
        self, process: str, f: str, value: Any = None, key: Any = None, *, model: str = "kv"
    ) -> Operation:
        return _NoOperation()

    def leave(self, key: Any, *, model: str = "kv") -> None: ...


class _LivingHistory:
    """The dead invoke nothing; what a dead client had open stays open (its outcome is unknown)."""

    def __init__(self, history: History, life: Life) -> None:
        self._history = history
        self._life = life

    def invoke(
        self, process: str, f: str, value: Any = None, key: Any = None, *, model: str = "kv"
    ) -> Operation:
        if self._life.dead:
            return _NoOperation()
        operation = self._history.invoke(process, f, value, key, model=model)
        return _LivingOperation(operation, self._life)

    def leave(self, key: Any, *, model: str = "kv") -> None:
        if not self._life.dead:
            self._history.leave(key, model=model)


class _LivingOperation:
    __slots__ = ("_life", "_operation")

    def __init__(self, operation: Operation, life: Life) -> None:
        self._operation = operation
        self._life = life

    def ok(self, value: Any = None) -> None:
        if not self._life.dead:
            self._operation.ok(value)

    def fail(self, reason: str = "") -> None:
        if not self._life.dead:
            self._operation.fail(reason)

    def info(self, reason: str = "") -> None:
        if not self._life.dead:
            self._operation.info(reason)
