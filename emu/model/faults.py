"""The one vocabulary of faults and operations: command line, YAML timeline, Python API and swarm
all use it. A fault is a frozen dataclass whose fields carry their units (`latency_s` is
`latency: 40ms` in YAML and `--latency 40ms` on the command line); emu/running/inject.py does it.
Here are the words that every cluster knows; kinds add their own (vocabulary.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar, Final, Literal, Protocol, get_type_hints

from emu.machine import units


class Fault(Protocol):
    """`verb` is its word; `main` is the field that the word's own value fills; `breaks` says
    whether something is broken by it, or it is what operators do."""

    verb: ClassVar[str]
    main: ClassVar[str]
    breaks: ClassVar[bool]


@dataclass(frozen=True, slots=True)
class Kill:
    """The process dies: memory is gone, the disk keeps what was written, connections are reset."""

    verb: ClassVar[str] = "kill"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str


@dataclass(frozen=True, slots=True)
class Crash:
    """Power cut: what was not synced is lost or torn, and peers hear only silence."""

    verb: ClassVar[str] = "crash"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str
    in_write: bool = False
    """While its next write is on the way to the disk (or after a second)."""
    file: str = ""
    """The same, of a file whose name begins so (or after three seconds): `file: log`."""


@dataclass(frozen=True, slots=True)
class Wipe:
    """The machine is replaced: the node dies, and the disk it will start with is empty."""

    verb: ClassVar[str] = "wipe"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str


@dataclass(frozen=True, slots=True)
class Stop:
    """An orderly end: announced in the directory, drained, then ended."""

    verb: ClassVar[str] = "stop"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str
    now: bool = False
    """Without waiting for what is in flight."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start what is down."""

    verb: ClassVar[str] = "start"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str


@dataclass(frozen=True, slots=True)
class Restart:
    """Stop in order, then start again."""

    verb: ClassVar[str] = "restart"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str
    now: bool = False
    """Without waiting for what is in flight."""


@dataclass(frozen=True, slots=True)
class Pause:
    """It neither runs nor answers; its connections stay open (SIGSTOP, a long GC)."""

    verb: ClassVar[str] = "pause"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str


@dataclass(frozen=True, slots=True)
class Unpause:
    """Let a paused node run on."""

    verb: ClassVar[str] = "unpause"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str


@dataclass(frozen=True, slots=True)
class Partition:
    """Cut two groups apart. `hold`: packets vanish. `reject`: connections are reset."""

    verb: ClassVar[str] = "partition"
    main: ClassVar[str] = "between"
    breaks: ClassVar[bool] = True
    between: tuple[str, ...]
    """Two groups, apart by a blank (`emu partition lb web`), or one that is cut off from all
    others: `partition: [lb, web]`."""
    one_way: bool = False
    """Only what the first group sends to the second is lost."""
    mode: Literal["hold", "reject"] = "hold"
    """What becomes of packets: they vanish (hold), or the connection is reset (reject)."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Add latency to what the target sends and receives (or only between it and `to`)."""

    verb: ClassVar[str] = "slow"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str
    latency_s: float = 0.1
    """Added in each direction, if not `one_way`."""
    jitter_s: float = 0.0
    """Its standard deviation."""
    to: str = "all"
    """The other end; everybody else if not said."""
    one_way: bool = False
    """Only what the target sends is late."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Lose packets: retransmission delay on streams, real loss of datagrams."""

    verb: ClassVar[str] = "loss"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str
    loss_ratio: float = 0.05
    """The share of packets."""
    to: str = "all"
    """The other end; everybody else if not said."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """Limit the bandwidth that all traffic between the two shares, each way."""

    verb: ClassVar[str] = "throttle"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str
    bandwidth_bytes_per_s: float = 125_000.0
    """For all traffic between the two, in each direction."""
    to: str = "all"
    """The other end; everybody else if not said."""

    def __post_init__(self) -> None:
        if self.bandwidth_bytes_per_s < 1:
            raise ValueError("`bandwidth` must be at least 1B/s (a partition lets nothing through)")


@dataclass(frozen=True, slots=True)
class Disk:
    """Make a disk slow, failing or full."""

    verb: ClassVar[str] = "disk"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str
    slow_factor: float = 1.0
    """Reads and syncs take so many times as long: `slow_factor: 50`."""
    fail: Literal["none", "reads", "writes", "both"] = "none"
    """Reads, writes or both raise an input/output error."""
    full: bool = False
    """No byte more can be written."""
    flip_bit: str = ""
    """A file's name: damage one bit in the middle of it, for good: `flip_bit: log`."""

    def __post_init__(self) -> None:
        if self.slow_factor == 1 and self.fail == "none" and not (self.full or self.flip_bit):
            raise ValueError("it does nothing; say `slow_factor`, `fail`, `full` or `flip_bit`")


@dataclass(frozen=True, slots=True)
class Skew:
    """Step a node's wall clock, or let its clock run at another rate."""

    verb: ClassVar[str] = "skew"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str
    step_s: float = 0.0
    """Its wall clock jumps ahead by so much (below 0: back)."""
    drift_ratio: float = 0.0
    """Its clock runs so much faster (below 0: slower)."""

    def __post_init__(self) -> None:
        units.check_drift(self.drift_ratio)
        if not (self.step_s or self.drift_ratio):
            raise ValueError("it does nothing; say `step` or `drift`")


@dataclass(frozen=True, slots=True)
class Late:
    """Let each timer of a node come late, by any time up to that: a machine that has too much to
    do."""

    verb: ClassVar[str] = "late"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str
    up_to_s: float = 0.1
    """The latest that a timer may be."""

    def __post_init__(self) -> None:
        if self.up_to_s <= 0:
            raise ValueError("`up_to` must be above 0: else nothing is late")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Give each target another number of cores: vertical scaling while it runs."""

    verb: ClassVar[str] = "cpu"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str
    cores: int = 1
    """How many requests are worked on at a time: `cores: 2`."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Give each target a faster or a larger disk (or the contrary): vertical scaling while it
    runs. What is not said stays as it is."""

    verb: ClassVar[str] = "storage"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str
    bandwidth_bytes_per_s: float = 0.0
    """How fast bytes come and go (0: as before): `bandwidth: 500MB/s`."""
    capacity_bytes: int = 0
    """How much it holds (0: as before); with more than that on it, it is full: `capacity: 2GB`."""

    def __post_init__(self) -> None:
        if self.bandwidth_bytes_per_s < 0 or self.capacity_bytes < 0:
            raise ValueError("`bandwidth` and `capacity` are above 0, or left out")


@dataclass(frozen=True, slots=True)
class Scale:
    """Let a tier have `nodes` members; those that go are drained first."""

    verb: ClassVar[str] = "scale"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    """The tier."""
    nodes: int = 1
    """How many members it shall have: `nodes: 5`."""


@dataclass(frozen=True, slots=True)
class Call:
    """Call an admin method of each target (drain a server ...)."""

    verb: ClassVar[str] = "call"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str
    method: str = "ping"
    """A method of its admin listener."""
    params: tuple[Any, ...] = ()
    """Its params: `params: [web-3, drain]`."""


@dataclass(frozen=True, slots=True)
class Heal:
    """Undo every fault that is active, or only the one of that number (`emu faults` lists them)."""

    verb: ClassVar[str] = "heal"
    main: ClassVar[str] = "what"
    breaks: ClassVar[bool] = False
    what: str = "all"
    """A fault's number, or all."""


VERBS: Mapping[str, type[Fault]] = {
    fault.verb: fault
    for fault in (
        Kill, Crash, Wipe, Stop, Start, Restart, Pause, Unpause, Partition, Slow, Loss, Throttle,
        Disk, Skew, Late, Cpu, Storage, Scale, Call, Heal,
    )
}  # fmt: skip


OF_LINKS: Final = ("slow", "loss", "throttle", "partition")
"""Verbs whose targets are ends of links, of which the outside is one."""
PASSING: Final = ("start", "restart", "unpause", "call", "heal")
"""Verbs that leave nothing to undo: `for` makes no sense of them."""

OF_LIVES: Final = ("start", "unpause", "scale", "heal")
"""Verbs that come to nothing where nobody lives otherwise for them, and no fault ends."""


def to_record(fault: Fault) -> dict[str, Any]:
    """The fault as plain data: `{"verb": ..., **fields}`; `from_record` reads it back."""
    return {"verb": fault.verb, **asdict(fault)}  # type: ignore[call-overload]


def from_record(record: Mapping[str, Any], verbs: Mapping[str, type[Fault]] = VERBS) -> Fault:
    """Raises ValueError for an unknown verb or field, or a value that a field cannot have."""
    verb = record.get("verb")
    kind = verbs.get(verb) if isinstance(verb, str) else None
    if kind is None:
        raise ValueError(f"no such verb: {verb!r}; there are: {', '.join(verbs)}")
    hints = get_type_hints(kind)
    known = {each.name: hints[each.name] for each in fields(kind)}  # type: ignore[arg-type]
    values = {key: value for key, value in record.items() if key != "verb"}
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ValueError(f"{kind.verb} knows no `{unknown[0]}`; it takes: {', '.join(known)}")
    missing = [name for name in _required(kind) if name not in values]
    if missing:
        raise ValueError(f"{kind.verb} needs its `{missing[0]}`")
    return kind(**{name: units.fitting(name, known[name], value) for name, value in values.items()})


def _required(kind: type[Fault]) -> list[str]:
    return [each.name for each in fields(kind) if each.default is MISSING]  # type: ignore[arg-type]
