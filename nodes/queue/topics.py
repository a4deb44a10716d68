"""What may be said of a topic, in a file and on the wire, and when that makes no sense. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from protocols.queue.names import label_problem, name_problem
from protocols.queue.words import MAX_PARTITIONS, MAX_RECORD_BYTES

MAX_GROUPS: Final = 64
"""Work groups of a topic."""
REDRIVE: Final = "redrive"
"""The work group that takes dead letters back to where they failed."""
SEGMENTS: Final = 8
"""A partition is at least so many segments when it is full: what goes, goes by the segment."""
LEAST_SEGMENT_BYTES: Final = 4 << 10
MOST_SEGMENT_BYTES: Final = 4 << 20
LEAST_CAPACITY_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """One topic."""

    partitions: int = 1
    """Records of one key are in one partition, in order; so many consumers of a group can share."""
    capacity_bytes: int = 1 << 30
    """Of each partition's records, before `when_full` applies."""
    when_full: Literal["refuse", "block", "drop_oldest"] = "refuse"
    """Whether a publisher is refused, waits, or the oldest records go, read or not."""
    retention: Literal["keep", "worked_off"] = "keep"
    """Whether records go when all of its work groups are done with them."""
    max_age_s: float = 0.0
    """Above 0: records that are older go, read or not."""
    record_bytes: int = MAX_RECORD_BYTES
    """The largest record."""
    groups: tuple[str, ...] = ()
    """Work groups that are there from the first record on, `groups: [workers]`; others begin when
    they first ask."""
    ack_wait_s: float = 30.0
    """How long a worker has a record before it goes to another."""
    max_deliver: int = 5
    """A record that failed so often is delivered no more: it goes to the dead letters."""
    retry_delay_s: float = 0.0
    """How long a record rests that failed once; twice as often, twice as long."""
    max_retry_delay_s: float = 60.0
    """The longest that a record rests between two tries."""
    max_ack_pending: int = 1000
    """Records of a group that may be with workers at a time; those that rest do not count."""
    dead_letters: str = ""
    """The topic that takes what failed for good, `dead_letters: jobs.dead`; without one it is
    parked where it is."""
    ordered: bool = False
    """Whether a key's next record waits for the one before it to be done."""

    def __post_init__(self) -> None:
        if not 1 <= self.partitions <= MAX_PARTITIONS:
            raise ValueError(f"`partitions` is from 1 to {MAX_PARTITIONS}")
        if not 0 < self.record_bytes <= MAX_RECORD_BYTES:
            raise ValueError(f"`record` is from 1 to {MAX_RECORD_BYTES} bytes")
        if self.capacity_bytes < max(LEAST_CAPACITY_BYTES, self.record_bytes):
            raise ValueError(
                f"`capacity` is at least {LEAST_CAPACITY_BYTES} bytes, and a whole record"
            )
        if self.max_deliver < 1 or self.max_ack_pending < 1 or self.ack_wait_s <= 0:
            raise ValueError("`max_deliver`, `max_ack_pending` and `ack_wait` must be above 0")
        if min(self.max_age_s, self.retry_delay_s, self.max_retry_delay_s) < 0:
            raise ValueError("`max_age`, `retry_delay` and `max_retry_delay` are not below 0")
        if len(self.groups) > MAX_GROUPS:
            raise ValueError(f"`groups` are {MAX_GROUPS} at most")
        if len(set(self.groups)) < len(self.groups):
            raise ValueError("`groups` names one of them twice")
        if problem := next(filter(None, map(label_problem, self.groups)), ""):
            raise ValueError(f"`groups`: a group's name is {problem}")

    @property
    def segment_bytes(self) -> int:
        """A segment of the backlog is closed once it holds so much."""
        wanted = min(self.capacity_bytes // SEGMENTS, MOST_SEGMENT_BYTES)
        return max(LEAST_SEGMENT_BYTES, wanted)

    def delay_ms(self, failed: int) -> int:
        """How long a record rests after it has failed so often."""
        return int(1000 * min(self.retry_delay_s * failed, self.max_retry_delay_s))

    def to_wire(self) -> dict[str, Any]:
        return {**asdict(self), "groups": list(self.groups)}

    @classmethod
    def from_wire(cls, value: Mapping[str, Any]) -> TopicOptions:
        """Raises ValueError that says what is wrong."""
        known = {each.name: each.default for each in fields(cls)}
        taken: dict[str, Any] = {}
        for name, given in value.items():
            if name not in known:
                raise ValueError(f"no option `{name}`; there are: {', '.join(known)}")
            taken[name] = _fitting(name, given, known[name])
        return cls(**taken)


def _fitting(name: str, given: Any, default: Any) -> Any:
    """The value, if it is of the default's type."""
    wanted = type(default)
    if name in CHOICES and given not in CHOICES[name]:
        raise ValueError(f"`{name}` is one of: {', '.join(CHOICES[name])}")
    if wanted is float and type(given) is int:
        given = float(given)
    if wanted is tuple:
        if type(given) not in (list, tuple) or not all(type(each) is str for each in given):
            raise ValueError(f"`{name}` is a list of names")
        return tuple(given)
    if type(given) is not wanted or (wanted is float and not 0 <= given < 1e12):
        raise ValueError(f"`{name}` cannot be {str(given)[:40]!r}")
    if wanted is int and not 0 <= given < 1 << 53:
        raise ValueError(f"`{name}` cannot be {given}")
    return given


CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "when_full": ("refuse", "block", "drop_oldest"),
    "retention": ("keep", "worked_off"),
}


def with_dead_letters(topics: Mapping[str, TopicOptions]) -> dict[str, TopicOptions]:
    """The same, with the dead-letter topics that nobody has declared. Raises ValueError where one
    has not a partition for each of its sources: a dead letter is beside the record it was."""
    found = dict(topics)
    for name, options in topics.items():
        if problem := name_problem(name):
            raise ValueError(f"`topics`: {name[:40]!r}: {problem}")
        dead = options.dead_letters
        if not dead:
            continue
        if problem := name_problem(dead):
            raise ValueError(f"`dead_letters` of `{name}`: {problem}")
        if topics.get(dead, options).dead_letters and dead in topics:
            raise ValueError(f"`dead_letters`: `{dead}` takes dead letters, and has none itself")
        there = found.get(dead, TopicOptions())
        if dead not in topics:
            most = max(there.partitions, options.partitions)
            found[dead] = TopicOptions(partitions=most, retention="worked_off", groups=(REDRIVE,))
        elif there.partitions < options.partitions:
            raise ValueError(
                f"`dead_letters`: `{dead}` has {there.partitions} partitions, and `{name}` has"
                f" {options.partitions}; give it as many"
            )
    return found
