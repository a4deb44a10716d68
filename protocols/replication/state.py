"""What a replica has whatever its role: epoch, log, members, and the Ready that it hands out.

There is one of it. Roles read and move it (follower.py, candidate.py, primary.py); nothing here
decides who leads, or sends anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from protocols.replication import reach
from protocols.replication.config import GroupConfig
from protocols.replication.log import DATA, MEMBERS, Entry
from protocols.replication.members import Membership
from protocols.replication.messages import (
    Diverged,
    Event,
    Members,
    MembersChanged,
    Message,
    SnapshotChunk,
)
from protocols.replication.storage import (
    HardState,
    Snapshot,
    Storage,
    decode_members,
    founding_in,
)


class Ready:
    """What the driver does next, in this order; see replica.py."""

    __slots__ = (
        "acknowledgeable_lsn",
        "chunks",
        "entries",
        "events",
        "hard_state",
        "install",
        "mark",
        "messages",
        "quorum_lsn",
        "reached",
        "reads",
        "rebuild_from",
        "received",
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
        self.chunks: list[tuple[SnapshotChunk, int]] = []
        """To be sent with so many bytes of the snapshot, from the chunk's offset on."""
        self.received: list[SnapshotChunk] = []
        """To be kept: the next ones of a peer's snapshot, the first of one has offset 0."""
        self.reads: list[int] = []
        """Records from each of these on are wanted that are not in memory: read some of them in the
        background, and call `fetched`."""
        self.install: Snapshot | None = None
        self.rebuild_from: int | None = None
        """Records from here on were cut: whoever had applied them goes back to before."""
        self.visible_lsn = 0
        self.quorum_lsn = 0
        self.acknowledgeable_lsn = 0
        self.mark = 0
        self.reached: list[str] = []
        """States that matter (reach.py) and were met; they ask nothing of anybody."""

    @property
    def waits_for_disk(self) -> bool:
        """Whether part of it must be durable, or rebuilt, before the rest."""
        return (
            self.hard_state is not None
            or self.truncate_from is not None
            or self.rebuild_from is not None
            or self.install is not None
        )


class State:
    """Everything that a role shares with the next one, and how it may move."""

    def __init__(
        self,
        config: GroupConfig,
        storage: Storage,
        hard_state: HardState,
        founders: Members,
        now_s: float,
    ) -> None:
        self.config, self.storage, self.name = config, storage, config.name
        self.now_s = now_s
        """What the clock said when we were last called."""
        self.primary: str | None = None
        self.hard_state = hard_state
        self.epoch = hard_state.epoch
        snapshot = storage.snapshot
        base_lsn, members = (snapshot.lsn, snapshot.members) if snapshot else (0, ())
        self.flushed_lsn = storage.last_lsn
        self.quorum_lsn = self.visible_lsn = self.applied_lsn = base_lsn
        self.matched_lsn = base_lsn
        """Up to here our log is known to agree with the primary's."""
        self.acknowledgeable_lsn = 0
        """On the primary: what clients may be told is committed, at the configured level."""
        self.lacks_room = False
        """Records wait in the driver's memory, because the disk is full."""
        self.pending = Ready()
        """What the driver is told next."""
        self.group, self.founding = config.group, hard_state.founding
        self._named_founding: tuple[int, int] | None = None
        """A record of the log that names the founding, and what it says: to go by once the quorum
        has it."""
        self.membership = Membership(self.name, base_lsn, members)
        if founders and storage.last_lsn == 0:
            self.membership.change(0, tuple(sorted(founders)))
        self.adopt(storage.own_entries())
        self.pending.events.clear()  # what the log knew before is no news
        self._fetching: dict[int, None] = {}
        self._marks: deque[tuple[int, int]] = deque()
        self._mark = 0
        self._handed_lsn = storage.last_lsn
        self._reported = (self.visible_lsn, self.quorum_lsn, 0)

    # -- what must not be forgotten

    @property
    def standing(self) -> bool:
        return self.hard_state.standing

    @property
    def blank(self) -> bool:
        """Nothing was ever here: a new replica, or one whose disk was lost."""
        return self.hard_state == HardState() and self.storage.last_lsn == 0

    def remember(self, state: HardState) -> None:
        """Durable before anything is sent."""
        self.hard_state = self.pending.hard_state = state
        self.epoch, self.founding = state.epoch, state.founding

    def enter_epoch(self, epoch: int, vote: str | None) -> None:
        """Move to a later epoch, or cast this epoch's vote."""
        if epoch > self.epoch:
            self.matched_lsn = self.quorum_lsn
        self.remember(self.hard_state._replace(epoch=epoch, vote=vote))

    def stand(self) -> None:
        """Our word counts from now on."""
        self.remember(self.hard_state._replace(standing=True))

    # -- the log

    @property
    def last_lsn(self) -> int:
        return self.storage.last_lsn

    @property
    def last_epoch(self) -> int:
        return self.storage.epoch_at(self.storage.last_lsn) or 0

    @property
    def names_founding(self) -> bool:
        """Whether it is known which founding this is, or will be once the log is committed."""
        return bool(self.founding or self._named_founding)

    def adopt_founding(self, founding: int) -> None:
        """From a primary, which knows it."""
        self._named_founding = None
        self.remember(self.hard_state._replace(founding=founding))

    def append(self, entries: list[Entry]) -> None:
        self.storage.append(entries)
        self.pending.entries += entries

    def fetch(self, lsn: int) -> None:
        """Have records from `lsn` on in memory soon."""
        if lsn not in self._fetching:
            self._fetching[lsn] = None
            self.pending.reads.append(lsn)

    def fetched(self, lsn: int, entries: Sequence[Entry]) -> None:
        """They were read, or (none) are not there any more."""
        self._fetching.pop(lsn, None)
        self.storage.hold(entries)

    def adopt(self, entries: Sequence[Entry]) -> None:
        """Whoever the records say is a member is one from now on; and which group this is."""
        for entry in entries:
            _, lsn, kind, payload = entry
            if kind == MEMBERS and lsn > self.membership.lsn:
                members = decode_members(payload)
                self.membership.change(lsn, members)
                self.tell(MembersChanged(lsn, members))
            if kind != DATA and not self.founding and (founding := founding_in(entry)):
                self._named_founding = lsn, founding

    def truncate(self, lsn: int) -> None:
        """Cut what the group does not have, and say what it was."""
        assert lsn > self.quorum_lsn, "a record that the quorum has must never be cut"
        ready, storage = self.pending, self.storage
        ready.events.append(Diverged(lsn, storage.last_lsn, storage.latest(lsn)))
        self.reach(reach.CUT if lsn <= self._handed_lsn else reach.CUT_BEFORE_WRITTEN)
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
        if self._named_founding is not None and self._named_founding[0] >= lsn:
            self._named_founding = None
        while self.membership.lsn >= lsn:
            self.reach(reach.MEMBERS_CUT)
            ready.events.append(MembersChanged(*self.membership.undo()))

    def restart_from(self, snapshot: Snapshot) -> None:
        """The snapshot has taken the place of the log and of all that was to become of it."""
        self.reach(reach.PEER_SNAPSHOT)
        self.storage.reset(snapshot)
        self.pending.entries.clear()
        self.pending.truncate_from = None
        self._marks.clear()
        self._handed_lsn = self.flushed_lsn = self.applied_lsn = snapshot.lsn
        self.quorum_lsn = self.visible_lsn = snapshot.lsn
        self.matched_lsn = max(self.matched_lsn, snapshot.lsn)
        self._named_founding = None
        self.membership.restart(snapshot.lsn, snapshot.members)

    def mark_flushed(self, mark: int) -> bool:
        """Take in that a Ready's records are durable; whether that moved anything."""
        flushed_lsn = self.flushed_lsn
        while self._marks and self._marks[0][0] <= mark:
            flushed_lsn = max(flushed_lsn, self._marks.popleft()[1])
        moved = flushed_lsn > self.flushed_lsn
        self.flushed_lsn = flushed_lsn
        return moved

    # -- what the driver gets

    def send(self, message: Message) -> None:
        self.pending.messages.append(message)

    def tell(self, event: Event) -> None:
        self.pending.events.append(event)

    def reach(self, state: str) -> None:
        self.pending.reached.append(state)

    def take_ready(self) -> Ready | None:
        if self._named_founding is not None and self._named_founding[0] <= self.quorum_lsn:
            self.adopt_founding(self._named_founding[1])
        ready = self.pending
        lsns = (self.visible_lsn, self.quorum_lsn, self.acknowledgeable_lsn)
        if not (
            ready.entries
            or ready.messages
            or ready.chunks
            or ready.received
            or ready.reads
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
        self.pending = Ready()
        return ready
