"""Standing for election: nobody's follower until the votes are counted, or another has won."""

from __future__ import annotations

from collections.abc import Callable

from protocols.replication import reach
from protocols.replication.elector import Elector
from protocols.replication.messages import Message, VoteReply, VoteRequest
from protocols.replication.state import State
from protocols.replication.voter import Voter


class Candidate:
    """The role between two primaries."""

    def __init__(
        self,
        state: State,
        voter: Voter,
        elector: Elector,
        become_follower: Callable[[int, str | None], None],
    ) -> None:
        self._state, self._voter, self._elector = state, voter, elector
        self._become_follower = become_follower

    def step(self, message: Message) -> None:
        match message:
            case VoteReply():
                self._elector.hear(message)
            case VoteRequest():
                self._voter.answer(message)

    @property
    def deadline_s(self) -> float:
        return self._elector.deadline_s

    def tick(self) -> None:
        """Too few have answered: ask anew whether there is a chance."""
        if self._elector.is_due:
            self._state.reach(reach.NOT_ELECTED)
            self._become_follower(self._state.epoch, None)
            self._elector.stand(pre=not self._state.membership.alone)

    def has_flushed(self) -> None:
        """There is nobody to tell."""

    def has_applied(self) -> None:
        """There is nobody to tell."""
