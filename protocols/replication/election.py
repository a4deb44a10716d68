"""Elections: who asks, who grants, who wins. Nothing is replicated here.

A vote is refused while a promise to a primary runs, so a new primary's lease cannot overlap the old
one's. A pre-vote asks the same question without moving anybody to a new epoch: one cut-off replica
disturbs nobody. A replica that comes up with an empty disk has no say until a primary admits it;
only if *all* voters are empty do they found the group, by unanimous vote.
"""

from __future__ import annotations

from protocols.replication.core import CANDIDATE, FOLLOWER, PRIMARY
from protocols.replication.follower import Follower
from protocols.replication.messages import (
    VOTER,
    HandOver,
    RoleChanged,
    VoteReply,
    VoteRequest,
)

QUICK_RETRIES = 3
"""Of elections that were refused, before it is waited for longer: two that stood at once, or one
whose promise still ran for a moment, are over it by then."""


class Elector(Follower):
    """Standing for election, and voting."""

    _votes: dict[str, bool] | None = None
    """While an election of ours runs: who granted, and whether that voter was blank."""
    _election_epoch = 0
    _election_pre = True
    _soft_promise_s = 0.0
    _quick_retries = QUICK_RETRIES
    _hastened = False

    @property
    def may_stand(self) -> bool:
        """Whether this replica could be primary at all: it votes and holds data."""
        if self.config.witness or self.members.get(self.name) != VOTER:
            return False
        return (self.standing or self.blank) and self._installing is None

    def _campaign(self, now_s: float, *, pre: bool, released_epoch: int = 0) -> None:
        was_blank = not self.standing
        if pre:
            self._election_epoch = self.epoch + 1
        else:
            self._enter_epoch(self.epoch + 1, self.name)
            self._remember(self.hard_state._replace(standing=True))
            self._election_epoch = self.epoch
            self.role, self.primary = CANDIDATE, None
            self._next.events.append(RoleChanged(CANDIDATE, self.epoch, None))
        self._election_pre, self._hastened = pre, False
        self._votes = {self.name: was_blank and pre}
        retry_s = self.config.detection_timeout_s * (0.3 + 0.4 * self._rng.random())
        self._deadline_s = now_s + retry_s
        for name in self.voters:
            if name != self.name:
                self._send(
                    VoteRequest(
                        self.name,
                        name,
                        self._election_epoch,
                        pre,
                        self.last_epoch,
                        self.last_lsn,
                        released_epoch,
                    )
                )
        self._count_votes(now_s)

    def _on_vote_request(self, request: VoteRequest, now_s: float) -> None:
        blank = self.blank
        granted = self._grants(request, now_s)
        if granted and not request.pre:
            if request.epoch > self.epoch:
                self._become_follower(request.epoch, None, now_s)
            self._enter_epoch(request.epoch, request.sender)
            if blank:
                self._remember(self.hard_state._replace(standing=True))
            self._stand_down(now_s)
            self._soft_promise_s = now_s + 0.3 * self.config.detection_timeout_s
        self._send(VoteReply(self.name, request.sender, request.epoch, request.pre, granted, blank))

    def _grants(self, request: VoteRequest, now_s: float) -> bool:
        if self._promised(request, now_s):
            return False
        if not self.standing and not (self.blank and request.last_lsn == 0):
            return False
        if not request.pre and request.epoch > self.epoch and self.standing:
            self._become_follower(request.epoch, None, now_s)
        if request.epoch == self.epoch and self.hard_state.vote not in (None, request.sender):
            return False
        if self.config.witness:
            state = self.hard_state
            in_sync = not state.vouched or request.sender in state.vouched
            return in_sync or request.last_epoch > state.vouched_epoch
        ours = (self.last_epoch, self.last_lsn)
        return (request.last_epoch, request.last_lsn) >= ours

    def _promised(self, request: VoteRequest, now_s: float) -> bool:
        """Whether we owe a primary our silence."""
        if self.role == PRIMARY:
            return True  # it demotes itself when its lease ends
        if request.released_epoch and request.released_epoch >= self._promised_epoch:
            return False
        return now_s < self._promise_until_s or (request.pre and now_s < self._soft_promise_s)

    def _on_vote_reply(self, reply: VoteReply, now_s: float) -> None:
        if self._votes is None or reply.epoch != self._election_epoch:
            return
        if reply.pre != self._election_pre or reply.sender not in self.voters:
            return
        if reply.granted:
            self._votes[reply.sender] = reply.blank
            self._count_votes(now_s)
        elif self._quick_retries and not self._hastened:
            self._quick_retries -= 1
            self._hastened = True
            soon_s = self.config.detection_timeout_s * (0.02 + 0.1 * self._rng.random())
            self._deadline_s = min(self._deadline_s, now_s + soon_s)

    def _count_votes(self, now_s: float) -> None:
        """A majority of voters that have a past, or every voter."""
        votes = self._votes
        assert votes is not None
        firm = sum(1 for blank in votes.values() if not blank)
        if firm < self._majority and len(votes) < len(self.voters):
            return
        if self._election_pre:
            self._campaign(now_s, pre=False)
        else:
            self._votes = None
            self._become_primary(now_s)

    def _become_primary(self, now_s: float) -> None:
        raise NotImplementedError

    def _stand_down(self, now_s: float) -> None:
        super()._stand_down(now_s)
        self._votes = None
        if self.primary is not None:
            self._quick_retries = QUICK_RETRIES

    def _on_hand_over(self, message: HandOver, now_s: float) -> None:
        """The primary of this epoch stopped for us: its promises are released."""
        ours = message.epoch == self.epoch and message.sender == self.primary
        if ours and self.role == FOLLOWER and self.may_stand:
            self._campaign(now_s, pre=False, released_epoch=message.epoch)
