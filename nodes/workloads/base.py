"""What every workload is made of. No tier is known here."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import trio

from nodes.base import Context
from nodes.wire.directory import Directory

TURNS_USED: Final = 16
"""So many turns back an object is still read at the end."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a topology says of a workload."""

    asks: str
    keys: int = 4
    """How many objects are in use at a time."""
    operations_per_key: int = 100
    """After so many of this node's operations an object is left for a new one: what it takes to
    judge a history grows fast with its length."""
    reads: str = "primary"
    """primary, or replicas."""
    tokens: bool = True
    """Whether reads at replicas carry the session's token (read your writes, monotonic reads)."""
    timeout_s: float = 5.0
    uses: tuple[str, ...] = ()
    """Other tiers that the workload needs beside."""


class Setting(NamedTuple):
    """Where a workload runs."""

    ctx: Context
    nursery: trio.Nursery
    directory: Directory
    options: Options


@dataclass(slots=True)
class Session:
    """One sequential process: it does one operation after the other."""

    process: str
    token: int = 0
    """The newest state that it has seen (an LSN)."""


class Step(NamedTuple):
    """An operation to do, in the words of the history (emu/checks/shapes.py)."""

    f: str
    key: Any = None
    value: Any = None

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, so that it may be done again."""
        return self.f in ("read", "get", "balances", "poll")


class Workload(Protocol):
    """Operations on one tier. `model` judges them; `guarantee` is what was promised of them, where
    that is less than the model says."""

    model: str
    guarantee: str

    async def prepare(self) -> None:
        """Make what must be there before the first operation. Raises RpcError; it is repeated."""
        ...

    def next(self, rng: random.Random, number: int) -> Step:
        """The operation with that number (of this node, counted from 1)."""
        ...

    async def do(self, step: Step, session: Session) -> Any:
        """Do it; the answer as the history has it. Raises RpcError."""
        ...

    def final_reads(self) -> Sequence[Step]:
        """What is read at the end, when nothing is written any more."""
        ...


class KeyRing:
    """The objects that are in use: each is left for a new one after so many operations.

    Nodes of a tier share them, and are not equally fast: those of some turns before are `used`
    still, and read at the end. Older ones are `parting`: read a last time, and left for good.
    """

    def __init__(self, prefix: str, options: Options, ctx: Context, model: str) -> None:
        self._prefix = prefix
        self._options = options
        self._history, self._model = ctx.history, model
        self.used: dict[str, int] = {}
        """Each with the turn in which it was used last."""
        self.notes: dict[str, Any] = {}
        """What a workload remembers of those."""
        self.parting: list[str] = []
        self._turn = 0

    def choose(self, rng: random.Random, number: int) -> str:
        options = self._options
        slot = rng.randrange(options.keys)
        turn = (number - 1) // (options.operations_per_key * options.keys)
        if turn > self._turn:
            self._turn = turn
            last = turn - TURNS_USED
            self.parting = [key for key, turn in self.used.items() if turn <= last]
        key = f"{self._prefix}{slot}-{turn}"
        self.used[key] = turn
        return key

    def leave(self, key: str) -> None:
        """It was read a last time."""
        self.used.pop(key, None)
        self.notes.pop(key, None)
        self._history.leave(key, model=self._model)
