"""Following a primary: take its records, confirm, and keep what its witnesses must remember.

Whatever would cut a record that the quorum has is refused here. Elections are elsewhere.
"""

from __future__ import annotations

from protocols.replication import reach
from protocols.replication.elector import Elector
from protocols.replication.freshness import Freshness
from protocols.replication.incoming import Incoming
from protocols.replication.log import Entry
from protocols.replication.messages import (
    Admitted,
    Append,
    AppendReply,
    Diverged,
    HandOver,
    Message,
    PrimaryRefused,
    SnapshotChunk,
    SnapshotReply,
    VoteReply,
    VoteRequest,
)
from protocols.replication.state import State
from protocols.replication.storage import Snapshot
from protocols.replication.voter import Voter

_NO_REJECT = -1


class Follower:
    """The receiving end of replication, of one primary in one epoch (or of none, yet)."""

    def __init__(
        self,
        state: State,
        voter: Voter,
        elector: Elector,
        freshness: Freshness,
        incoming: Incoming,
    ) -> None:
        self._state, self._voter, self._elector = state, voter, elector
        self._freshness, self._incoming = freshness, incoming
        self._round = self._replied_round = 0

    def step(self, message: Message) -> None:
        match message:
            case Append():
                self._on_append(message)
            case SnapshotChunk():
                self._on_snapshot_chunk(message)
            case VoteRequest():
                self._voter.answer(message)
            case VoteReply():
                self._elector.hear(message)
            case HandOver():
                self._on_hand_over(message)

    @property
    def deadline_s(self) -> float:
        return self._elector.deadline_s

    def tick(self) -> None:
        """The primary has been silent for too long."""
        if self._elector.is_due:
            self._elector.stand(pre=not self._state.membership.alone)

    def has_flushed(self) -> None:
        if self._state.matched_lsn:
            self._confirm()

    def has_applied(self) -> None:
        self._confirm()

    def _on_hand_over(self, message: HandOver) -> None:
        """The primary of this epoch stopped for us: its promises are released."""
        state = self._state
        ours = message.epoch == state.epoch and message.sender == state.primary
        if ours and self._elector.may_stand:
            self._elector.stand(pre=False, released_epoch=message.epoch)

    # -- records

    def _on_append(self, message: Append) -> None:
        state = self._state
        self._round = max(self._round, message.round)
        if state.config.witness:
            self._vouch(message)
            self._confirm()
        elif self._incoming.installing is not None:
            self._confirm()
        elif not self._fits(message.prev_lsn, message.prev_epoch):
            self._reject(message)
        elif self._take(list(message.entries)):
            self._accept(message)
        if message.admit and not state.standing:
            state.stand()
            state.tell(Admitted(state.epoch))
            state.reach(reach.ADMITTED)
            self._confirm()

    def _fits(self, prev_lsn: int, prev_epoch: int) -> bool:
        state = self._state
        if prev_lsn <= state.quorum_lsn:
            return True  # what the quorum has, every later primary has
        return state.storage.epoch_at(prev_lsn) == prev_epoch

    def _reject(self, message: Append) -> None:
        """Name a place where the logs may meet, skipping whole epochs."""
        self._state.reach(reach.APPEND_REFUSED)
        state, storage = self._state, self._state.storage
        lsn = min(storage.last_lsn, message.prev_lsn - 1)
        lsn = max(storage.last_not_after(lsn, message.prev_epoch), state.quorum_lsn)
        self._confirm(message.prev_lsn, lsn, storage.epoch_at(lsn) or 0)

    def _take(self, entries: list[Entry]) -> bool:
        """Append what is new, cutting what disagrees; False if that must not be cut."""
        state, storage = self._state, self._state.storage
        known = 0
        if entries and entries[0][1] <= storage.last_lsn:
            for epoch, lsn, _, _ in entries:
                if lsn > storage.last_lsn:
                    break
                ours = storage.epoch_at(lsn)
                if ours is not None and ours != epoch:
                    if lsn <= state.quorum_lsn:
                        state.tell(PrimaryRefused(state.primary or "", state.epoch, lsn))
                        return False
                    state.truncate(lsn)
                    break
                known += 1
        new = entries[known:]
        if new:
            state.append(new)
            state.adopt(new)
        return True

    def _accept(self, message: Append) -> None:
        state = self._state
        held_lsn = message.prev_lsn + len(message.entries)
        fresh = held_lsn > state.matched_lsn
        state.matched_lsn = matched_lsn = max(state.matched_lsn, held_lsn)
        state.quorum_lsn = max(state.quorum_lsn, min(message.quorum_lsn, matched_lsn))
        state.visible_lsn = max(state.visible_lsn, min(message.visible_lsn, matched_lsn))
        self._freshness.note(message.visible_lsn, message.echo_us)
        waits_for_sync = message.entries and state.flushed_lsn < held_lsn
        if waits_for_sync and state.config.ack.level != "remote_write":
            return  # `has_flushed` will confirm
        if fresh or message.entries or self._round > self._replied_round:
            self._confirm()

    def _confirm(self, rejected: int = _NO_REJECT, hint_lsn: int = 0, hint_epoch: int = 0) -> None:
        """Tell the primary where we are."""
        state, memory = self._state, self._state.hard_state
        if state.primary is None:
            return
        self._replied_round = self._round
        reply = AppendReply(
            state.name,
            state.primary,
            state.epoch,
            self._round,
            int(state.now_s * 1e6),
            rejected,
            hint_lsn,
            hint_epoch,
            state.matched_lsn,
            min(state.flushed_lsn, state.matched_lsn),
            state.applied_lsn,
            memory.standing,
            memory.vouched_version if memory.vouched_epoch == state.epoch else 0,
            state.lacks_room,
            state.group,
            state.founding,
        )
        state.send(reply)

    def _vouch(self, message: Append) -> None:
        """As a witness, remember durably whom the primary declares in sync."""
        memory = self._state.hard_state
        known = (memory.vouched_epoch, memory.vouched_version)
        if message.in_sync_version and (message.epoch, message.in_sync_version) > known:
            self._state.remember(
                memory._replace(
                    vouched_epoch=message.epoch,
                    vouched_version=message.in_sync_version,
                    vouched=tuple(message.in_sync),
                )
            )

    # -- snapshots

    def _on_snapshot_chunk(self, chunk: SnapshotChunk) -> None:
        state = self._state
        if self._incoming.installing is not None or state.config.witness:
            return
        held = chunk.lsn <= state.quorum_lsn
        if held or state.storage.epoch_at(chunk.lsn) == chunk.lsn_epoch:
            self._agree_up_to(chunk.lsn)
            self._reply_to_chunk(chunk, chunk.total_bytes)
            return
        if chunk.total_bytes > state.config.max_snapshot_bytes:
            return
        if self._incoming.take(chunk):
            state.pending.received.append(chunk)
        snapshot = self._incoming.installing
        if snapshot is None:
            self._reply_to_chunk(chunk, self._incoming.received_bytes(chunk))
            return
        state.pending.install = snapshot
        self._report_replaced(snapshot)

    def _report_replaced(self, snapshot: Snapshot) -> None:
        """The snapshot takes our log's place: what of it is not in the snapshot has diverged."""
        state, storage = self._state, self._state.storage
        begin_lsn = max(state.quorum_lsn + 1, storage.first_lsn)
        ours = storage.epochs_until(storage.last_lsn)
        begun = [lsn for _, lsn in (*ours, *snapshot.epochs) if lsn > begin_lsn]
        for lsn in sorted([begin_lsn, snapshot.lsn + 1, *begun]):  # in between nothing changes
            if not begin_lsn <= lsn <= storage.last_lsn:
                continue
            theirs = snapshot.epoch_at(lsn)
            if lsn > snapshot.lsn or (theirs is not None and theirs != storage.epoch_at(lsn)):
                state.tell(Diverged(lsn, storage.last_lsn, storage.latest(lsn)))
                state.reach(reach.SNAPSHOT_DROPS)
                return

    def _reply_to_chunk(self, chunk: SnapshotChunk, received_bytes: int) -> None:
        state = self._state
        about = (state.epoch, chunk.lsn, received_bytes)
        state.send(SnapshotReply(state.name, chunk.sender, *about, state.group, state.founding))

    def _agree_up_to(self, lsn: int) -> None:
        """The quorum has what the snapshot was made of, and so have we."""
        state = self._state
        state.matched_lsn = max(state.matched_lsn, lsn)
        state.quorum_lsn = max(state.quorum_lsn, lsn)
        state.visible_lsn = max(state.visible_lsn, lsn)
        self._confirm()
