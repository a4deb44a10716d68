"""Our own elections: when we stand, whom we ask, whether we have won. Nothing is replicated here.

A pre-vote asks first whether an election would be won. If *all* voters are empty they found the
group, by unanimous vote; otherwise a majority of those that have a past elects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protocols.replication.config import NEVER, Rng
from protocols.replication.incoming import Incoming
from protocols.replication.messages import VOTER, VoteReply, VoteRequest
from protocols.replication.state import State
from protocols.replication.voter import Voter

QUICK_RETRIES = 3
"""Of elections that were refused, before it is waited for longer: two that stood at once, or one
whose promise still ran for a moment, are over it by then."""


@dataclass(slots=True)
class Election:
    """One time that we asked."""

    epoch: int
    pre: bool
    votes: dict[str, bool]
    """Who granted, and whether that voter was blank."""
    hastened: bool = False
    """By a refusal: we ask again soon, once."""


class Elector:
    """Whoever does not lead, and how long it waits before it wants to."""

    def __init__(
        self,
        state: State,
        rng: Rng,
        voter: Voter,
        incoming: Incoming,
        become_candidate: Callable[[], None],
        become_primary: Callable[[], None],
    ) -> None:
        self._state, self._rng, self._incoming = state, rng, incoming
        self._become_candidate, self._become_primary = become_candidate, become_primary
        self._election: Election | None = None
        self._quick_retries = QUICK_RETRIES
        alone = state.membership.alone
        self._due_s = state.now_s if alone else state.now_s + self._patience_s(0.25)
        if state.epoch and not alone:
            jitter = state.config.detection_jitter
            self._due_s = voter.promise_until_s + self._patience_s(jitter)

    @property
    def may_stand(self) -> bool:
        """Whether this replica could be primary at all: it votes and holds data."""
        state = self._state
        if state.config.witness or state.membership.roles.get(state.name) != VOTER:
            return False
        return (state.standing or state.blank) and self._incoming.installing is None

    @property
    def deadline_s(self) -> float:
        return self._due_s if self.may_stand else NEVER

    @property
    def is_due(self) -> bool:
        return self._state.now_s >= self._due_s and self.may_stand

    def _patience_s(self, share: float) -> float:
        config = self._state.config
        return self._rng.random() * share * config.detection_timeout_s + config.failover_delay_s

    def wait(self) -> None:
        """Bear the silence from now on; an election of ours is over."""
        state = self._state
        self._election = None
        self._due_s = state.now_s + self._patience_s(state.config.detection_jitter)
        self._due_s += state.config.detection_timeout_s
        if state.primary is not None:
            self._quick_retries = QUICK_RETRIES

    def primary_spoke(self) -> None:
        """Its silence begins anew."""
        config = self._state.config
        waited_s = self._state.now_s + config.detection_timeout_s
        self._due_s = waited_s + self._patience_s(config.detection_jitter)

    def stalled(self, seconds: float) -> None:
        """We could not hear anybody for so long."""
        self._due_s += min(seconds, self._state.config.detection_timeout_s)

    def stand(self, *, pre: bool, released_epoch: int = 0) -> None:
        """Ask for votes. `released_epoch`: the primary of that epoch has given up for us."""
        state = self._state
        was_blank = not state.standing
        if not pre:
            self._become_candidate()
        epoch = state.epoch + 1 if pre else state.epoch
        self._election = Election(epoch, pre, {state.name: was_blank and pre})
        retry_s = state.config.detection_timeout_s * (0.3 + 0.4 * self._rng.random())
        self._due_s = state.now_s + retry_s
        about = (epoch, pre, state.last_epoch, state.last_lsn, released_epoch)
        for name in state.membership.voters:
            if name != state.name:
                state.send(VoteRequest(state.name, name, *about, state.group, state.founding))
        self._count(self._election)

    def hear(self, reply: VoteReply) -> None:
        """A voter's answer, maybe to an earlier question."""
        election = self._election
        if not self.may_stand:
            return  # since we asked, a snapshot has come: without its state we could not serve
        if election is None or reply.epoch != election.epoch or reply.pre != election.pre:
            return
        if reply.sender not in self._state.membership.voters:
            return
        if reply.granted:
            election.votes[reply.sender] = reply.blank
            self._count(election)
        elif self._quick_retries and not election.hastened:
            self._quick_retries -= 1
            election.hastened = True
            timeout_s = self._state.config.detection_timeout_s
            soon_s = timeout_s * (0.02 + 0.1 * self._rng.random())
            self._due_s = min(self._due_s, self._state.now_s + soon_s)

    def _count(self, election: Election) -> None:
        """A majority of voters that have a past, or every voter."""
        membership = self._state.membership
        firm = sum(1 for blank in election.votes.values() if not blank)
        if firm < membership.majority and len(election.votes) < len(membership.voters):
            return
        if election.pre:
            self.stand(pre=False)
        else:
            self._election = None
            self._become_primary()
