"""Who belongs to a group, as its log has it: the latest change is in force before it commits."""

from __future__ import annotations

from protocols.replication.messages import VOTER, WITNESS, Members
from protocols.replication.quorum import majority


class Membership:
    """The members after the latest change, and those before it: a change may be cut again."""

    __slots__ = ("_changes", "_name", "alone", "data_voters", "majority", "roles", "voters")

    def __init__(self, name: str, lsn: int, members: Members) -> None:
        """`members` of the group that `name` is in, or is to join, since record `lsn`."""
        self._name = name
        self.restart(lsn, members)

    def restart(self, lsn: int, members: Members) -> None:
        """Nothing is known of the time before `lsn`."""
        self._changes: list[tuple[int, Members]] = []
        self.change(lsn, members)

    def change(self, lsn: int, members: Members) -> None:
        """From record `lsn` on these are the members."""
        self._changes.append((lsn, members))
        self.roles = dict(members)
        self.voters = [name for name, role in members if role in (VOTER, WITNESS)]
        self.data_voters = [name for name, role in members if role == VOTER]
        self.majority = majority(len(self.voters))
        self.alone = self.voters == [self._name]

    def undo(self) -> tuple[int, Members]:
        """Go back to before the latest change: since when those are the members, and who."""
        self._changes.pop()
        lsn, members = self._changes.pop()
        self.change(lsn, members)
        return lsn, members

    @property
    def lsn(self) -> int:
        """The record that made the latest change."""
        return self._changes[-1][0]

    def at(self, lsn: int) -> Members:
        """Who the members were after record `lsn`."""
        return next(each for changed_lsn, each in reversed(self._changes) if changed_lsn <= lsn)
