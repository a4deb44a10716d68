"""What a primary decides about consumer groups: who is in one, who reads what, how far. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from nodes.queue import reach
from nodes.queue.assigning import Where
from nodes.queue.desk import Desk
from nodes.queue.groups import MAX_MEMBERS, ConsumerGroup, Member
from nodes.queue.state import COMMIT, JOIN, LEAVE, REPORT, SEEK, SKIP
from protocols.errors import RpcError
from protocols.queue.words import JOINING, LEAVING

MAX_GROUPS: Final = 1000
HEARTBEATS_PER_SESSION: Final = 6
SESSION: Final = "session"
RELEASE: Final = "release"


class Beat(NamedTuple):
    """What a member says of itself."""

    group: str
    member: str
    epoch: int
    topics: tuple[str, ...]
    owned: tuple[Where, ...]
    session_ms: int
    release_ms: int
    number: int

    @property
    def joining(self) -> tuple[Any, ...]:
        """What the fact of it says."""
        return JOIN, self.group, self.member, list(self.topics), self.session_ms, self.release_ms


class Grouping:
    """Decisions, each a fact or a refusal."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._beats: dict[tuple[str, str], int] = {}
        """The latest beat of each member: what was sent before it means nothing any more."""
        self.rebalances = 0

    def begin_office(self) -> None:
        """Every member has a whole session from now on."""
        self._beats.clear()
        for name, group in self._desk.state.groups.items():
            for member in group.members:
                self._keep_session(name, member, group.members[member])
            self._limit_releases(name)

    def heartbeat(self, beat: Beat) -> dict[str, Any]:
        """What the member may read now."""
        desk = self._desk
        desk.home.check_home(beat.group, "the group")
        group = desk.state.groups.get(beat.group)
        member = group.members.get(beat.member) if group is not None else None
        if beat.epoch == LEAVING:
            if member is not None:
                self.leave(beat.group, beat.member)
            return {"epoch": LEAVING, "partitions": [], "heartbeat_ms": 0}
        if beat.epoch == JOINING:
            member = self._join(beat, known=member is not None)
        if member is None:
            raise RpcError("stale_generation", f"{beat.member} is no member: join with epoch 0")
        if beat.epoch > member.epoch:
            raise RpcError("stale_generation", f"{beat.member} is in generation {member.epoch}")
        key = beat.group, beat.member
        if beat.number < self._beats.get(key, 0):
            raise RpcError("stale_generation", f"{beat.member} has said something else since")
        self._beats[key] = beat.number
        self._listen(beat, member)
        self._keep_session(beat.group, beat.member, member)
        return {
            "epoch": member.epoch,
            "partitions": [list(each) for each in member.assigned],
            "heartbeat_ms": member.session_ms // HEARTBEATS_PER_SESSION,
        }

    def _join(self, beat: Beat, *, known: bool) -> Member:
        """Whoever joins again under its name has nothing of what it had."""
        desk = self._desk
        for topic in beat.topics:
            desk.topic(topic)
        group = desk.state.groups.get(beat.group)
        if group is None and len(desk.state.groups) >= MAX_GROUPS:
            raise RpcError("overloaded", f"there are {MAX_GROUPS} groups already")
        if group is not None and not known and len(group.members) >= MAX_MEMBERS:
            raise RpcError("overloaded", f"{beat.group} has {MAX_MEMBERS} members already")
        if known:
            self.leave(beat.group, beat.member)
        self._share_out(beat)
        return desk.state.groups[beat.group].members[beat.member]

    def _listen(self, beat: Beat, member: Member) -> None:
        """Other topics; or what it has let go."""
        desk = self._desk
        if beat.topics and beat.topics != member.topics:
            for topic in beat.topics:
                desk.topic(topic)
            self._share_out(beat)
        if desk.state.groups[beat.group].is_news(beat.member, beat.owned):
            if member.revoking:
                desk.reached(reach.PASSED)
            kept = [list(each) for each in member.revoking if each in beat.owned]
            desk.do(REPORT, beat.group, beat.member, kept)
            self._limit_releases(beat.group)

    def _share_out(self, beat: Beat) -> None:
        self._desk.do(*beat.joining)
        self._limit_releases(beat.group)
        self.rebalances += 1

    def leave(self, group: str, member: str) -> None:
        """It is gone, or silent for too long, or does not let go of what is another's."""
        self._desk.do(LEAVE, group, member)
        self._beats.pop((group, member), None)
        self._desk.deadlines.drop((SESSION, group, member))
        self._desk.deadlines.drop((RELEASE, group, member))
        self._limit_releases(group)
        self.rebalances += 1

    def _limit_releases(self, group: str) -> None:
        """Whoever has something to let go of has a time for that, which begins once."""
        deadlines, now_s = self._desk.deadlines, self._desk.now_s()
        for name, member in self._desk.state.groups[group].members.items():
            key = RELEASE, group, name
            if not member.revoking:
                deadlines.drop(key)
            elif key not in deadlines:
                deadlines.set(key, now_s + member.release_ms / 1000)

    def _keep_session(self, group: str, name: str, member: Member) -> None:
        due_s = self._desk.now_s() + member.session_ms / 1000
        self._desk.deadlines.set((SESSION, group, name), due_s)

    # --- offsets -------------------------------------------------------------------------

    def commit(self, group: str, member: str, epoch: int, offsets: Sequence[Sequence[Any]]) -> int:
        """Read so far."""
        found = self._group_for(group, offsets)
        wheres = [(topic, number) for topic, number, _ in offsets]
        try:
            (found or ConsumerGroup()).check_commit(member, epoch, wheres)
        except RpcError:
            self._desk.reached(reach.OLD_GENERATION)
            raise
        self._check_ends(offsets)
        new = [
            [topic, number, offset]
            for topic, number, offset in offsets
            if found is None or offset > found.committed.get((topic, number), -1)
        ]
        if new:
            self._desk.do(COMMIT, group, new)
        return len(offsets)

    def seek(self, group: str, offsets: Sequence[Sequence[Any]]) -> int:
        """Read from there on, be it back."""
        found = self._group_for(group, offsets)
        if found is not None and found.members:
            raise RpcError("refused", f"{group} has {len(found.members)} members: they are reading")
        self._check_ends(offsets)
        self._desk.do(SEEK, group, [list(each) for each in offsets])
        return len(offsets)

    def skipped(self, name: str) -> list[list[Any]]:
        """[topic, partition, start] of what went unread where another broker group has it."""
        desk = self._desk
        committed = desk.state.groups[name].committed
        return [[*where, desk.elsewhere[where].start] for where, offset in committed.items()
                if where in desk.elsewhere and offset < desk.elsewhere[where].start]  # fmt: skip

    def skip(self, name: str) -> None:
        """What went unread is lost, and no lag."""
        starts = self.skipped(name)
        if starts:
            self._desk.do(SKIP, name, starts)

    def go_back(self, beyond: Sequence[tuple[str, Where, int, int]]) -> None:
        """(group, partition, offset, end): where another broker group's log ends before what was
        committed (it was restored, or lost its end), the group goes on at that end: else it would
        never read what comes there."""
        for name, where, offset, end in beyond:
            group = self._desk.state.groups.get(name)
            if group is not None and group.committed.get(where) == offset:
                self._desk.do(SEEK, name, [[*where, end]])

    def told(self, name: str) -> dict[str, Any]:
        """Who is in a group, and how far it is."""
        self._desk.home.check_home(name, "the group")
        found = self._desk.state.groups.get(name, ConsumerGroup())
        return {
            "epoch": found.epoch,
            "members": {member: [list(each) for each in found.members[member].assigned]
                        for member in found.members},
            "offsets": [[*where, offset] for where, offset in found.committed.items()],
        }  # fmt: skip

    def _group_for(self, name: str, offsets: Sequence[Sequence[Any]]) -> ConsumerGroup | None:
        desk = self._desk
        desk.home.check_home(name, "the group")
        for topic, number, _ in offsets:
            if not 0 <= number < desk.topic(topic).options.partitions:
                raise RpcError("bad_request", f"{topic} has no partition {number}")
        found = desk.state.groups.get(name)
        if found is None and len(desk.state.groups) >= MAX_GROUPS:
            raise RpcError("overloaded", f"there are {MAX_GROUPS} groups already")
        return found

    def _check_ends(self, offsets: Sequence[Sequence[Any]]) -> None:
        """Nobody has read what is not there; where another broker has it, nobody here knows."""
        for topic, number, offset in offsets:
            partition = self._desk.topic(topic).partitions.get(number)
            if partition is not None and offset > partition.end:
                raise RpcError(
                    "out_of_range", f"{topic}/{number} ends at {partition.end}", partition.start,
                    partition.end,
                )  # fmt: skip
