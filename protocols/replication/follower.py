"""Following a primary: take its records, keep the promise that its lease rests on, confirm.

Whatever would cut a record that the quorum has is refused here. Elections are next door.
"""

from __future__ import annotations

from collections import deque

from protocols.replication.core import NEVER, PRIMARY, Core
from protocols.replication.log import Entry
from protocols.replication.messages import (
    Admitted,
    Append,
    AppendReply,
    Diverged,
    PrimaryRefused,
    SnapshotChunk,
    SnapshotReply,
)
from protocols.replication.pieces import Pieces
from protocols.replication.storage import Snapshot

_NO_REJECT = -1
_MAX_STAMPS = 64


class Follower(Core):
    """The receiving end of replication."""

    _round = 0
    _replied_round = 0
    _stamps: deque[tuple[int, int]]
    """(what must be applied, to be as fresh as this stamp of ours), as the primary echoes them."""
    _incoming: tuple[int, int, Pieces] | None = None
    _installing: Snapshot | None = None
    _fresh_us = 0
    """Our state has all that had been acknowledged at this time of our clock; 0: never yet."""

    def _follow(self, epoch: int, primary: str, now_s: float) -> None:
        """This epoch's primary has spoken: promise it our silence for the length of a lease.

        Our vote is its own from now on: one that was lost with our disk must not be cast again.
        """
        newer = epoch > self.epoch
        assert newer or self.role != PRIMARY, "an epoch has one primary"
        if newer:
            self._enter_epoch(epoch, primary)
        if newer or self.primary != primary:
            self._become_follower(epoch, primary, now_s)
            self._round = self._replied_round = 0
        timeout_s = self.config.detection_timeout_s
        self._promised_epoch = epoch
        self._promise_until_s = now_s + timeout_s
        self._deadline_s = now_s + timeout_s + self._patience_s(self.config.detection_jitter)

    def _on_append(self, message: Append, now_s: float) -> None:
        self._follow(message.epoch, message.sender, now_s)
        self._round = max(self._round, message.round)
        if self.config.witness:
            self._vouch(message)
            self._confirm()
        elif self._installing is not None:
            self._confirm()
        elif not self._fits(message.prev_lsn, message.prev_epoch):
            self._reject(message)
        elif self._take(list(message.entries)):
            self._accept(message)
        if message.admit and not self.standing:
            self._remember(self.hard_state._replace(standing=True))
            self._next.events.append(Admitted(self.epoch))
            self._confirm()

    def _fits(self, prev_lsn: int, prev_epoch: int) -> bool:
        if prev_lsn <= self.quorum_lsn:
            return True  # what the quorum has, every later primary has
        return self.storage.epoch_at(prev_lsn) == prev_epoch

    def _reject(self, message: Append) -> None:
        """Name a place where the logs may meet, skipping whole epochs."""
        lsn = min(self.storage.last_lsn, message.prev_lsn - 1)
        lsn = max(self.storage.last_not_after(lsn, message.prev_epoch), self.quorum_lsn)
        self._confirm(message.prev_lsn, lsn, self.storage.epoch_at(lsn) or 0)

    def _take(self, entries: list[Entry]) -> bool:
        """Append what is new, cutting what disagrees; False if that must not be cut."""
        storage = self.storage
        known = 0
        if entries and entries[0][1] <= storage.last_lsn:
            for epoch, lsn, _, _ in entries:
                if lsn > storage.last_lsn:
                    break
                ours = storage.epoch_at(lsn)
                if ours is not None and ours != epoch:
                    if lsn <= self.quorum_lsn:
                        refusal = PrimaryRefused(self.primary or "", self.epoch, lsn)
                        self._next.events.append(refusal)
                        return False
                    self._truncate(lsn)
                    break
                known += 1
        new = entries[known:]
        if new:
            self._append(new)
            self._adopt_members(new)
        return True

    def _accept(self, message: Append) -> None:
        held_lsn = message.prev_lsn + len(message.entries)
        fresh = held_lsn > self.matched_lsn
        self.matched_lsn = max(self.matched_lsn, held_lsn)
        self.quorum_lsn = max(self.quorum_lsn, min(message.quorum_lsn, self.matched_lsn))
        self.visible_lsn = max(self.visible_lsn, min(message.visible_lsn, self.matched_lsn))
        if message.echo_us > self._fresh_us:
            self._note_stamp(message.visible_lsn, message.echo_us)
        waits_for_sync = message.entries and self.flushed_lsn < held_lsn
        if waits_for_sync and self.config.ack.level != "remote_write":
            return  # `synced` will confirm
        if fresh or message.entries or self._round > self._replied_round:
            self._confirm()

    def _note_stamp(self, visible_lsn: int, stamp_us: int) -> None:
        stamps = self._stamps
        if len(stamps) >= _MAX_STAMPS:
            stamps.pop()
        stamps.append((visible_lsn, stamp_us))

    def lag_s(self, now_s: float) -> float:
        """How old our state may be at most: it has all that had been acknowledged so long ago."""
        stamps = self._stamps
        while stamps and stamps[0][0] <= self.applied_lsn:
            self._fresh_us = max(self._fresh_us, stamps.popleft()[1])
        return now_s - self._fresh_us / 1e6 if self._fresh_us else NEVER

    def _confirm(self, rejected: int = _NO_REJECT, hint_lsn: int = 0, hint_epoch: int = 0) -> None:
        """Tell the primary where we are."""
        if self.primary is None or self.primary == self.name:
            return
        self._replied_round = self._round
        version = self.hard_state.vouched_version
        reply = AppendReply(
            self.name,
            self.primary,
            self.epoch,
            self._round,
            int(self._now_s * 1e6),
            rejected,
            hint_lsn,
            hint_epoch,
            self.matched_lsn,
            min(self.flushed_lsn, self.matched_lsn),
            self.applied_lsn,
            self.standing,
            version if self.hard_state.vouched_epoch == self.epoch else 0,
        )
        self._send(reply)

    def _vouch(self, message: Append) -> None:
        """As a witness, remember durably whom the primary declares in sync."""
        state = self.hard_state
        known = (state.vouched_epoch, state.vouched_version)
        if message.in_sync_version and (message.epoch, message.in_sync_version) > known:
            self._remember(
                state._replace(
                    vouched_epoch=message.epoch,
                    vouched_version=message.in_sync_version,
                    vouched=tuple(message.in_sync),
                )
            )

    # -- snapshots

    def _on_snapshot_chunk(self, chunk: SnapshotChunk, now_s: float) -> None:
        self._follow(chunk.epoch, chunk.sender, now_s)
        if self._installing is not None or self.config.witness:
            return
        held = chunk.lsn <= self.quorum_lsn
        if held or self.storage.epoch_at(chunk.lsn) == chunk.lsn_epoch:
            self._snapshot_matches(chunk.lsn)
            self._reply_to_chunk(chunk, chunk.total_bytes)
            return
        if chunk.total_bytes > self.config.max_snapshot_bytes:
            return
        key = (chunk.lsn, chunk.lsn_epoch)
        if chunk.offset == 0 and (self._incoming is None or self._incoming[:2] != key):
            self._incoming = (*key, Pieces())
        if self._incoming is None or self._incoming[:2] != key:
            self._reply_to_chunk(chunk, 0)
            return
        received = self._incoming[2]
        if chunk.offset == len(received):
            received.append(chunk.data)
        if len(received) < chunk.total_bytes:
            self._reply_to_chunk(chunk, len(received))
            return
        self._incoming = None
        self._installing = self._next.install = Snapshot(
            chunk.lsn, chunk.lsn_epoch, chunk.members, chunk.epochs, received
        )
        self._report_replaced(self._installing)

    def _report_replaced(self, snapshot: Snapshot) -> None:
        """The snapshot takes our log's place: what of it is not in the snapshot has diverged."""
        storage = self.storage
        for lsn in range(max(self.quorum_lsn + 1, storage.first_lsn), storage.last_lsn + 1):
            theirs = snapshot.epoch_at(lsn)
            if lsn > snapshot.lsn or (theirs is not None and theirs != storage.epoch_at(lsn)):
                lost = list(storage.entries(lsn, storage.last_lsn, 1 << 62))
                self._next.events.append(Diverged(lsn, lost))
                return

    def _reply_to_chunk(self, chunk: SnapshotChunk, received_bytes: int) -> None:
        reply = SnapshotReply(self.name, chunk.sender, self.epoch, chunk.lsn, received_bytes)
        self._send(reply)

    def _snapshot_matches(self, lsn: int) -> None:
        """Our log agrees up to `lsn`, and the quorum has it."""
        self.matched_lsn = max(self.matched_lsn, lsn)
        self.quorum_lsn = max(self.quorum_lsn, lsn)
        self.visible_lsn = max(self.visible_lsn, lsn)
        self._confirm()

    def snapshot_installed(self) -> None:
        """The snapshot of `Ready.install` is durable and loaded, and the log file is empty."""
        snapshot = self._installing
        assert snapshot is not None
        self._installing = None
        self.storage.reset(snapshot)
        self._next.entries.clear()
        self._next.truncate_from = None
        self._marks.clear()
        self._handed_lsn = self.flushed_lsn = self.applied_lsn = snapshot.lsn
        self.quorum_lsn = self.visible_lsn = snapshot.lsn
        self._members_log.clear()
        self._set_members(snapshot.lsn, snapshot.members)
        self._snapshot_matches(snapshot.lsn)
