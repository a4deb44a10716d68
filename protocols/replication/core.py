"""What every replica has whatever its role: epoch, log, members, and the Ready it hands out.

Roles are built on this in follower.py, election.py and primary.py; replica.py has
the whole and its manual. Nothing here decides who leads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from protocols.replication.log import MEMBERS, Entry
from protocols.replication.messages import (
    VOTER,
    WITNESS,
    Diverged,
    Event,
    Members,
    MembersChanged,
    Message,
    RoleChanged,
)
from protocols.replication.pieces import Content
from protocols.replication.quorum import AckRule, majority
from protocols.replication.storage import HardState, Snapshot, Storage, decode_members

FOLLOWER: Final = "follower"
CANDIDATE: Final = "candidate"
PRIMARY: Final = "primary"
NEVER: Final = float("inf")


class Refused(Exception):
    """The request did not take effect, for the reason given."""


class NotPrimary(Refused):
    """Only the primary can do this; `primary` is who that may be."""

    def __init__(self, primary: str | None) -> None:
        super().__init__(f"not the primary; that may be {primary}")
        self.primary = primary


class Rng(Protocol):
    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """What all members of a group agree on, and this member's name."""

    name: str
    witness: bool = False
    """This member votes and holds no data."""
    ack: AckRule = field(default_factory=AckRule)
    detection_timeout_s: float = 1.0
    """Silence after which a replica asks for an election; also the length of the lease."""
    lease: bool = True
    """False: a primary serves until it hears that there is another, however long it was cut off."""
    detection_jitter: float = 0.15
    failover_delay_s: float = 0.0
    """Added to this member's detection, so that others (of the same region) are tried first."""
    heartbeats_per_timeout: int = 4
    announce_delay_s: float = 0.0
    """How long replicas may hear nothing of what became visible, so that the next records say it.
    (Whatever waits for them to apply it waits so long, too.)"""
    max_clock_drift: float = 0.01
    """The largest error of a clock's rate that leases bear."""
    max_batch_bytes: int = 256 * 1024
    max_in_flight_bytes: int = 4 << 20
    max_in_flight_messages: int = 64
    max_entry_bytes: int = 512 * 1024
    max_ahead_records: int = 100_000
    """More proposals than this beyond the quorum's LSN are refused."""
    max_snapshot_bytes: int = 1 << 30
    snapshot_bytes_per_s: float = 50e6
    """A snapshot is sent no faster than this to each member: commits come first."""
    retained_bytes: int = 64 << 20
    """Log kept before the snapshot for absent replicas; who needs more gets the snapshot."""
    catch_up_records: int = 1000
    """A learner this close to the quorum's LSN may become a voter."""
    switchover_timeout_s: float = 5.0

    @property
    def heartbeat_interval_s(self) -> float:
        return self.detection_timeout_s / self.heartbeats_per_timeout


class Ready:
    """What the driver does next, in this order; see replica.py."""

    __slots__ = (
        "acknowledgeable_lsn",
        "entries",
        "events",
        "hard_state",
        "install",
        "mark",
        "messages",
        "quorum_lsn",
        "rebuild_from",
        "synced_lsn",
        "truncate_from",
        "visible_lsn",
    )

    def __init__(self) -> None:
        self.hard_state: HardState | None = None
        self.events: list[Event] = []
        self.truncate_from: int | None = None
        self.entries: list[Entry] = []
        self.synced_lsn = 0
        self.messages: list[Message] = []
        self.install: Snapshot | None = None
        self.rebuild_from: int | None = None
        """Records from here on were cut: whoever had applied them goes back to before."""
        self.visible_lsn = 0
        self.quorum_lsn = 0
        self.acknowledgeable_lsn = 0
        self.mark = 0

    @property
    def waits_for_disk(self) -> bool:
        """Whether part of it must be durable, or rebuilt, before the rest."""
        slow = (self.hard_state, self.truncate_from, self.rebuild_from, self.install)
        return any(each is not None for each in slow)


class Core:
    """State and bookkeeping; subclasses add the roles."""

    def __init__(
        self,
        config: GroupConfig,
        storage: Storage,
        hard_state: HardState,
        founders: Members,
        rng: Rng,
        now_s: float,
    ) -> None:
        self.config, self.storage, self._rng = config, storage, rng
        self.name = config.name
        self.role = FOLLOWER
        self.primary: str | None = None
        self.hard_state = hard_state
        self.epoch = hard_state.epoch
        snapshot = storage.snapshot
        self.flushed_lsn = storage.last_lsn
        self.quorum_lsn = self.visible_lsn = self.applied_lsn = snapshot.lsn if snapshot else 0
        self.matched_lsn = self.quorum_lsn
        """Up to here our log is known to agree with the primary's."""
        self.acknowledgeable_lsn = 0
        """On the primary: what clients may be told is committed, at the configured level."""
        self._members_log: list[tuple[int, Members]] = []
        self._set_members(snapshot.lsn if snapshot else 0, snapshot.members if snapshot else ())
        if founders and storage.last_lsn == 0:
            self._set_members(0, tuple(sorted(founders)))
        self._adopt_members(storage.entries(storage.first_lsn, storage.last_lsn, 1 << 62))
        self._marks: deque[tuple[int, int]] = deque()
        self._mark = 0
        self._handed_lsn = storage.last_lsn
        self._next = Ready()
        self._reported = (self.visible_lsn, self.quorum_lsn, 0)
        self._promised_epoch = self.epoch
        self._promise_until_s = now_s + config.detection_timeout_s if self.epoch else 0.0
        self._now_s = now_s
        self._deadline_s = now_s if self._alone else now_s + self._patience_s(0.25)
        if self.epoch and not self._alone:
            self._deadline_s = self._promise_until_s + self._patience_s(config.detection_jitter)

    # -- membership as the log has it

    def _set_members(self, lsn: int, members: Members) -> None:
        self._members_log.append((lsn, members))
        self.members = dict(members)
        self.voters = [name for name, role in members if role in (VOTER, WITNESS)]
        self._data_voters = [name for name, role in members if role == VOTER]
        self._majority = majority(len(self.voters))
        self._alone = self.voters == [self.name]

    def _adopt_members(self, entries: Sequence[Entry]) -> None:
        for _, lsn, kind, payload in entries:
            if kind == MEMBERS and lsn > self._members_log[-1][0]:
                self._set_members(lsn, decode_members(payload))
                if hasattr(self, "_next"):
                    self._next.events.append(MembersChanged(lsn, tuple(self.members.items())))

    @property
    def members_lsn(self) -> int:
        return self._members_log[-1][0]

    def snapshot_of(self, lsn: int, data: Content) -> Snapshot:
        """`data` is the state after `lsn`. It may only be used if `is_settled` says so by then."""
        epoch = self.storage.epoch_at(lsn)
        assert epoch, f"record {lsn} is not in the log"
        members = next(each for at, each in reversed(self._members_log) if at <= lsn)
        return Snapshot(lsn, epoch, members, self.storage.epochs_until(lsn), data)

    def is_settled(self, snapshot: Snapshot) -> bool:
        """Whether the quorum has what the snapshot was made of."""
        lsn = snapshot.lsn
        return lsn <= self.quorum_lsn and self.storage.epoch_at(lsn) == snapshot.epoch

    # -- what must not be forgotten

    @property
    def standing(self) -> bool:
        return self.hard_state.standing

    @property
    def blank(self) -> bool:
        """Nothing was ever here: a new replica, or one whose disk was lost."""
        return self.hard_state == HardState() and self.storage.last_lsn == 0

    def _remember(self, state: HardState) -> None:
        self.hard_state = self._next.hard_state = state
        self.epoch = state.epoch

    def _enter_epoch(self, epoch: int, vote: str | None) -> None:
        """Move to a later epoch (or cast this epoch's vote): durable before anything is sent."""
        if epoch > self.epoch:
            self.matched_lsn = self.quorum_lsn
        self._remember(self.hard_state._replace(epoch=epoch, vote=vote))

    def _become_follower(self, epoch: int, primary: str | None, now_s: float) -> None:
        if epoch > self.epoch:
            self._enter_epoch(epoch, None)
        changed = self.role != FOLLOWER or primary != self.primary
        self.role, self.primary = FOLLOWER, primary
        self._stand_down(now_s)
        if changed:
            self._next.events.append(RoleChanged(FOLLOWER, self.epoch, primary))

    def _stand_down(self, now_s: float) -> None:
        """Forget what belonged to being a candidate or the primary."""
        self.acknowledgeable_lsn = 0
        self._deadline_s = now_s + self._patience_s(self.config.detection_jitter)
        self._deadline_s += self.config.detection_timeout_s

    def _patience_s(self, share: float) -> float:
        timeout_s = self.config.detection_timeout_s
        return self._rng.random() * share * timeout_s + self.config.failover_delay_s

    # -- the log

    @property
    def last_lsn(self) -> int:
        return self.storage.last_lsn

    @property
    def last_epoch(self) -> int:
        return self.storage.epoch_at(self.storage.last_lsn) or 0

    def _append(self, entries: list[Entry]) -> None:
        self.storage.append(entries)
        self._next.entries += entries

    def _truncate(self, lsn: int) -> None:
        """Cut what the group does not have, and say what it was."""
        assert lsn > self.quorum_lsn, "a record that the quorum has must never be cut"
        ready, storage = self._next, self.storage
        records = list(storage.entries(lsn, storage.last_lsn, 1 << 62))
        ready.events.append(Diverged(lsn, records))
        ready.rebuild_from = min(lsn, ready.rebuild_from or lsn)
        storage.truncate_from(lsn)
        ready.entries = [entry for entry in ready.entries if entry[1] < lsn]
        if lsn <= self._handed_lsn:
            ready.truncate_from = min(lsn, ready.truncate_from or lsn)
            self._handed_lsn = lsn - 1
        self._marks = deque((mark, min(last, lsn - 1)) for mark, last in self._marks)
        self.flushed_lsn = min(self.flushed_lsn, lsn - 1)
        self.visible_lsn = min(self.visible_lsn, lsn - 1)
        self.applied_lsn = min(self.applied_lsn, lsn - 1)
        while self._members_log[-1][0] >= lsn:
            self._members_log.pop()
            members_lsn, members = self._members_log.pop()
            self._set_members(members_lsn, members)
            ready.events.append(MembersChanged(members_lsn, members))

    @property
    def cut_from(self) -> int | None:
        """Records from here on were cut, which no Ready has told yet."""
        return self._next.rebuild_from

    def _mark_flushed(self, mark: int) -> bool:
        """Take in that a Ready's records are durable; whether that moved anything."""
        flushed_lsn = self.flushed_lsn
        while self._marks and self._marks[0][0] <= mark:
            flushed_lsn = max(flushed_lsn, self._marks.popleft()[1])
        moved = flushed_lsn > self.flushed_lsn
        self.flushed_lsn = flushed_lsn
        return moved

    # -- what the driver gets

    def _send(self, message: Message) -> None:
        self._next.messages.append(message)

    def _take_ready(self) -> Ready | None:
        ready = self._next
        lsns = (self.visible_lsn, self.quorum_lsn, self.acknowledgeable_lsn)
        if not (
            ready.entries
            or ready.messages
            or lsns != self._reported
            or ready.events
            or ready.hard_state is not None
            or ready.truncate_from is not None
            or ready.install is not None
        ):
            return None
        if ready.entries:
            self._mark += 1
            self._handed_lsn = self.storage.last_lsn
            self._marks.append((self._mark, self._handed_lsn))
        ready.mark, ready.synced_lsn = self._mark, self.flushed_lsn
        ready.visible_lsn, ready.quorum_lsn, ready.acknowledgeable_lsn = self._reported = lsns
        self._next = Ready()
        return ready
