"""What a primary sends: records, renewals of its lease, what is visible, snapshots.

Nothing is heard or counted here.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocols.replication import reach
from protocols.replication.config import NEVER
from protocols.replication.lease import Lease
from protocols.replication.log import Entry, record_bytes
from protocols.replication.messages import WITNESS, Append, SnapshotChunk
from protocols.replication.progress import SNAPSHOT, STREAM, Progress
from protocols.replication.quorum import InSync
from protocols.replication.state import State


class Shipping:
    """The sending end of replication, for each other member at its own pace."""

    def __init__(
        self, state: State, progress: dict[str, Progress], lease: Lease, in_sync: InSync
    ) -> None:
        self._state, self._progress = state, progress
        self._lease, self._in_sync = lease, in_sync
        self._snapshot_s = NEVER
        """When more of a snapshot may be sent that waits for nothing but its rate."""
        self._announce_s = NEVER
        """When replicas hear what is visible, if no records say it before."""

    @property
    def deadline_s(self) -> float:
        return min(self._snapshot_s, self._announce_s)

    def tick(self) -> None:
        """Say what is due; more of a snapshot leaves with the next `ship`."""
        now_s = self._state.now_s
        if now_s >= self._snapshot_s:
            self._snapshot_s = NEVER
        if now_s >= self._announce_s:
            self._announce()

    def ship(self) -> None:
        """Send each member what it may get now; called once for each Ready."""
        self._snapshot_s = NEVER
        roles, storage = self._state.membership.roles, self._state.storage
        for name, to in self._progress.items():
            if roles[name] == WITNESS:
                continue
            if to.state == SNAPSHOT:
                self._ship_snapshot(name, to)
            elif to.next_lsn <= storage.last_lsn:
                self._ship_records(name, to)
        self._announce()

    def renew(self) -> None:
        """Ask everybody for another lease, and again for whatever got no answer."""
        storage, roles = self._state.storage, self._state.membership.roles
        for name, to in self._progress.items():
            if to.probe_sent and to.next_lsn < storage.last_lsn:
                self._state.reach(reach.SENT_AGAIN)
            to.probe_sent = False
            snapshot = storage.snapshot
            if snapshot is not None and to.state == SNAPSHOT:
                if to.snapshot_sent_bytes and not to.snapshot_moved:
                    self._state.reach(reach.SNAPSHOT_RESUMED)
                to.resume_snapshot(snapshot.size_bytes)
            elif snapshot is not None and storage.epoch_at(to.next_lsn - 1) is None:
                to.send_snapshot(snapshot.lsn)  # what it lacks was dropped while it was on its way
            if roles[name] == WITNESS or to.state == SNAPSHOT:
                self._send_append(name, to, 0, ())
            elif to.state == STREAM or not self._ship_records(name, to):
                self._send_append(name, to, to.next_lsn - 1, ())

    def admit(self, name: str, to: Progress) -> None:
        """Tell a member that its word counts again."""
        self._send_append(name, to, to.next_lsn - 1 if to.state == STREAM else 0, ())

    def _announce(self) -> None:
        """Say what is visible to whom no records have said it for a while."""
        state = self._state
        streams = [each for each in self._progress.items() if each[1].state == STREAM]
        unaware = [
            (name, to)
            for name, to in streams
            if to.announced_visible_lsn < state.visible_lsn
            and state.membership.roles[name] != WITNESS
        ]
        if not unaware:
            self._announce_s = NEVER
        elif self._announce_s == NEVER:
            self._announce_s = state.now_s + state.config.announce_delay_s
        if state.now_s >= self._announce_s:
            self._announce_s = NEVER
            for name, to in unaware:
                self._send_append(name, to, to.next_lsn - 1, ())

    def _ship_records(self, name: str, to: Progress) -> bool:
        """Send what fits on the way; whether anything did."""
        config, storage = self._state.config, self._state.storage
        sent = False
        while to.next_lsn <= storage.last_lsn and to.may_send(
            config.max_in_flight_bytes, config.max_in_flight_messages
        ):
            if storage.epoch_at(to.next_lsn - 1) is None:
                assert storage.snapshot is not None
                to.send_snapshot(storage.snapshot.lsn)
                self._ship_snapshot(name, to)
                return False
            batch = storage.entries(to.next_lsn, storage.last_lsn, config.max_batch_bytes)
            if not batch:
                self._state.fetch(to.next_lsn)
                return sent
            self._send_append(name, to, to.next_lsn - 1, batch)
            to.sent(batch[-1][1], sum(map(record_bytes, batch)))
            sent = True
        return sent

    def _send_append(
        self, name: str, to: Progress, prev_lsn: int, entries: Sequence[Entry]
    ) -> None:
        state = self._state
        prev_epoch = state.storage.epoch_at(prev_lsn)
        if prev_epoch is None:
            prev_lsn = prev_epoch = 0
        to.announced_visible_lsn = state.visible_lsn
        witness = state.membership.roles[name] == WITNESS
        message = Append(
            state.name,
            name,
            state.epoch,
            prev_lsn,
            prev_epoch,
            entries,
            state.quorum_lsn,
            state.visible_lsn,
            self._lease.round,
            to.echo_us,
            to.admit,
            self._in_sync.version if witness else 0,
            self._in_sync.declared if witness else (),
            state.group,
            state.founding,
        )
        state.send(message)

    def _ship_snapshot(self, name: str, to: Progress) -> None:
        state, snapshot = self._state, self._state.storage.snapshot
        assert snapshot is not None
        if snapshot.lsn != to.snapshot_lsn:
            to.send_snapshot(snapshot.lsn)
        config, size, now_s = state.config, snapshot.size_bytes, state.now_s
        while now_s >= to.snapshot_next_s and to.may_send_snapshot(
            size, config.max_in_flight_bytes
        ):
            offset = to.snapshot_sent_bytes
            part_bytes = min(config.max_batch_bytes, size - offset)
            to.sent_snapshot(part_bytes, now_s, config.snapshot_bytes_per_s)
            about = (snapshot.lsn, snapshot.epoch, snapshot.members, snapshot.epochs)
            group = (state.group, state.founding)
            chunk = (state.name, name, state.epoch, *about, offset, size, b"", *group)
            state.pending.chunks.append((SnapshotChunk(*chunk), part_bytes))
        if to.may_send_snapshot(size, config.max_in_flight_bytes):
            self._snapshot_s = min(self._snapshot_s, to.snapshot_next_s)
