"""The replicated log of a primary/replica group, without I/O: `Replica`. It knows nothing of SQL.

How to drive it:
1. Recover: read the state file, the snapshot and the log (`log.scan`), cut a torn tail, *sync the
   log once*, then `Replica(config, MemoryLog(records, snapshot), hard_state, founders, rng, now)`.
2. Feed it: `step(message, now)`, `tick(now)` at `deadline_s`, `propose(payload)` if `can_write`.
3. After each burst call `ready()` until None, and do what it says, in this order:
   hard_state (durable, before all else) → Diverged events (save the records) → truncate_from (log
   file) → rebuild_from (state from snapshot and log) → append `encode_batch(entries, synced_lsn)`
   → send messages → install (save, load, empty the log file, then call `snapshot_installed`)
   → apply DATA records up to `visible_lsn`, then `applied(lsn)`
   → sync in the background, then `synced(mark)` with the mark of the last Ready written before it.
4. Answer a client when `acknowledgeable_lsn` reaches its LSN; if the role is lost first, the
   outcome is unknown. Read the visible state while `can_serve(now)`.
5. `snapshot_of(lsn, data)` of a state; once `is_settled`, make it durable, then `compact` it.
"""

from __future__ import annotations

from collections import deque

from protocols.replication.core import (
    CANDIDATE,
    FOLLOWER,
    NEVER,
    PRIMARY,
    GroupConfig,
    NotPrimary,
    Ready,
    Refused,
    Rng,
)
from protocols.replication.log import DATA, EPOCH_START, MEMBERS, Entry
from protocols.replication.messages import (
    LEARNER,
    VOTER,
    WITNESS,
    Admitted,
    Append,
    AppendReply,
    BadMessage,
    Diverged,
    Event,
    HandOver,
    Members,
    MembersChanged,
    Message,
    PrimaryRefused,
    RoleChanged,
    SnapshotChunk,
    SnapshotReply,
    StaleEpoch,
    SwitchoverEnded,
    VoteReply,
    VoteRequest,
    from_wire,
    to_wire,
)
from protocols.replication.primary import Primary
from protocols.replication.progress import Progress
from protocols.replication.quorum import AckRule
from protocols.replication.storage import HardState, MemoryLog, Snapshot, Storage

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


class Replica(Primary):
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
        self.progress = {}
        self._stamps = deque()
        super().__init__(config, storage, hard_state, founders, rng, now_s)

    def step(self, message: Message, now_s: float) -> None:
        """Take in what a peer sent."""
        self._now_s = now_s
        if message.to != self.name:
            return
        if message.epoch < self.epoch:
            if isinstance(message, Append | SnapshotChunk | VoteRequest | HandOver):
                self._send(StaleEpoch(self.name, message.sender, self.epoch))
            return
        match message:
            case Append():
                self._on_append(message, now_s)
            case AppendReply():
                self._on_append_reply(message, now_s)
            case VoteRequest():
                self._on_vote_request(message, now_s)
            case VoteReply():
                self._on_vote_reply(message, now_s)
            case SnapshotChunk():
                self._on_snapshot_chunk(message, now_s)
            case SnapshotReply():
                self._on_snapshot_reply(message, now_s)
            case HandOver():
                self._on_hand_over(message, now_s)
            case StaleEpoch():
                if message.epoch > self.epoch and (self.standing or not self.blank):
                    self._become_follower(message.epoch, None, now_s)

    @property
    def deadline_s(self) -> float:
        """When to call `tick` next, if nothing else happens before."""
        if self.role == PRIMARY:
            if not self.progress:
                return NEVER
            abort_s = self._handing[1] if self._handing is not None else NEVER
            return min(
                self._heartbeat_s, self._demote_s, abort_s, self._snapshot_s, self._announce_s
            )
        return self._deadline_s if self.may_stand else NEVER

    def tick(self, now_s: float) -> None:
        """Let time pass: heartbeats, the end of a lease, a primary's silence."""
        self._now_s = now_s
        if self.role == PRIMARY:
            if not self.progress:
                return
            if now_s >= self._demote_s:
                self._become_follower(self.epoch, None, now_s)
                return
            if now_s >= self._snapshot_s:
                self._snapshot_s = NEVER  # the next Ready has more of it
            if self._handing is not None and now_s >= self._handing[1]:
                self._abort_hand_over("the target did not catch up in time")
            if now_s >= self._heartbeat_s:
                self._heartbeat(now_s)
                self._advance(now_s)
            if now_s >= self._announce_s:
                self._announce()
        elif now_s >= self._deadline_s and self.may_stand:
            if self.role == CANDIDATE:
                self._become_follower(self.epoch, None, now_s)
            self._campaign(now_s, pre=not self._alone)

    def stalled(self, seconds: float) -> None:
        """This process did not run for so long: do not blame the primary for it.

        Only detection waits longer. Leases and promises are time on the clock, and stay.
        """
        if self.role != PRIMARY:
            self._deadline_s += min(seconds, self.config.detection_timeout_s)

    def synced(self, mark: int, now_s: float) -> None:
        """The log is durable up to the records of the Ready with this mark."""
        self._now_s = now_s
        if not self._mark_flushed(mark):
            return
        if self.role == PRIMARY:
            self._advance(now_s)
        elif self.matched_lsn:
            self._confirm()

    def applied(self, lsn: int, now_s: float) -> None:
        """The state machine has applied up to `lsn`."""
        self._now_s = now_s
        self.applied_lsn = lsn
        if self.config.ack.level == "remote_apply":
            if self.role == PRIMARY:
                self._advance(now_s)
            else:
                self._confirm()

    def ready(self) -> Ready | None:
        """What to do now, or None. One Ready must be carried out before the next is."""
        if self.role == PRIMARY and self.progress:
            self._ship()
        return self._take_ready()

    def refuses_epoch(self, epoch: int) -> bool:
        """Fencing for other calls: whether the caller's epoch is of the past."""
        return epoch < self.epoch
