"""Being primary: take proposals, hear who has what, keep the lease, change members, hand over.

What is sent is shipping.py's business, what counts is counting.py's. There are no elections here: a
primary grants no vote, it steps down when its lease ends.
"""

from __future__ import annotations

from collections.abc import Callable

from protocols.replication import reach
from protocols.replication.config import NEVER, NotPrimary, Refused, Rng
from protocols.replication.counting import Counting
from protocols.replication.lease import Lease
from protocols.replication.log import EPOCH_START, MEMBERS
from protocols.replication.messages import (
    LEARNER,
    VOTER,
    WITNESS,
    AppendReply,
    HandOver,
    Members,
    Message,
    OutOfRoom,
    SnapshotReply,
    SwitchoverEnded,
    VoteReply,
    VoteRequest,
)
from protocols.replication.progress import SNAPSHOT, Progress
from protocols.replication.quorum import InSync, majority, reached_by
from protocols.replication.shipping import Shipping
from protocols.replication.state import State
from protocols.replication.storage import encode_founding, encode_members

MAX_FOUNDING = 1 << 53


class Primary:
    """The role for one epoch, from its first record until its lease ends or is given up."""

    def __init__(
        self, state: State, rng: Rng, become_follower: Callable[[int, str | None], None]
    ) -> None:
        self._state, self._rng, self._become_follower = state, rng, become_follower
        self.progress: dict[str, Progress] = {}
        """What is known of every other member."""
        self.lease = Lease(state.config, state.now_s)
        self.in_sync = InSync()
        self._counting = Counting(state, self.progress, self.in_sync)
        self._shipping = Shipping(state, self.progress, self.lease, self.in_sync)
        self._heartbeat_s = state.now_s
        self._handing: tuple[str, float] | None = None
        """To whom we hand over, and until when it must have caught up."""
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        state, members = self._state, self._state.membership
        state.matched_lsn = state.quorum_lsn
        if state.last_lsn == 0:
            founders = tuple(members.roles.items())
            first = (state.epoch, 1, MEMBERS, encode_founding(self._new_founding(), founders))
            members.change(1, founders)
        else:
            if state.last_lsn > state.quorum_lsn:
                state.reach(reach.FOUND_UNDECIDED)
            payload = b"" if state.names_founding else encode_founding(self._new_founding())
            first = (state.epoch, state.last_lsn + 1, EPOCH_START, payload)
        state.append([first])
        state.adopt([first])
        self._know_members()

    def _new_founding(self) -> int:
        """By chance: two groups of one name must never take each other's records."""
        return 1 + int(self._rng.random() * MAX_FOUNDING)

    def _know_members(self) -> None:
        """Start or stop shipping to whoever the membership now names."""
        state = self._state
        known = self.progress.copy()
        self.progress.clear()
        for name in state.membership.roles:
            if name != state.name:
                new = known.get(name) or Progress(self._counting.own_lsn, state.now_s)
                self.progress[name] = new
        self.lease.is_for(state.membership.alone, state.now_s)

    # -- the role

    def step(self, message: Message) -> None:
        match message:
            case AppendReply():
                self._on_append_reply(message)
            case SnapshotReply():
                self._on_snapshot_reply(message)
            case VoteRequest():
                self._refuse_vote(message)

    def _refuse_vote(self, request: VoteRequest) -> None:
        state, about = self._state, (request.epoch, request.pre, False, False)
        state.send(VoteReply(state.name, request.sender, *about, state.group, state.founding))

    @property
    def deadline_s(self) -> float:
        if not self.progress:
            return NEVER
        abort_s = self._handing[1] if self._handing is not None else NEVER
        return min(self._heartbeat_s, self.lease.ends_s, abort_s, self._shipping.deadline_s)

    def tick(self) -> None:
        """The lease ends, a switchover takes too long, or everybody is to hear from us."""
        now_s = self._state.now_s
        if not self.progress:
            return
        if now_s >= self.lease.ends_s:
            self._state.reach(reach.LEASE_ENDED)
            self._step_down()
            return
        if self._handing is not None and now_s >= self._handing[1]:
            self._abort_hand_over("the target did not catch up in time")
        if now_s >= self._heartbeat_s:
            self._heartbeat_s = now_s + self._state.config.heartbeat_interval_s
            self.lease.ask(now_s)
            self._counting.declare_in_sync()
            self._shipping.renew()
            self._advance()
        self._shipping.tick()

    def has_flushed(self) -> None:
        self._advance()

    def has_applied(self) -> None:
        self._advance()

    def ship(self) -> None:
        """Send what may leave now; called once for each Ready."""
        if self._state.config.syncs_late:
            self._advance()  # by what is written here: nobody else need say anything
        if self.progress:
            self._shipping.ship()

    def _step_down(self) -> None:
        """From here on there is nobody to send to, and nothing is served."""
        self.lease.give_up()
        self.progress.clear()
        self._become_follower(self._state.epoch, None)

    # -- proposing

    def propose(self, payload: bytes, kind: int) -> int:
        state, config = self._state, self._state.config
        if self._handing is not None:
            raise NotPrimary(state.primary)
        lsn = state.storage.last_lsn + 1
        if lsn - state.quorum_lsn > config.max_ahead_records:
            raise Refused(f"{config.max_ahead_records} records already wait for the quorum")
        if len(payload) > config.max_entry_bytes:
            raise Refused(f"a record of {len(payload)} bytes is over {config.max_entry_bytes}")
        state.append([(state.epoch, lsn, kind, payload)])
        return lsn

    def can_serve(self, now_s: float) -> bool:
        return self._counting.has_begun and self.lease.holds(now_s)

    def has_room(self) -> bool:
        """Whether enough members have room on their disks for what comes next to be committed."""
        return self._counting.has_room()

    def can_write(self, now_s: float) -> bool:
        return self._handing is None and self.can_serve(now_s)

    # -- hearing back

    def _on_append_reply(self, reply: AppendReply) -> None:
        state, to = self._state, self.progress.get(reply.sender)
        if to is None:
            return
        to.heard_s = state.now_s
        if not reply.standing:
            to.lost_its_disk(reply.flushed_lsn)
        to.standing = reply.standing
        to.acked_round = max(to.acked_round, reply.round)
        to.applied_lsn = reply.applied_lsn
        to.in_sync_version = max(to.in_sync_version, reply.in_sync_version)
        if reply.lacks_room and not to.lacks_room:
            state.tell(OutOfRoom(reply.sender))
        to.lacks_room = reply.lacks_room
        if reply.rejected_lsn >= 0:
            meeting_lsn = state.storage.last_not_after(reply.hint_lsn, reply.hint_epoch)
            to.rejected(reply.rejected_lsn, meeting_lsn + 1)
        elif to.state == SNAPSHOT:
            if reply.written_lsn >= to.snapshot_lsn:
                to.flushed_lsn = max(to.flushed_lsn, reply.flushed_lsn)
                to.probe(reply.written_lsn + 1)
        else:
            to.accepted(reply.written_lsn, reply.flushed_lsn)
        self._renew_lease()
        if self.can_serve(state.now_s):
            to.echo_us = max(to.echo_us, reply.stamp_us)
        self._advance()
        self._judge_standing(reply.sender, to)

    def _renew_lease(self) -> None:
        members = self._state.membership
        answered = [
            to.acked_round
            for name, to in self.progress.items()
            if to.standing and name in members.voters
        ]
        if self._state.name in members.voters:
            answered.append(self.lease.round)
        self.lease.renew(reached_by(answered, members.majority))

    def _judge_standing(self, name: str, to: Progress) -> None:
        """Admit a member that came up empty once it again has what the quorum has."""
        state = self._state
        if state.membership.roles.get(name) == WITNESS:
            caught_up = to.in_sync_version == self.in_sync.version
        else:
            caught_up = to.flushed_lsn >= state.quorum_lsn
        to.admit = not to.standing and caught_up and self.can_serve(state.now_s)
        if to.admit:
            self._shipping.admit(name, to)

    def _on_snapshot_reply(self, reply: SnapshotReply) -> None:
        to = self.progress.get(reply.sender)
        if to is None:
            return
        to.heard_s = self._state.now_s
        if to.state == SNAPSHOT and reply.lsn == to.snapshot_lsn:
            to.snapshot_arrived(reply.received_bytes)

    def _advance(self) -> None:
        """Somebody has more than before."""
        self._counting.count()
        if self._handing is not None:
            self._finish_hand_over()

    # -- membership

    def change_member(self, name: str, role: str | None) -> int:
        state = self._state
        if not self.can_write(state.now_s):
            raise NotPrimary(state.primary)
        if self._is_changing:
            raise Refused("a membership change is already under way")
        members = self._changed(name, role)
        lsn = self.propose(encode_members(members), MEMBERS)
        state.adopt(state.storage.latest(lsn))
        self._know_members()
        return lsn

    @property
    def _is_changing(self) -> bool:
        """Whether the latest change may still be cut."""
        return self._state.membership.lsn > self._state.quorum_lsn

    def _changed(self, name: str, role: str | None) -> Members:
        """The members after a change that is safe now."""
        members = dict(self._state.membership.roles)
        before = members.pop(name, None)
        if name == self._state.name:
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
        if role is None and before != LEARNER and not self._can_go_on(members):
            raise Refused(f"without {name}, no majority that is alive and caught up would remain")
        return tuple(sorted(members.items()))

    def _can_go_on(self, members: dict[str, str]) -> bool:
        """Whether these members could commit and elect, as far as is known just now."""
        voters = [name for name, role in members.items() if role in (VOTER, WITNESS)]
        alive = [name for name in voters if name == self._state.name or self._is_well(name)]
        data = [name for name in alive if members[name] == VOTER]
        if WITNESS in members.values() and not set(data) & set(self.in_sync.required or data):
            return False
        return bool(data) and len(alive) >= majority(len(voters))

    def _is_well(self, name: str) -> bool:
        state, to = self._state, self.progress.get(name)
        heard_s = state.now_s - state.config.detection_timeout_s
        if to is None or not to.standing or to.heard_s < heard_s:
            return False
        return state.membership.roles[name] == WITNESS or self._caught_up(to)

    def is_caught_up(self, name: str) -> bool:
        to = self.progress.get(name)
        return to is not None and self._caught_up(to)

    def _caught_up(self, to: Progress) -> bool:
        return to.flushed_lsn + self._state.config.catch_up_records >= self._state.quorum_lsn

    # -- switchover

    def hand_over(self, target: str) -> None:
        state = self._state
        if not self.can_write(state.now_s):
            raise NotPrimary(state.primary)
        if target not in self.progress or state.membership.roles[target] != VOTER:
            raise Refused(f"{target} is no other voter of this group")
        if not self.progress[target].standing:
            raise Refused(f"{target} has not caught up")
        self._handing = (target, state.now_s + state.config.switchover_timeout_s)
        self._advance()

    def _finish_hand_over(self) -> None:
        """Give up the lease for good, then let the target ask for votes."""
        assert self._handing is not None
        state, (target, _) = self._state, self._handing
        last_lsn = state.storage.last_lsn
        to = self.progress.get(target)
        if to is None:
            self._abort_hand_over(f"{target} is no member any more")
            return
        acknowledged_lsn = state.acknowledgeable_lsn
        if acknowledged_lsn < last_lsn or not state.quorum_lsn == last_lsn == to.flushed_lsn:
            return
        state.tell(SwitchoverEnded(target, True, ""))
        state.reach(reach.HANDED_OVER)
        epoch = state.epoch
        self._step_down()
        state.acknowledgeable_lsn = acknowledged_lsn  # its clients still hear that
        state.send(HandOver(state.name, target, epoch, state.group, state.founding))

    def _abort_hand_over(self, reason: str) -> None:
        assert self._handing is not None
        self._state.tell(SwitchoverEnded(self._handing[0], False, reason))
        self._state.reach(reach.KEPT_OFFICE)
        self._handing = None
