"""What an operator may do to the tiers of one family (promote, reshard, drain ...), and the faults
that only this family can have. Records only: a Kind holds them, emu/operations/ runs them.

An operation is an RPC of the family: a word with options, a method that begins it, and where it
takes its time, one that says how far it is.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol

OPERATOR_TIMEOUT_S: Final = 5.0
ANY_TEXT: Final = {"any_text": True}
"""The metadata of a field whose value is anybody's text, an empty one, too."""
DOWN: Final = "it is down"
"""Why a node does not answer that has no process: nor does it remember anything but its disk."""


class Word(Protocol):
    """A frozen dataclass, as emu/model/faults.py has them: its fields are the options and carry
    their units, its docstring is the help. `verb` is its word, `main` the field that the word's
    own value fills: `target` (words that name nodes) or `tier` (a tier, or a group of them).
    `breaks`: whether it is a fault, so that whoever watches sees that something is broken."""

    verb: ClassVar[str]
    main: ClassVar[str]
    breaks: ClassVar[bool]


def options_of(word: Any) -> list[Any]:
    """Its fields but the main one, in order."""
    return [getattr(word, each.name) for each in fields(word) if each.name != word.main]


def nothing(word: Any) -> list[Any]:
    """No params."""
    return []


class Method(NamedTuple):
    """A method of the admin listener, and the params that it takes for a word."""

    name: str
    params: Callable[[Any], Sequence[Any]] = nothing


class Progress(NamedTuple):
    """How far an operation is: `{"done", "of", "text", "over"}` on the wire."""

    done: int
    of: int
    """0: nobody knows how much there is to do."""
    text: str
    """In words, without the numbers: `moving`, `3 keys, longest pause 2 ms`."""
    over: bool
    answer: Any = None
    """What the node said, from which the result is made."""
    tiers: tuple[str, ...] | None = None
    """Of an operation that adds or removes tiers: those that are still needed."""

    @classmethod
    def from_wire(cls, answer: Any) -> Progress:
        """Raises ValueError for another shape."""
        match answer:
            case {"done": int(done), "of": int(of), "text": str(text), "over": bool(over)}:
                return cls(done, of, text, over, answer)
        raise ValueError(f"{str(answer)[:100]} is no progress: done, of, text, over")


class Ended(NamedTuple):
    """An operation that is over, for whoever makes its result."""

    answers: Mapping[str, Any]
    """Node → what it answered when it was begun."""
    progress: Progress | None
    counted: Mapping[str, float]
    """How much the metrics that the operation names have grown meanwhile, over all nodes."""
    took_s: float
    silent: Mapping[str, str] = {}
    """Of an operation that asks whoever answers: node → why it did not."""


def plain_result(ended: Ended) -> dict[str, Any]:
    """The answers, or what the progress came to."""
    last = ended.progress
    told = {"done": last.done, "of": last.of, "text": last.text} if last is not None else {}
    silent = {"silent": dict(ended.silent)} if ended.silent else {}
    return {**told, "answers": dict(ended.answers), **silent, "took_s": round(ended.took_s, 6)}


def plain_text(result: Mapping[str, Any]) -> str:
    """`done: evicted 7 of 7 in 0.31 s`, or an answer a line."""
    if result.get("text"):
        return f"{result['text']}: {result['done']} of {result['of']} in {result['took_s']:.2f} s"
    answers = [f"{name}: {answer}" for name, answer in result["answers"].items()]
    return "\n".join(answers + silent_lines(result))


def silent_lines(result: Mapping[str, Any]) -> list[str]:
    """Who did not answer, and why, a line each."""
    return [f"{name}: no answer: {why}" for name, why in result.get("silent", {}).items()]


class Reach(NamedTuple):
    """A tier that an operation may be done to, as whoever draws one sees it."""

    name: str
    group: str
    members: int


class Drawn(NamedTuple):
    """What was drawn, and what it takes: tiers that meanwhile lack a member, or another name for
    something of which there is only one at a time."""

    word: Any
    takes: tuple[str, ...] = ()


Draw = Callable[[random.Random, Sequence[Reach], Sequence[Any]], Drawn | None]
"""(rng, the tiers that it may be done to, the words of this verb that were drawn before)."""


@dataclass(frozen=True, slots=True)
class Resizing:
    """An operation that lets a group have more or fewer tiers of the kind. Machines are emu's: it
    boots those that are missing before the operation begins, and takes away those that its
    progress no longer names once it is over. What a group has come to is kept with its disks."""

    wanted: Callable[[Any], Sequence[str]]
    """The tiers that the word asks for. Raises ValueError."""
    order: Callable[[str], Any]
    """Sorts the group's tiers: a new one is made like the last."""
    kept: Callable[[str, int, int], str]
    """(group, tiers there, tiers in the file) → what to say where they differ."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One word that a kind brings. With `undo` it lasts (for so long, or until it is healed)."""

    word: type[Any]
    of: str
    """What it may be done to, for messages: `database tier`."""
    begin: Method | None = None
    asks: Literal["leader", "one", "each", "whoever answers"] = "each"
    """Who is asked: of a tier whoever is primary, one node alone, or every node that is meant; with
    the last, those that do not answer are told by name, unless nobody does."""
    led_by: Callable[[str], str] | None = None
    """The tier whose leader is asked, by the group or tier that is meant; itself if not said."""
    run: Callable[[Console, Any], Awaitable[dict[str, Any]]] | None = None
    """Instead of `begin`, a procedure of more than one question; its result. Raises RpcError, and
    ValueError where the word makes no sense."""
    plan: Method | None = None
    """What it would do; nothing is changed (`--dry-run`)."""
    progress: Method | None = None
    """Asked until it is over. Without it, it is over when it is answered."""
    read: Callable[[Any], Progress] = Progress.from_wire
    cancel: str = ""
    """A method without params, which undoes what is under way as far as it can be undone; it
    answers whether there was anything."""
    undo: Method | None = None
    resizing: Resizing | None = None
    of_group: bool = False
    """Whether the tiers that one declared tier stands for are meant together, by its name."""
    counts: tuple[str, ...] = ()
    """Metrics whose growth is part of the result."""
    result: Callable[[Ended], dict[str, Any]] = plain_result
    shown: Callable[[Mapping[str, Any]], str] = plain_text
    """The result for people."""
    shown_plan: Callable[[Any], str] = str
    succeeded: Callable[[Mapping[str, Any]], bool] = lambda result: True
    spans: tuple[str, str] | None = None
    """The events that begin and end it, where the nodes tell: a span on every graph."""
    draw: Draw | None = None
    """How the swarm draws it; None: it never does."""
    mostly: bool = False
    """Whether most runs of the swarm have it, so that other faults meet it on its way."""
    planned: Callable[[Reach], Any] | None = None
    """What a run of planned operations alone does to a tier of more than one member."""
    example: str = ""
    """How one says it, from its verb on; made of its options if not said."""

    @property
    def verb(self) -> str:
        return str(self.word.verb)


class Statements(NamedTuple):
    """A query language that a kind understands, a statement at a time (`emu sql`)."""

    of: str
    """What understands it, for messages: `database tier`."""
    run: Callable[[Console, str, str, dict[str, Any]], Awaitable[dict[str, Any]]]
    """(console, target words, statement, options) → who answered, and what. Raises RpcError,
    ValueError."""


class Member(NamedTuple):
    """A node as an operation's procedure sees it, with what it last said of itself."""

    name: str
    running: bool
    """Paused or not."""
    state: str
    role: str
    facts: Mapping[str, Any]
    led: bool = False
    """Whether its tier has a leader."""
    leads: bool = False
    """Whether it is the one."""


class Console(Protocol):
    """The operator's seat: what an operation's own procedure may do to the cluster. It sees nodes
    by name, and asks them over the wire."""

    def now_s(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    async def named(self, target: str) -> tuple[str, list[str]]:
        """The one tier that target words are of (it must be of the kind that is meant), and the
        nodes of it that they name. Raises ValueError."""
        ...

    def seen(self, tier: str) -> list[Member]:
        """All members of a tier, with the roles that they last had."""
        ...

    async def members(self, tier: str) -> list[Member]:
        """The same, where each is asked what it is now."""
        ...

    def is_running(self, name: str) -> bool: ...

    async def ask(
        self,
        name: str,
        method: str,
        *params: Any,
        timeout_s: float = OPERATOR_TIMEOUT_S,
        main: bool = False,
    ) -> Any:
        """Call an admin method, or with `main` one of the main port. Raises RpcError."""
        ...

    def tiers(self, name: str) -> list[str]:
        """The tiers of that name, or of that group, that can have it done. Raises ValueError."""
        ...

    def check_version(self, tier: str, changes: Mapping[str, Any]) -> None:
        """Raises ValueError unless members of the tier can run with these options changed."""
        ...

    async def replace(self, names: Sequence[str], changes: Mapping[str, Any]) -> None:
        """Drain and end these nodes, together, and start them with these options changed (none: as
        their tier has them); return when each is up, or has failed."""
        ...

    def of_other_version(self, tier: str, changes: Mapping[str, Any]) -> list[str]:
        """The members that run, and not with these options changed."""
        ...

    def adopt_version(self, tier: str, changes: Mapping[str, Any]) -> None:
        """The tier has these options from now on: who comes later has them, and who is down when
        it is started again."""
        ...

    def options(self, tier: str, names: Iterable[str]) -> dict[str, Any]:
        """What the tier has for these options now."""
        ...

    async def grow(self, tier: str, nodes: int, changes: Mapping[str, Any]) -> list[str]:
        """Let the tier have so many members; those that come, with these options changed and held
        back from traffic, are up or have failed. Raises ValueError."""
        ...

    async def shrink(self, tier: str, nodes: int) -> None:
        """Let it have so many again: the youngest are drained, and go."""
        ...

    def hold(self, names: Sequence[str], held: bool) -> None:
        """Keep these back from traffic, or no longer, all in one moment."""
        ...

    def served(self, names: Sequence[str]) -> Any:
        """What these nodes have answered since they last started (nodes/parts/canary.py)."""
        ...

    def save(self, path: str, data: bytes) -> None:
        """Write a file of the operator's, whole or not at all. Raises ValueError."""
        ...

    def load(self, path: str) -> bytes:
        """Read one. Raises ValueError."""
        ...

    def disk_names(self, name: str) -> list[str]:
        """Of the files on a node's disk, whether it runs or not. Raises ValueError."""
        ...

    def disk_file(self, name: str, file: str) -> bytes:
        """One of them, whole. Raises ValueError."""
        ...

    async def reinstall(self, disks: Mapping[str, Mapping[str, bytes]]) -> None:
        """End these nodes, and whoever is in front of their group and remembers what it was; then
        start them, these with a disk that has only these files. Raises RpcError where one does not
        come up."""
        ...

    @property
    def next_event(self) -> int: ...

    def events(self, since: int) -> Sequence[Mapping[str, Any]]:
        """What happened from that event on."""
        ...

    def tell(self, event: str, **facts: Any) -> None:
        """An event of the operation's own."""
        ...
