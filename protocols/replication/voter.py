"""Answering whoever asks for our vote: what we promised, and whom the log and our memory allow.

A vote is refused while a promise to a primary runs, so a new primary's lease cannot overlap the old
one's. A pre-vote asks the same question without moving anybody to a new epoch: one cut-off replica
disturbs nobody. A replica that comes up with an empty disk has no say until a primary admits it.
"""

from __future__ import annotations

from collections.abc import Callable

from protocols.replication import reach
from protocols.replication.messages import VoteReply, VoteRequest
from protocols.replication.state import State


class Voter:
    """One vote an epoch, and none while we owe a primary our silence."""

    def __init__(self, state: State, become_follower: Callable[[int, str | None], None]) -> None:
        """Whoever restarts may have promised something just before."""
        self._state, self._become_follower = state, become_follower
        self._promised_epoch = state.epoch
        timeout_s = state.config.detection_timeout_s
        self.promise_until_s = state.now_s + timeout_s if state.epoch else 0.0
        self._soft_promise_s = 0.0
        """Until then we do not encourage another candidate than the one we voted for."""

    def promise(self) -> None:
        """This epoch's primary has spoken: it has our silence for the length of a lease."""
        state = self._state
        self._promised_epoch = state.epoch
        self.promise_until_s = state.now_s + state.config.detection_timeout_s

    def answer(self, request: VoteRequest) -> None:
        state = self._state
        blank = state.blank
        granted = self._grants(request)
        if granted and not request.pre:
            self._vote_for(request, blank)
        about = (request.epoch, request.pre, granted, blank)
        state.send(VoteReply(state.name, request.sender, *about, state.group, state.founding))

    def _vote_for(self, request: VoteRequest, blank: bool) -> None:
        state = self._state
        if request.epoch > state.epoch:
            self._become_follower(request.epoch, None)
        state.enter_epoch(request.epoch, request.sender)
        if blank:
            state.stand()
        self._become_follower(request.epoch, state.primary)  # its election has its time
        self._soft_promise_s = state.now_s + 0.3 * state.config.detection_timeout_s

    def _grants(self, request: VoteRequest) -> bool:
        state = self._state
        if self._owes_silence(request):
            return self._refuse(reach.VOTE_PROMISED)
        if not state.standing and not (state.blank and request.last_lsn == 0):
            return self._refuse(reach.VOTE_NOT_STANDING)
        if not request.pre and request.epoch > state.epoch and state.standing:
            self._become_follower(request.epoch, None)
        if request.epoch == state.epoch and state.hard_state.vote not in (None, request.sender):
            return self._refuse(reach.VOTE_CAST)
        if state.config.witness:
            memory = state.hard_state
            in_sync = not memory.vouched or request.sender in memory.vouched
            return in_sync or request.last_epoch > memory.vouched_epoch
        ours = (state.last_epoch, state.last_lsn)
        if (request.last_epoch, request.last_lsn) < ours:
            return self._refuse(reach.VOTE_OLDER_LOG)
        return True

    def _refuse(self, why: str) -> bool:
        self._state.reach(why)
        return False

    def _owes_silence(self, request: VoteRequest) -> bool:
        """Whether a primary has our promise."""
        if request.released_epoch and request.released_epoch >= self._promised_epoch:
            return False
        now_s = self._state.now_s
        return now_s < self.promise_until_s or (request.pre and now_s < self._soft_promise_s)
