"""What replicas of a group say to each other, and what the core reports to its driver.

Plain named tuples: on the wire a message is `[kind, *fields]`, any MessagePack params. Every one
carries its sender, its addressee and the sender's epoch, and last the group that it is said in:
its name, and which founding of that name (0 until that is committed). What they mean is in
replica.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, get_type_hints

from protocols.replication.log import Entry

Members = tuple[tuple[str, str], ...]
"""((name, "voter" | "witness" | "learner"), ...), sorted by name."""
Epochs = tuple[tuple[int, int], ...]
"""((epoch, its first LSN), ...), ascending."""

VOTER: Final = "voter"
WITNESS: Final = "witness"
LEARNER: Final = "learner"


class BadMessage(Exception):
    """A peer sent something that is no message of this protocol: drop its connection."""


class VoteRequest(NamedTuple):
    sender: str
    to: str
    epoch: int
    """The epoch stood for; with `pre` nobody has moved to it yet."""
    pre: bool
    last_epoch: int
    last_lsn: int
    released_epoch: int
    """The epoch whose primary gave up its lease for this election (switchover), or 0."""
    group: str
    founding: int


class VoteReply(NamedTuple):
    sender: str
    to: str
    epoch: int
    pre: bool
    granted: bool
    blank: bool
    """The voter has never held anything: its vote counts only if all voters grant theirs."""
    group: str
    founding: int


class Append(NamedTuple):
    """Records after `prev_lsn`; empty as a renewal of the lease, or to announce commits."""

    sender: str
    to: str
    epoch: int
    prev_lsn: int
    prev_epoch: int
    entries: Sequence[Entry]
    quorum_lsn: int
    visible_lsn: int
    round: int
    echo_us: int
    """The latest stamp of the addressee that arrived here under a valid lease: what is visible now
    includes all that had been acknowledged when it made that stamp. 0: none."""
    admit: bool
    """The addressee has caught up again and may vote from now on."""
    in_sync_version: int
    in_sync: Sequence[str]
    """For witnesses: who may be elected, see quorum.py."""
    group: str
    founding: int


class AppendReply(NamedTuple):
    sender: str
    to: str
    epoch: int
    round: int
    stamp_us: int
    """The sender's own clock, which means nothing to others: they send it back."""
    rejected_lsn: int
    """The `prev_lsn` that does not fit the log, or -1."""
    hint_lsn: int
    hint_epoch: int
    written_lsn: int
    flushed_lsn: int
    applied_lsn: int
    standing: bool
    in_sync_version: int
    lacks_room: bool
    """Records wait in the sender's memory, because its disk is full."""
    group: str
    founding: int


class SnapshotChunk(NamedTuple):
    sender: str
    to: str
    epoch: int
    lsn: int
    lsn_epoch: int
    members: Members
    epochs: Epochs
    offset: int
    total_bytes: int
    data: bytes
    group: str
    founding: int


class SnapshotReply(NamedTuple):
    sender: str
    to: str
    epoch: int
    lsn: int
    received_bytes: int
    group: str
    founding: int


class HandOver(NamedTuple):
    """The sender has stopped, the addressee has all its records: stand for election now."""

    sender: str
    to: str
    epoch: int
    group: str
    founding: int


class StaleEpoch(NamedTuple):
    """Fencing: what you sent was of an epoch before mine, and had no effect."""

    sender: str
    to: str
    epoch: int
    group: str
    founding: int


Message = (
    VoteRequest
    | VoteReply
    | Append
    | AppendReply
    | SnapshotChunk
    | SnapshotReply
    | HandOver
    | StaleEpoch
)
KINDS: Final[tuple[type[Message], ...]] = (
    VoteRequest,
    VoteReply,
    Append,
    AppendReply,
    SnapshotChunk,
    SnapshotReply,
    HandOver,
    StaleEpoch,
)
_NUMBER: Final = {kind: number for number, kind in enumerate(KINDS)}
_PLAIN: Final = {
    kind: tuple(
        (index, name, hint)
        for index, (name, hint) in enumerate(get_type_hints(kind).items())
        if hint in (str, int, bool, bytes)
    )
    for kind in KINDS
}
"""The fields of each kind whose values must have exactly this type."""


def to_wire(message: Message) -> list[Any]:
    return [_NUMBER[type(message)], *message]


def from_wire(params: Any) -> Message:
    """Raises BadMessage for anything that `to_wire` does not make."""
    if not isinstance(params, list | tuple) or not params or type(params[0]) is not int:
        raise BadMessage("not a replication message")
    number, *fields = params
    if not 0 <= number < len(KINDS):
        raise BadMessage(f"no replication message {number}")
    kind = KINDS[number]
    if len(fields) != len(kind._fields):
        raise BadMessage(f"{kind.__name__} has {len(kind._fields)} fields, not {len(fields)}")
    for index, name, wanted in _PLAIN[kind]:
        if type(fields[index]) is not wanted:
            raise BadMessage(f"{kind.__name__}.{name} is no {wanted.__name__}")
    message: Message = kind(*fields)
    if isinstance(message, Append):
        return message._replace(
            entries=_entries(message.entries, message.prev_lsn + 1),
            in_sync=tuple(_strings(message.in_sync)),
        )
    if isinstance(message, SnapshotChunk):
        return message._replace(
            members=members_from_wire(message.members), epochs=epochs_from_wire(message.epochs)
        )
    return message


def _entries(items: Any, first_lsn: int) -> list[Entry]:
    if type(items) is not list and type(items) is not tuple:
        raise BadMessage("Append.entries is no list")
    entries: list[Entry] = []
    for lsn, item in enumerate(items, first_lsn):
        match item:
            case [int(), int(number), int(), bytes()] if number == lsn:
                entries.append(tuple(item))
            case _:
                raise BadMessage(f"Append.entries: record {lsn} is malformed")
    return entries


def _strings(items: Any) -> list[str]:
    if not isinstance(items, list | tuple) or not all(type(item) is str for item in items):
        raise BadMessage("not a list of names")
    return list(items)


def members_from_wire(items: Any) -> Members:
    if not isinstance(items, list | tuple):
        raise BadMessage("members are no list")
    pairs = [tuple(_strings(item)) for item in items]
    if not all(len(pair) == 2 and pair[1] in (VOTER, WITNESS, LEARNER) for pair in pairs):
        raise BadMessage("members are no (name, role) pairs")
    return tuple((name, role) for name, role in sorted(pairs))


def epochs_from_wire(items: Any) -> Epochs:
    if not isinstance(items, list | tuple):
        raise BadMessage("epochs are no list")
    pairs: list[tuple[int, int]] = []
    for item in items:
        match item:
            case [int() as epoch, int() as lsn] if not pairs or pairs[-1] < (epoch, lsn):
                pairs.append((epoch, lsn))
            case _:
                raise BadMessage("epochs are no ascending (epoch, lsn) pairs")
    return tuple(pairs)


# -- what the core reports besides messages -------------------------------------------------


class RoleChanged(NamedTuple):
    role: str
    epoch: int
    primary: str | None


class Diverged(NamedTuple):
    """Records of ours that the group does not have: save them to a file and count them."""

    from_lsn: int
    last_lsn: int
    records: Sequence[Entry]
    """Those in memory: the last of them, or all. The others are in the log's files, as yet."""


class MembersChanged(NamedTuple):
    """In force from now on; not yet committed."""

    lsn: int
    members: Members


class Admitted(NamedTuple):
    """This replica had come up empty, has caught up, and votes from now on."""

    epoch: int


class PrimaryRefused(NamedTuple):
    """A primary asked to cut records that the quorum has: it is of another group, or empty."""

    primary: str
    epoch: int
    lsn: int


class SwitchoverEnded(NamedTuple):
    target: str
    handed_over: bool
    reason: str


class OutOfRoom(NamedTuple):
    """A replica's disk is full: it confirms nothing more until there is room. Told once of each
    time."""

    replica: str


class ForeignMessage(NamedTuple):
    """Somebody speaks in another group, or of another founding of ours; told once of each."""

    sender: str
    group: str
    founding: int


Event = (
    RoleChanged
    | Diverged
    | MembersChanged
    | Admitted
    | PrimaryRefused
    | SwitchoverEnded
    | OutOfRoom
    | ForeignMessage
)
