"""The replicated log of a primary/replica group, without I/O: `Replica`. It knows nothing of SQL.

How to drive it:
1. Recover: read the state file, the snapshot and the log (`log.scan`), cut a torn tail, *sync the
   log once*, then `Replica(config, MemoryLog(records, snapshot), hard_state, founders, rng, now)`.
   Of what files have, `release` lets go of the memory.
2. Feed it: `step(message, now)`, `tick(now)` at `deadline_s`, `propose(payload)` if `can_write`.
3. After each burst call `ready()` until None, and do what it says, in this order:
   hard_state (durable, before all else) → Diverged events (save the records) → truncate_from (log
   file) → rebuild_from (state from snapshot and log) → append `encode_batch(entries, synced_lsn)`
   → send messages, and chunks with what they are to have of the snapshot → keep what was received
   (if that is not possible: `snapshot_lost`) → install (load it, save, empty the log file, then
   call `snapshot_installed`) → read what is wanted in the background, then `fetched`
   → apply DATA records up to `visible_lsn`, then `applied(lsn)`
   → sync in the background, then `synced(mark)` with the mark of the last Ready written before it.
4. Answer a client when `acknowledgeable_lsn` reaches its LSN; if the role is lost first, the
   outcome is unknown. Read the visible state while `can_serve(now)`.
5. `snapshot_of(lsn)`: what a state's snapshot says of itself; once `is_settled`, make it durable,
   then `compact` it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from protocols.replication import reach
from protocols.replication.candidate import Candidate
from protocols.replication.config import (
    CANDIDATE,
    FOLLOWER,
    NEVER,
    PRIMARY,
    GroupConfig,
    NotPrimary,
    Refused,
    Rng,
)
from protocols.replication.elector import Elector
from protocols.replication.follower import Follower
from protocols.replication.freshness import Freshness
from protocols.replication.incoming import Incoming
from protocols.replication.log import DATA, EPOCH_START, MEMBERS, Entry
from protocols.replication.log_memory import MemoryLog
from protocols.replication.messages import (
    LEARNER,
    VOTER,
    WITNESS,
    Admitted,
    Append,
    BadMessage,
    Diverged,
    Event,
    ForeignMessage,
    HandOver,
    Members,
    MembersChanged,
    Message,
    PrimaryRefused,
    RoleChanged,
    SnapshotChunk,
    StaleEpoch,
    SwitchoverEnded,
    VoteRequest,
    from_wire,
    to_wire,
)
from protocols.replication.primary import Primary
from protocols.replication.progress import Progress
from protocols.replication.quorum import AckRule
from protocols.replication.state import Ready, State
from protocols.replication.storage import HardState, Snapshot, Storage
from protocols.replication.voter import Voter

__all__ = [
    "CANDIDATE",
    "DATA",
    "EPOCH_START",
    "FOLLOWER",
    "LEARNER",
    "MEMBERS",
    "NEVER",
    "PRIMARY",
    "VOTER",
    "WITNESS",
    "AckRule",
    "Admitted",
    "BadMessage",
    "Diverged",
    "Entry",
    "Event",
    "ForeignMessage",
    "GroupConfig",
    "HardState",
    "Members",
    "MembersChanged",
    "MemoryLog",
    "Message",
    "NotPrimary",
    "PrimaryRefused",
    "Progress",
    "Ready",
    "Refused",
    "Replica",
    "RoleChanged",
    "Snapshot",
    "Storage",
    "SwitchoverEnded",
    "from_wire",
    "to_wire",
]


MAX_STRANGERS: Final = 32
"""Of whom an event tells; beyond that they are only counted."""


class Role(Protocol):
    """What a replica does with a message or with time depends on what it is just now."""

    def step(self, message: Message) -> None: ...

    @property
    def deadline_s(self) -> float: ...

    def tick(self) -> None: ...

    def has_flushed(self) -> None: ...

    def has_applied(self) -> None: ...


class Replica:
    """One member of a group. Every call is synchronous; effects come out of `ready`."""

    def __init__(
        self,
        config: GroupConfig,
        storage: Storage,
        hard_state: HardState,
        founders: Members,
        rng: Rng,
        now_s: float,
    ) -> None:
        """`founders`: the members of a group that is being founded, the same for all of them;
        ignored when the log has a past. A replica that joins later gets ()."""
        self.config, self.name, self.storage = config, config.name, storage
        self._state = state = State(config, storage, hard_state, founders, now_s)
        self._freshness, self._incoming = Freshness(), Incoming()
        self._rng = rng
        self.foreign_messages = 0
        """How many were refused because they were said in another group."""
        self._strangers: dict[ForeignMessage, None] = {}
        self._voter = Voter(state, self._become_follower)
        self._elector = Elector(
            state, rng, self._voter, self._incoming, self._become_candidate, self._become_primary
        )
        self.role = FOLLOWER
        self._role: Role = self._following()
        self._leading: Primary | None = None
        """The role, while it is the primary's."""

    # -- what comes in

    def step(self, message: Message, now_s: float) -> None:
        """Take in what a peer sent."""
        state = self._state
        state.now_s = now_s
        if message.to != self.name:
            return
        known = message.founding == state.founding and message.group == state.group
        if not known and self._is_foreign(message):
            return
        if message.epoch < state.epoch:
            if isinstance(message, Append | SnapshotChunk | VoteRequest | HandOver):
                state.reach(reach.OLD_EPOCH)
                about = (state.epoch, state.group, state.founding)
                state.send(StaleEpoch(self.name, message.sender, *about))
            return
        if isinstance(message, Append | SnapshotChunk):
            if message.founding and not state.founding:
                state.adopt_founding(message.founding)
            self._follow(message.epoch, message.sender)
        elif isinstance(message, StaleEpoch):
            if message.epoch > state.epoch and (state.standing or not state.blank):
                self._become_follower(message.epoch, None)
            return
        self._role.step(message)

    def _is_foreign(self, message: Message) -> bool:
        """Whether it is said in another group, or of another founding of this one. Who does not
        know yet which founding it is in (it is empty, or its disk is of an older format) learns it
        from its primary, and is heard."""
        state = self._state
        unknown = not message.founding or not state.founding
        if message.group == state.group and (unknown or message.founding == state.founding):
            return False
        self.foreign_messages += 1
        stranger = ForeignMessage(message.sender, message.group, message.founding)
        if stranger not in self._strangers and len(self._strangers) < MAX_STRANGERS:
            self._strangers[stranger] = None
            state.tell(stranger)
        return True

    def tick(self, now_s: float) -> None:
        """Let time pass: heartbeats, the end of a lease, a primary's silence."""
        self._state.now_s = now_s
        self._role.tick()

    @property
    def deadline_s(self) -> float:
        """When to call `tick` next, if nothing else happens before."""
        return self._role.deadline_s

    def stalled(self, seconds: float) -> None:
        """This process did not run for so long: do not blame the primary for it.

        Only detection waits longer. Leases and promises are time on the clock, and stay.
        """
        if self._leading is None:
            self._state.reach(reach.LATE_TIMER)
            self._elector.stalled(seconds)

    def synced(self, mark: int, now_s: float) -> None:
        """The log is durable up to the records of the Ready with this mark."""
        self._state.now_s = now_s
        if self._state.mark_flushed(mark):
            self._role.has_flushed()

    def applied(self, lsn: int, now_s: float) -> None:
        """The state machine has applied up to `lsn`."""
        self._state.now_s = now_s
        self._state.applied_lsn = lsn
        if self.config.ack.level == "remote_apply":
            self._role.has_applied()

    def ready(self) -> Ready | None:
        """What to do now, or None. One Ready must be carried out before the next is."""
        if self._leading is not None:
            self._leading.ship()
        return self._state.take_ready()

    # -- roles

    def _following(self) -> Follower:
        return Follower(self._state, self._voter, self._elector, self._freshness, self._incoming)

    def _follow(self, epoch: int, primary: str) -> None:
        """This epoch's primary has spoken.

        Our vote is its own from now on: one that was lost with our disk must not be cast again.
        """
        state = self._state
        newer = epoch > state.epoch
        assert newer or self._leading is None, "an epoch has one primary"
        if newer or state.primary != primary:
            self._become_follower(epoch, primary)
        self._voter.promise()
        self._elector.primary_spoke()

    def _become_follower(self, epoch: int, primary: str | None) -> None:
        """Of this epoch's primary, if it is known; whatever we were is over."""
        state = self._state
        newer = epoch > state.epoch
        if newer:
            if self._leading is not None:
                state.reach(reach.OUTRUN)
            state.enter_epoch(epoch, primary)
        changed = self.role != FOLLOWER or primary != state.primary
        state.primary, state.acknowledgeable_lsn = primary, 0
        self._elector.wait()
        if newer or changed:
            self.role, self._role, self._leading = FOLLOWER, self._following(), None
        if changed:
            state.tell(RoleChanged(FOLLOWER, state.epoch, primary))

    def _become_candidate(self) -> None:
        """Of the next epoch, whose vote is our own."""
        state = self._state
        state.enter_epoch(state.epoch + 1, self.name)
        state.stand()
        state.primary = None
        self.role = CANDIDATE
        self._role = Candidate(state, self._voter, self._elector, self._become_follower)
        state.tell(RoleChanged(CANDIDATE, state.epoch, None))

    def _become_primary(self) -> None:
        state = self._state
        state.primary = self.name
        state.tell(RoleChanged(PRIMARY, state.epoch, self.name))
        self.role = PRIMARY
        self._role = self._leading = Primary(state, self._rng, self._become_follower)

    # -- being primary

    def _lead(self) -> Primary:
        if self._leading is None:
            raise NotPrimary(self._state.primary)
        return self._leading

    def propose(self, payload: bytes, kind: int = DATA) -> int:
        """Append one record here, to be shipped by the next Ready; its LSN. Raises Refused."""
        return self._lead().propose(payload, kind)

    def can_serve(self, now_s: float) -> bool:
        """Whether reads of the visible state are linearizable now: lease held, epoch begun."""
        return self._leading is not None and self._leading.can_serve(now_s)

    def hears_majority(self, now_s: float) -> bool:
        """Whether a majority has answered this primary within the last half of its lease."""
        return self._leading is not None and self._leading.lease.is_fresh(now_s)

    def can_write(self, now_s: float) -> bool:
        """Whether proposals are welcome: `can_serve`, and no switchover under way."""
        return self._leading is not None and self._leading.can_write(now_s)

    def has_room(self) -> bool:
        """Whether enough members have room for what is proposed next, as far as is known here."""
        return self._leading is None or self._leading.has_room()

    def written_down(self, everything: bool) -> None:
        """Whether all that a Ready gave is in the log file, or some waits for room on the disk."""
        self._state.lacks_room = not everything

    def change_member(self, name: str, role: str | None, now_s: float) -> int:
        """Add a learner or witness, make a learner a voter, or (None) remove a member; the LSN.

        One change at a time. Raises Refused.
        """
        self._state.now_s = now_s
        return self._lead().change_member(name, role)

    def hand_over(self, target: str, now_s: float) -> None:
        """Planned switchover: refuse writes, let `target` catch up, make it primary. 0 lost.

        Ends with a SwitchoverEnded event. Raises Refused.
        """
        self._state.now_s = now_s
        self._lead().hand_over(target)

    @property
    def progress(self) -> dict[str, Progress]:
        """What is known of every other member; empty unless primary."""
        return self._leading.progress if self._leading is not None else {}

    def is_caught_up(self, name: str) -> bool:
        """Whether a member has about what the quorum has; False unless we are primary."""
        return self._leading is not None and self._leading.is_caught_up(name)

    # -- what is known

    @property
    def primary(self) -> str | None:
        """Who is, as far as is known here."""
        return self._state.primary

    @property
    def epoch(self) -> int:
        return self._state.epoch

    @property
    def founding(self) -> int:
        """Which founding of the group's name this is; 0: not known yet."""
        return self._state.founding

    @property
    def hard_state(self) -> HardState:
        return self._state.hard_state

    @property
    def members(self) -> dict[str, str]:
        """Everybody's role by the latest change, committed or not."""
        return self._state.membership.roles

    @property
    def members_lsn(self) -> int:
        return self._state.membership.lsn

    @property
    def voters(self) -> list[str]:
        return self._state.membership.voters

    @property
    def last_lsn(self) -> int:
        return self.storage.last_lsn

    @property
    def last_epoch(self) -> int:
        return self._state.last_epoch

    @property
    def flushed_lsn(self) -> int:
        return self._state.flushed_lsn

    @property
    def quorum_lsn(self) -> int:
        return self._state.quorum_lsn

    @property
    def visible_lsn(self) -> int:
        return self._state.visible_lsn

    @property
    def applied_lsn(self) -> int:
        return self._state.applied_lsn

    @property
    def acknowledgeable_lsn(self) -> int:
        """On the primary: what clients may be told is committed, at the configured level."""
        return self._state.acknowledgeable_lsn

    @property
    def cut_from(self) -> int | None:
        """Records from here on were cut, which no Ready has told yet."""
        return self._state.pending.rebuild_from

    def lag_s(self, now_s: float) -> float:
        """How old our state may be at most: it has all that had been acknowledged so long ago."""
        return self._freshness.lag_s(self._state.applied_lsn, now_s)

    # -- snapshots, and keeping the log short

    def snapshot_of(self, lsn: int, size_bytes: int = 0) -> Snapshot:
        """Of the state after `lsn`. It may only be used if `is_settled` says so by then."""
        epoch = self.storage.epoch_at(lsn)
        assert epoch, f"record {lsn} is not in the log"
        members = self._state.membership.at(lsn)
        return Snapshot(lsn, epoch, members, self.storage.epochs_until(lsn), size_bytes)

    def is_settled(self, snapshot: Snapshot) -> bool:
        """Whether the quorum has what the snapshot was made of."""
        lsn = snapshot.lsn
        return lsn <= self._state.quorum_lsn and self.storage.epoch_at(lsn) == snapshot.epoch

    def compact(self, snapshot: Snapshot) -> int:
        """A durable snapshot exists; the first LSN that must stay in the log.

        Records before it stay too while absent replicas need them, up to `retained_bytes`.
        """
        storage = self.storage
        assert snapshot.lsn <= self._state.quorum_lsn, "a snapshot never passes the quorum's LSN"
        storage.snapshot = snapshot
        keep = min(snapshot.lsn + 1, storage.first_within(self.config.retained_bytes))
        if self._leading is not None:
            needed = [to.flushed_lsn for to in self._leading.progress.values()]
            keep = max(keep, min([*needed, snapshot.lsn]) + 1)
        storage.trim_before(min(keep, snapshot.lsn + 1))
        return storage.first_lsn

    def fetched(self, lsn: int, entries: Sequence[Entry], now_s: float) -> None:
        """What a Ready wanted to be read from `lsn` on; none if that is not kept any more."""
        self._state.now_s = now_s
        self._state.fetched(lsn, entries)

    def snapshot_lost(self) -> None:
        """What was received of a peer's snapshot could not be kept: it is sent again."""
        self._incoming.lose()

    def snapshot_installed(self) -> None:
        """The snapshot of `Ready.install` is durable and loaded, and the log file is empty."""
        snapshot, self._incoming.installing = self._incoming.installing, None
        assert snapshot is not None
        self._state.restart_from(snapshot)
        self._role.has_flushed()
