"""What a primary counts: how far the quorum is, and what clients may be told. Nothing is sent here.

Only records of its own epoch count towards the quorum's LSN; what came before counts with them.
"""

from __future__ import annotations

from protocols.replication import reach
from protocols.replication.messages import WITNESS
from protocols.replication.progress import Progress
from protocols.replication.quorum import InSync, reached_by
from protocols.replication.state import State


class Counting:
    """Who has what, added up by the group's rules (quorum.py)."""

    def __init__(self, state: State, progress: dict[str, Progress], in_sync: InSync) -> None:
        self._state, self._progress, self._in_sync = state, progress, in_sync
        self.own_lsn = state.last_lsn + 1
        """The first record of this epoch."""

    @property
    def has_begun(self) -> bool:
        """Whether this epoch's first record is decided: until then nothing is served."""
        return self._state.quorum_lsn >= self.own_lsn

    def flushed_at(self, name: str) -> int:
        """What this member's word counts for."""
        if name == self._state.name:
            return self._state.flushed_lsn
        to = self._progress.get(name)
        return to.flushed_lsn if to is not None and to.standing else 0

    def count(self) -> None:
        """Recount what the quorum has and what may be acknowledged."""
        state, members = self._state, self._state.membership
        lsn = reached_by(map(self.flushed_at, members.data_voters), members.majority)
        if len(members.data_voters) < len(members.voters):
            lsn = max(lsn, self._vouched_lsn())
        if lsn > state.quorum_lsn and lsn >= self.own_lsn:
            state.quorum_lsn = lsn
            if lsn > state.flushed_lsn:
                state.reach(reach.QUORUM_AHEAD)
        if state.quorum_lsn >= self.own_lsn:
            self._acknowledge()

    # -- witnesses

    def declare_in_sync(self) -> None:
        """Tell the witnesses which data replicas are alive and have all that the quorum has."""
        state, members = self._state, self._state.membership
        if len(members.data_voters) == len(members.voters):
            return
        limit_s = 0.5 * state.config.detection_timeout_s
        alive = [
            name
            for name in members.data_voters
            if name == state.name
            or (
                self._progress[name].standing
                and state.now_s - self._progress[name].heard_s < limit_s
                and not self._progress[name].lacks_room
                and self.flushed_at(name) >= state.quorum_lsn
            )
        ]
        self._in_sync.declare(alive)

    def _vouched_lsn(self) -> int:
        """What the declared set has, if set and witnesses behind it are a majority."""
        members = self._state.membership
        witnesses = [name for name in members.voters if members.roles[name] == WITNESS]
        versions = [
            self._progress[name].in_sync_version
            for name in witnesses
            if name in self._progress and self._progress[name].standing
        ]
        if not self._in_sync.vouched(versions, members.data_voters, members.majority):
            return 0
        return min(map(self.flushed_at, self._in_sync.required))

    # -- room

    def has_room(self) -> bool:
        """Whether enough members can write down what comes next, as far as they have said."""
        members, rule = self._state.membership, self._state.config.ack
        if not rule.waits_for_replicas:
            return True
        full = [name for name, to in self._progress.items() if to.lacks_room]
        if rule.method != "quorum":
            names = rule.names or members.data_voters
            return sum(name not in (self._state.name, *full) for name in names) >= rule.count
        return not full or sum(name not in full for name in members.voters) >= members.majority

    # -- commit levels

    def _acknowledge(self) -> None:
        state, level = self._state, self._state.config.ack.level
        if level == "off":
            visible = acknowledged = state.storage.last_lsn
        elif level == "local" or state.membership.alone:
            visible = acknowledged = self._here_lsn
        elif level == "remote_apply":
            visible = self._reached("on")
            acknowledged = min(visible, self._reached("remote_apply"))
        else:
            visible = acknowledged = self._reached(level)
        # Whatever this epoch found is decided once its first record is, whoever must still confirm.
        state.visible_lsn = max(state.visible_lsn, visible, self.own_lsn)
        state.acknowledgeable_lsn = max(state.acknowledgeable_lsn, acknowledged)

    @property
    def _here_lsn(self) -> int:
        """What of this member's own log counts for an answer."""
        state = self._state
        is_written_enough = state.config.syncs_late and not state.lacks_room
        return state.storage.last_lsn if is_written_enough else state.flushed_lsn

    def _reached(self, level: str) -> int:
        """The LSN that the rule's standbys have reached, by this level's measure."""
        state, members, rule = self._state, self._state.membership, self._state.config.ack
        if rule.method == "quorum":
            if level == "on":
                return state.quorum_lsn
            others = [self._at(level, name) for name in members.data_voters if name != state.name]
            own = self._here_lsn if level == "remote_write" else state.applied_lsn
            count = members.majority
            if len(members.data_voters) < len(members.voters):
                count = min(count, len(self._in_sync.required) or count)
            return min(self._here_lsn, reached_by([own, *others], count))
        names = [name for name in rule.names or members.data_voters if name != state.name]
        if rule.method == "first":
            limit_s = state.now_s - state.config.detection_timeout_s
            known = self._progress
            names = [each for each in names if each in known and known[each].heard_s > limit_s]
            names = names[: rule.count]
        others_lsn = reached_by((self._at(level, each) for each in names), rule.count)
        return min(self._here_lsn, others_lsn)

    def _at(self, level: str, name: str) -> int:
        to = self._progress.get(name)
        if to is None or not to.standing:
            return 0
        if level == "remote_write":
            return to.written_lsn
        return to.flushed_lsn if level == "on" else to.applied_lsn
