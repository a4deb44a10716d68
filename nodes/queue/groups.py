"""A consumer group: who its members are, what each may read now, and how far it is read. Pure.

Each member moves from what it had to what it shall have by itself. What is taken from a member is
`revoking` until the member says that it has let go of it (or its session ends, or its time for
that), and only then given to another. A member's epoch is the generation that it has reached; it
commits by that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nodes.queue.assigning import Where, assign
from protocols.errors import RpcError

MAX_MEMBERS: Final = 1000


class Member:
    """One consumer."""

    __slots__ = ("assigned", "epoch", "release_ms", "revoking", "session_ms", "topics")

    def __init__(self, topics: tuple[str, ...], session_ms: int, release_ms: int) -> None:
        self.topics = topics
        self.session_ms = session_ms
        self.release_ms = release_ms
        """How long it may keep what is revoked."""
        self.epoch = 0
        self.assigned: dict[Where, None] = {}
        """What it may read; it may not know so yet."""
        self.revoking: dict[Where, None] = {}
        """What it may read no more; it may not know so yet."""

    def to_wire(self) -> list[Any]:
        return [list(self.topics), self.session_ms, self.release_ms, self.epoch,
                list(self.assigned), list(self.revoking)]  # fmt: skip

    @classmethod
    def from_wire(cls, value: Sequence[Any]) -> Member:
        topics, session_ms, release_ms, epoch, assigned, revoking = value
        made = cls(tuple(topics), session_ms, release_ms)
        made.epoch = epoch
        made.assigned = dict.fromkeys(map(tuple, assigned))
        made.revoking = dict.fromkeys(map(tuple, revoking))
        return made


class ConsumerGroup:
    """One of them. `partitions` of the topics are given wherever they may have changed."""

    __slots__ = ("committed", "epoch", "lost", "members", "target")

    def __init__(self) -> None:
        self.epoch = 0
        """The generation: one more with every change of who shall read what."""
        self.members: dict[str, Member] = {}
        self.target: dict[str, list[Where]] = {}
        self.committed: dict[Where, int] = {}
        """The next offset to read."""
        self.lost: dict[Where, int] = {}
        """Records that were dropped before the group had read them."""

    # --- who is there --------------------------------------------------------------------

    def join(
        self,
        name: str,
        topics: Sequence[str],
        session_ms: int,
        release_ms: int,
        partitions: Mapping[str, int],
    ) -> None:
        """A member comes, or reads other topics from now on."""
        known = self.members.get(name)
        if known is None:
            self.members[name] = Member(tuple(topics), session_ms, release_ms)
        else:
            known.topics = tuple(topics)
            known.session_ms, known.release_ms = session_ms, release_ms
        self._share_out(partitions)

    def leave(self, name: str, partitions: Mapping[str, int]) -> None:
        """A member is gone, with all that it had."""
        if self.members.pop(name, None) is not None:
            self._share_out(partitions)

    def _share_out(self, partitions: Mapping[str, int]) -> None:
        wants = {name: member.topics for name, member in self.members.items()}
        self.epoch += 1
        self.target = assign(partitions, wants, self.target)
        for name, member in self.members.items():
            shall = dict.fromkeys(self.target[name])
            for where in [each for each in member.assigned if each not in shall]:
                del member.assigned[where]
                member.revoking[where] = None

    # --- from assignment to assignment ---------------------------------------------------

    def is_news(self, name: str, owned: Sequence[Where]) -> bool:
        """Whether what the member says changes anything."""
        member = self.members[name]
        if any(each not in owned for each in member.revoking):
            return True
        if member.revoking:
            return False
        return member.epoch != self.epoch or bool(self._free(name))

    def report(self, name: str, owned: Sequence[Where]) -> None:
        """The member reads only these any more: what was revoked and is not among them is free."""
        member = self.members[name]
        for where in [each for each in member.revoking if each not in owned]:
            del member.revoking[where]
        if member.revoking:
            return  # it keeps its epoch, by which it may still commit what it lets go
        member.epoch = self.epoch
        member.assigned |= dict.fromkeys(self._free(name))

    def _free(self, name: str) -> list[Where]:
        """What the member shall have, has not, and nobody else has any more."""
        taken = dict(self.members[name].assigned)
        for other, member in self.members.items():
            if other != name:
                taken |= member.assigned
                taken |= member.revoking
        return [where for where in self.target.get(name, ()) if where not in taken]

    # --- how far -------------------------------------------------------------------------

    def check_commit(self, name: str, epoch: int, wheres: Sequence[Where]) -> None:
        """Raises RpcError unless that member, by that generation, may commit these."""
        if not name and not self.members:
            return
        member = self.members.get(name)
        if member is None:
            raise RpcError("stale_generation", f"{name or 'nobody'} is no member of this group")
        if epoch != member.epoch:
            raise RpcError(
                "stale_generation", f"{name} is in generation {member.epoch}, not {epoch}"
            )
        for where in wheres:
            if where not in member.assigned and where not in member.revoking:
                raise RpcError(
                    "stale_generation", f"{where[0]}/{where[1]} is not {name}'s any more"
                )

    def commit(self, where: Where, offset: int) -> None:
        """Read so far; never back."""
        self.committed[where] = max(offset, self.committed.get(where, 0))

    def trim(self, where: Where, before: int, start: int) -> int:
        """Records from `before` on to `start` are gone; how many of them were not read."""
        committed = self.committed.get(where)
        if committed is None or committed >= start:
            return 0
        lost = start - max(committed, before)
        self.lost[where] = self.lost.get(where, 0) + lost
        return lost

    def skip(self, where: Where, start: int) -> int:
        """Elsewhere the partition begins at `start` by now; how many records were not read."""
        lost = self.trim(where, 0, start)
        if lost:
            self.committed[where] = start
        return lost

    def to_wire(self) -> list[Any]:
        return [
            self.epoch,
            {name: member.to_wire() for name, member in self.members.items()},
            self.target,
            [[*where, offset, self.lost.get(where, 0)] for where, offset in self.committed.items()],
        ]

    @classmethod
    def from_wire(cls, value: Sequence[Any]) -> ConsumerGroup:
        made = cls()
        made.epoch, members, target, committed = value
        made.members = {name: Member.from_wire(each) for name, each in members.items()}
        made.target = {name: [(each[0], each[1]) for each in wheres]
                       for name, wheres in target.items()}  # fmt: skip
        for topic, partition, offset, lost in committed:
            made.committed[topic, partition] = offset
            if lost:
                made.lost[topic, partition] = lost
        return made
