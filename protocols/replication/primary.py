"""Being primary: ship records, count who has them, hold the lease, hand over. No elections here.

The lease runs from the *sending* of a renewal round that a majority answered. The primary counts
only its own epoch's records towards the quorum's LSN, and serves nothing before the first of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from protocols.replication.core import NEVER, PRIMARY, NotPrimary, Refused
from protocols.replication.election import Elector
from protocols.replication.log import DATA, EPOCH_START, MEMBERS, record_bytes
from protocols.replication.messages import (
    LEARNER,
    VOTER,
    WITNESS,
    Append,
    AppendReply,
    HandOver,
    Members,
    RoleChanged,
    SnapshotChunk,
    SnapshotReply,
    SwitchoverEnded,
)
from protocols.replication.progress import SNAPSHOT, STREAM, Progress
from protocols.replication.quorum import InSync, majority, reached_by
from protocols.replication.storage import Snapshot, encode_members


class Primary(Elector):
    """The sending end of replication."""

    progress: dict[str, Progress]
    """What is known of every other member; empty unless primary."""
    _round = 0
    _own_lsn = 0
    _lease_until_s = 0.0
    _heartbeat_s = NEVER
    _snapshot_s = NEVER
    """When more of a snapshot may be sent that waits for nothing but its rate."""
    _announce_s = NEVER
    """When replicas hear what is visible, if no records say it before."""
    _handing: tuple[str, float] | None = None

    def _become_primary(self, now_s: float) -> None:
        self.role, self.primary = PRIMARY, self.name
        self._next.events.append(RoleChanged(PRIMARY, self.epoch, self.name))
        self.matched_lsn = self.quorum_lsn
        self._round, self._rounds = 0, deque[tuple[int, float]]()
        self._in_sync = InSync()
        self._lease_until_s = NEVER if self._alone else 0.0
        self._leaseless_since_s = now_s
        self.progress = {}
        self._own_lsn = self.last_lsn + 1
        if self.last_lsn == 0:
            founders = tuple(self.members.items())
            self._append([(self.epoch, 1, MEMBERS, encode_members(founders))])
            self._set_members(1, founders)
        else:
            self._append([(self.epoch, self._own_lsn, EPOCH_START, b"")])
        self._know_members(now_s)
        self._heartbeat_s = now_s

    def _know_members(self, now_s: float) -> None:
        """Start or stop shipping to whoever the membership now names."""
        old = self.progress
        self.progress = {
            name: old.get(name) or Progress(self._own_lsn, now_s)
            for name in self.members
            if name != self.name
        }
        if self._alone:
            self._lease_until_s = NEVER
        elif self._lease_until_s == NEVER:
            self._lease_until_s, self._leaseless_since_s = 0.0, now_s

    def _stand_down(self, now_s: float) -> None:
        super()._stand_down(now_s)
        self.progress = {}
        self._lease_until_s, self._heartbeat_s, self._handing = 0.0, NEVER, None
        self._announce_s = NEVER

    # -- proposing

    def propose(self, payload: bytes, kind: int = DATA) -> int:
        """Append one record here, to be shipped by the next Ready; its LSN. Raises Refused."""
        if self.role != PRIMARY or self._handing is not None:
            raise NotPrimary(self.primary)
        lsn = self.storage.last_lsn + 1
        if lsn - self.quorum_lsn > self.config.max_ahead_records:
            raise Refused(f"{self.config.max_ahead_records} records already wait for the quorum")
        if len(payload) > self.config.max_entry_bytes:
            raise Refused(f"a record of {len(payload)} bytes is over {self.config.max_entry_bytes}")
        self._append([(self.epoch, lsn, kind, payload)])
        return lsn

    # -- the lease

    def _heartbeat(self, now_s: float) -> None:
        """Begin a renewal round, and ask again whatever got no answer."""
        self._round += 1
        self._rounds.append((self._round, now_s))
        self._heartbeat_s = now_s + self.config.heartbeat_interval_s
        self._declare_in_sync(now_s)
        for name, to in self.progress.items():
            to.probe_sent = False
            snapshot = self.storage.snapshot
            if snapshot is not None and to.state == SNAPSHOT:
                to.resume_snapshot(len(snapshot.data))
            elif snapshot is not None and self.storage.epoch_at(to.next_lsn - 1) is None:
                to.send_snapshot(snapshot.lsn)  # what it lacks was dropped while it was on its way
            if self.members[name] == WITNESS or to.state == SNAPSHOT:
                self._send_append(name, to, 0, ())
            elif to.state == STREAM or not self._ship_records(name, to):
                self._send_append(name, to, to.next_lsn - 1, ())

    def _renew_lease(self) -> None:
        acks = [self._round if name == self.name else 0 for name in self.voters]
        acks += [p.acked_round for n, p in self.progress.items() if n in self.voters and p.standing]
        acked = reached_by(acks, self._majority)
        config = self.config
        length_s = config.detection_timeout_s * (1 - config.max_clock_drift)
        length_s /= 1 + config.max_clock_drift
        while self._rounds and self._rounds[0][0] <= acked:
            _, sent_s = self._rounds.popleft()
            self._lease_until_s = max(self._lease_until_s, sent_s + length_s)

    @property
    def _demote_s(self) -> float:
        """When to step down unless the lease is renewed: a little before it ends."""
        if not self.config.lease:
            return NEVER
        if self._lease_until_s == 0.0:
            return self._leaseless_since_s + self.config.detection_timeout_s
        return self._lease_until_s - 0.02 * self.config.detection_timeout_s

    def can_serve(self, now_s: float) -> bool:
        """Whether reads of the visible state are linearizable now: lease held, epoch begun."""
        return (
            self.role == PRIMARY
            and self.quorum_lsn >= self._own_lsn
            and (now_s < self._lease_until_s or not self.config.lease)
            and now_s < self._demote_s
        )

    def can_write(self, now_s: float) -> bool:
        """Whether proposals are welcome: `can_serve`, and no switchover under way."""
        return self._handing is None and self.can_serve(now_s)

    # -- shipping

    def _ship(self) -> None:
        """Send each member what it may get now; called once for each Ready."""
        self._snapshot_s = NEVER
        for name, to in self.progress.items():
            if self.members[name] == WITNESS:
                continue
            if to.state == SNAPSHOT:
                self._ship_snapshot(name, to)
            elif to.next_lsn <= self.storage.last_lsn:
                self._ship_records(name, to)
        self._announce()

    def _announce(self) -> None:
        """Say what is visible to whom no records have said it for a while."""
        streams = [each for each in self.progress.items() if each[1].state == STREAM]
        unaware = [
            (name, to)
            for name, to in streams
            if to.announced_visible_lsn < self.visible_lsn and self.members[name] != WITNESS
        ]
        if not unaware:
            self._announce_s = NEVER
        elif self._announce_s == NEVER:
            self._announce_s = self._now_s + self.config.announce_delay_s
        if self._now_s >= self._announce_s:
            self._announce_s = NEVER
            for name, to in unaware:
                self._send_append(name, to, to.next_lsn - 1, ())

    def _ship_records(self, name: str, to: Progress) -> bool:
        config, storage = self.config, self.storage
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
            self._send_append(name, to, to.next_lsn - 1, batch)
            to.sent(batch[-1][1], sum(map(record_bytes, batch)))
            sent = True
        return sent

    def _send_append(
        self, name: str, to: Progress, prev_lsn: int, entries: Sequence[tuple[int, int, int, bytes]]
    ) -> None:
        prev_epoch = self.storage.epoch_at(prev_lsn)
        if prev_epoch is None:
            prev_lsn = prev_epoch = 0
        to.announced_visible_lsn = self.visible_lsn
        witness = self.members[name] == WITNESS
        message = Append(
            self.name,
            name,
            self.epoch,
            prev_lsn,
            prev_epoch,
            entries,
            self.quorum_lsn,
            self.visible_lsn,
            self._round,
            to.echo_us,
            to.admit,
            self._in_sync.version if witness else 0,
            self._in_sync.declared if witness else (),
        )
        self._send(message)

    def _ship_snapshot(self, name: str, to: Progress) -> None:
        snapshot = self.storage.snapshot
        assert snapshot is not None
        if snapshot.lsn != to.snapshot_lsn:
            to.send_snapshot(snapshot.lsn)
        config, size, now_s = self.config, len(snapshot.data), self._now_s
        while now_s >= to.snapshot_next_s and to.may_send_snapshot(
            size, config.max_in_flight_bytes
        ):
            offset = to.snapshot_sent_bytes
            data = snapshot.data[offset : offset + config.max_batch_bytes]
            to.sent_snapshot(len(data), now_s, config.snapshot_bytes_per_s)
            about = (snapshot.lsn, snapshot.epoch, snapshot.members, snapshot.epochs)
            self._send(SnapshotChunk(self.name, name, self.epoch, *about, offset, size, data))
        if to.may_send_snapshot(size, config.max_in_flight_bytes):
            self._snapshot_s = min(self._snapshot_s, to.snapshot_next_s)

    # -- hearing back

    def _on_append_reply(self, reply: AppendReply, now_s: float) -> None:
        to = self.progress.get(reply.sender)
        if self.role != PRIMARY or to is None:
            return
        to.heard_s = now_s
        if not reply.standing:
            to.lost_its_disk(reply.flushed_lsn)
        to.standing = reply.standing
        to.acked_round = max(to.acked_round, reply.round)
        to.applied_lsn = reply.applied_lsn
        to.in_sync_version = max(to.in_sync_version, reply.in_sync_version)
        if reply.rejected_lsn >= 0:
            meeting_lsn = self.storage.last_not_after(reply.hint_lsn, reply.hint_epoch)
            to.rejected(reply.rejected_lsn, meeting_lsn + 1)
        elif to.state == SNAPSHOT:
            if reply.written_lsn >= to.snapshot_lsn:
                to.flushed_lsn = max(to.flushed_lsn, reply.flushed_lsn)
                to.probe(reply.written_lsn + 1)
        else:
            to.accepted(reply.written_lsn, reply.flushed_lsn)
        self._renew_lease()
        if self.can_serve(now_s):
            to.echo_us = max(to.echo_us, reply.stamp_us)
        self._advance(now_s)
        self._judge_standing(reply.sender, to, now_s)

    def _judge_standing(self, name: str, to: Progress, now_s: float) -> None:
        """Admit a member that came up empty once it again has what the quorum has."""
        if self.members.get(name) == WITNESS:
            caught_up = to.in_sync_version == self._in_sync.version
        else:
            caught_up = to.flushed_lsn >= self.quorum_lsn
        to.admit = not to.standing and caught_up and self.can_serve(now_s)
        if to.admit:
            prev_lsn = to.next_lsn - 1 if to.state == STREAM else 0
            self._send_append(name, to, prev_lsn, ())

    def _on_snapshot_reply(self, reply: SnapshotReply, now_s: float) -> None:
        to = self.progress.get(reply.sender)
        if self.role != PRIMARY or to is None:
            return
        to.heard_s = now_s
        if to.state == SNAPSHOT and reply.lsn == to.snapshot_lsn:
            to.snapshot_arrived(reply.received_bytes)

    # -- counting

    def _flushed_at(self, name: str) -> int:
        if name == self.name:
            return self.flushed_lsn
        to = self.progress.get(name)
        return to.flushed_lsn if to is not None and to.standing else 0

    def _advance(self, now_s: float) -> None:
        """Recount what the quorum has and what may be acknowledged."""
        lsn = reached_by(map(self._flushed_at, self._data_voters), self._majority)
        if len(self._data_voters) < len(self.voters):
            lsn = max(lsn, self._vouched_lsn())
        if lsn > self.quorum_lsn and lsn >= self._own_lsn:
            self.quorum_lsn = lsn
        if self.quorum_lsn >= self._own_lsn:
            self._acknowledge(now_s)
        if self._handing is not None:
            self._finish_hand_over(now_s)

    def _vouched_lsn(self) -> int:
        """What the declared set has, if set and witnesses behind it are a majority."""
        witnesses = [name for name in self.voters if self.members[name] == WITNESS]
        versions = [
            self.progress[name].in_sync_version
            for name in witnesses
            if name in self.progress and self.progress[name].standing
        ]
        if not self._in_sync.vouched(versions, self._data_voters, self._majority):
            return 0
        return min(map(self._flushed_at, self._in_sync.required))

    @property
    def in_sync_names(self) -> tuple[str, ...]:
        """On a primary with witnesses: who all must have a record that counts by their vouching."""
        return self._in_sync.required if self.role == PRIMARY else ()

    def _declare_in_sync(self, now_s: float) -> None:
        """Tell the witnesses which data replicas are alive and have all that the quorum has."""
        if len(self._data_voters) == len(self.voters):
            return
        limit_s = 0.5 * self.config.detection_timeout_s
        alive = [
            name
            for name in self._data_voters
            if name == self.name
            or (
                self.progress[name].standing
                and now_s - self.progress[name].heard_s < limit_s
                and self._flushed_at(name) >= self.quorum_lsn
            )
        ]
        self._in_sync.declare(alive)

    def _acknowledge(self, now_s: float) -> None:
        rule = self.config.ack
        if self._alone and rule.level != "off":
            visible = acknowledged = self.flushed_lsn
        elif rule.level == "off":
            visible = acknowledged = self.storage.last_lsn
        elif rule.level == "local":
            visible = acknowledged = self.flushed_lsn
        elif rule.level == "remote_apply":
            visible = self._reached("on", now_s)
            acknowledged = min(visible, self._reached("remote_apply", now_s))
        else:
            visible = acknowledged = self._reached(rule.level, now_s)
        # Whatever this epoch found is decided once its first record is, whoever must still confirm.
        self.visible_lsn = max(self.visible_lsn, visible, self._own_lsn)
        self.acknowledgeable_lsn = max(self.acknowledgeable_lsn, acknowledged)

    def _reached(self, level: str, now_s: float) -> int:
        """The LSN that the rule's standbys have reached, by this level's measure."""
        rule = self.config.ack
        if rule.method == "quorum":
            if level == "on":
                return self.quorum_lsn
            others = [self._at(level, name) for name in self._data_voters if name != self.name]
            own = self.flushed_lsn if level == "remote_write" else self.applied_lsn
            count = self._majority
            if len(self._data_voters) < len(self.voters):
                count = min(count, len(self._in_sync.required) or count)
            return min(self.flushed_lsn, reached_by([own, *others], count))
        names = [name for name in rule.names or self._data_voters if name != self.name]
        if rule.method == "first":
            limit_s = now_s - self.config.detection_timeout_s
            names = [n for n in names if n in self.progress and self.progress[n].heard_s > limit_s]
            names = names[: rule.count]
        return min(self.flushed_lsn, reached_by((self._at(level, n) for n in names), rule.count))

    def _at(self, level: str, name: str) -> int:
        to = self.progress.get(name)
        if to is None or not to.standing:
            return 0
        if level == "remote_write":
            return to.written_lsn
        return to.flushed_lsn if level == "on" else to.applied_lsn

    # -- membership and switchover

    def change_member(self, name: str, role: str | None, now_s: float) -> int:
        """Add a learner or witness, make a learner a voter, or (None) remove a member; the LSN.

        One change at a time. Raises Refused.
        """
        if not self.can_write(now_s):
            raise NotPrimary(self.primary)
        if self.members_lsn > self.quorum_lsn:
            raise Refused("a membership change is already under way")
        members = dict(self.members)
        before = members.pop(name, None)
        if name == self.name:
            raise Refused(f"{name} is the primary: hand over first")
        if role == VOTER:
            to = self.progress.get(name)
            if before is None or before == WITNESS:
                raise Refused(f"{name} must be a learner first")
            if to is None or not to.standing or not self._caught_up(to):
                raise Refused(f"{name} has not caught up")
        elif role is not None and before is not None:
            raise Refused(f"{name} is already a {before}: remove it first")
        elif role is None and before is None:
            raise Refused(f"{name} is no member")
        if role is not None:
            members[name] = role
        if role is None and before != LEARNER and not self._can_go_on(members, now_s):
            raise Refused(f"without {name}, no majority that is alive and caught up would remain")
        changed: Members = tuple(sorted(members.items()))
        lsn = self.propose(encode_members(changed), MEMBERS)
        self._adopt_members(self.storage.entries(lsn, lsn, 1 << 62))
        self._know_members(now_s)
        return lsn

    def _can_go_on(self, members: dict[str, str], now_s: float) -> bool:
        """Whether these members could commit and elect, as far as is known just now."""
        heard_s = now_s - self.config.detection_timeout_s
        voters = [name for name, role in members.items() if role in (VOTER, WITNESS)]
        alive = [name for name in voters if name == self.name or self._is_well(name, heard_s)]
        data = [name for name in alive if members[name] == VOTER]
        if WITNESS in members.values() and not set(data) & set(self.in_sync_names or data):
            return False
        return bool(data) and len(alive) >= majority(len(voters))

    def _is_well(self, name: str, heard_s: float) -> bool:
        to = self.progress.get(name)
        if to is None or not to.standing or to.heard_s < heard_s:
            return False
        return self.members[name] == WITNESS or self._caught_up(to)

    def is_caught_up(self, name: str) -> bool:
        """Whether a member has about what the quorum has; False unless we are primary."""
        to = self.progress.get(name)
        return to is not None and self._caught_up(to)

    def _caught_up(self, to: Progress) -> bool:
        return to.flushed_lsn + self.config.catch_up_records >= self.quorum_lsn

    def hand_over(self, target: str, now_s: float) -> None:
        """Planned switchover: refuse writes, let `target` catch up, make it primary. 0 lost.

        Ends with a SwitchoverEnded event. Raises Refused.
        """
        if not self.can_write(now_s):
            raise NotPrimary(self.primary)
        if target not in self.progress or self.members[target] != VOTER:
            raise Refused(f"{target} is no other voter of this group")
        if not self.progress[target].standing:
            raise Refused(f"{target} has not caught up")
        self._handing = (target, now_s + self.config.switchover_timeout_s)
        self._advance(now_s)

    def _finish_hand_over(self, now_s: float) -> None:
        """Give up the lease for good, then let the target ask for votes."""
        assert self._handing is not None
        target, _ = self._handing
        last_lsn = self.storage.last_lsn
        to = self.progress.get(target)
        if to is None:
            self._abort_hand_over(f"{target} is no member any more")
            return
        acknowledged = self.acknowledgeable_lsn >= last_lsn
        if not (acknowledged and self.quorum_lsn == last_lsn == to.flushed_lsn):
            return
        self._next.events.append(SwitchoverEnded(target, True, ""))
        epoch = self.epoch
        acknowledged_lsn = self.acknowledgeable_lsn
        self._become_follower(epoch, None, now_s)
        self.acknowledgeable_lsn = acknowledged_lsn
        self._send(HandOver(self.name, target, epoch))

    def _abort_hand_over(self, reason: str) -> None:
        assert self._handing is not None
        self._next.events.append(SwitchoverEnded(self._handing[0], False, reason))
        self._handing = None

    # -- keeping the log short

    def compact(self, snapshot: Snapshot) -> int:
        """A durable snapshot exists; the first LSN that must stay in the log.

        Records before it stay too while absent replicas need them, up to `retained_bytes`.
        """
        storage = self.storage
        assert snapshot.lsn <= self.quorum_lsn, "a snapshot never passes the quorum's LSN"
        storage.snapshot = snapshot
        keep = min(snapshot.lsn + 1, storage.first_within(self.config.retained_bytes))
        if self.role == PRIMARY:
            needed = [to.flushed_lsn for to in self.progress.values()]
            keep = max(keep, min([*needed, snapshot.lsn]) + 1)
        storage.trim_before(min(keep, snapshot.lsn + 1))
        return storage.first_lsn
