"""Classic mistakes of replicated logs, each as a subclass that makes exactly one of them.

Product code has no switch for these: a test plants the class where its sound one is made, and must
see it die.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

from protocols.replication import primary, replica, state
from protocols.replication.counting import Counting
from protocols.replication.follower import Follower
from protocols.replication.lease import Lease
from protocols.replication.members import Membership
from protocols.replication.messages import Append, AppendReply, HandOver, VoteRequest
from protocols.replication.primary import Primary
from protocols.replication.replica import Entry, Message, Ready, Replica, Snapshot
from protocols.replication.state import State
from protocols.replication.voter import Voter
from tests.protocols.replication import machine, world
from tests.protocols.replication.machine import Machine

MADE_IN: Final[dict[type, ModuleType]] = {
    Replica: machine,
    State: replica,
    Voter: replica,
    Follower: replica,
    Primary: replica,
    Membership: state,
    Lease: primary,
    Counting: primary,
    Machine: world,
}
BUGS: dict[str, type] = {}


def bug(made: Any) -> Any:
    """List the class under its docstring."""
    BUGS[made.__doc__] = made
    return made


@contextmanager
def planted(mistake: str) -> Iterator[None]:
    """Whatever is made meanwhile makes this mistake."""
    made = BUGS[mistake]
    (sound,) = made.__bases__
    with patch.object(MADE_IN[sound], sound.__name__, made):
        yield


# --- epochs and votes ------------------------------------------------------------------------


@bug
class StaleEpochAccepted(Replica):
    """an old primary's records are taken, whatever the epoch"""

    def step(self, message: Message, now_s: float) -> None:
        if isinstance(message, Append) and message.epoch < self.epoch and self.role != "primary":
            message = message._replace(epoch=self.epoch)
        super().step(message, now_s)


@bug
class VoteForgotten(Machine):
    """the vote is not written with the epoch"""

    def persisted(self, ready: Ready) -> None:
        assert ready.hard_state is not None
        ready.hard_state = ready.hard_state._replace(vote=None)
        super().persisted(ready)


@bug
class SpeaksBeforeState(Machine):
    """messages leave before epoch and vote are durable"""

    def pump(self) -> None:
        while not self.persisting:
            ready = self.replica.ready()
            if ready is None:
                break
            self.world.observe(self, ready)
            if ready.hard_state is None:
                self.carry_out(ready)
                continue
            messages, ready.messages = ready.messages, []
            for message in messages:
                self.world.send(message)
            self.persisting = True
            self.later(self.world.sync_delay_s(), lambda ready=ready: self.persisted(ready))
        self.arm()


@bug
class VotesTwice(Voter):
    """a second candidate gets the same epoch's vote"""

    def _grants(self, request: VoteRequest) -> bool:
        if request.epoch == self._state.epoch and not request.pre:
            self._state.hard_state = self._state.hard_state._replace(vote=None)
        return super()._grants(request)


@bug
class VotesForShorterLogs(Voter):
    """a candidate is not asked whether its log is as long as ours"""

    def _grants(self, request: VoteRequest) -> bool:
        return super()._grants(request._replace(last_epoch=1 << 30))


@bug
class ComparesLengthOnly(Voter):
    """logs are compared by length, not by the epoch of their last record"""

    def _grants(self, request: VoteRequest) -> bool:
        if request.last_lsn >= self._state.last_lsn:
            last_epoch = max(request.last_epoch, self._state.last_epoch)
            request = request._replace(last_epoch=last_epoch)
        return super()._grants(request)


@bug
class HalfIsMajority(Membership):
    """half of the voters pass for a majority"""

    def change(self, lsn: int, members: Any) -> None:
        super().change(lsn, members)
        self.majority = max(1, len(self.voters) // 2)


@bug
class BlankVotesCount(Voter):
    """an empty replica, whose disk was lost, votes and stands like any other"""

    def answer(self, request: VoteRequest) -> None:
        if not self._state.standing:
            self._state.stand()
        super().answer(request)


@bug
class WitnessForgets(Voter):
    """a witness votes for whoever asks, not for those it vouched for"""

    def _grants(self, request: VoteRequest) -> bool:
        if self._state.config.witness:
            self._state.hard_state = self._state.hard_state._replace(vouched=())
        return super()._grants(request)


# --- leases ----------------------------------------------------------------------------------


@bug
class LeaseFromReceipt(Primary):
    """the lease runs from when the answer came, not from when the renewal left"""

    def _on_append_reply(self, reply: AppendReply) -> None:
        rounds = self.lease._rounds
        self.lease._rounds = type(rounds)((number, self._state.now_s) for number, _ in rounds)
        super()._on_append_reply(reply)


@bug
class NoLease(Lease):
    """a primary that hears nobody goes on serving"""

    @property
    def ends_s(self) -> float:
        return float("inf")

    def holds(self, now_s: float) -> bool:
        return True


@bug
class NoPromise(Voter):
    """a vote is granted although a primary was heard a moment ago"""

    def _owes_silence(self, request: VoteRequest) -> bool:
        return False


@bug
class PromiseForgottenInRestart(Replica):
    """whoever restarts forgets that it had promised a primary its silence"""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._voter.promise_until_s = 0.0
        self._elector._due_s = min(self._elector._due_s, args[-1] + 0.1)


@bug
class ServesWhileHandingOver(Primary):
    """a primary that hands over releases its lease before it stops"""

    def hand_over(self, target: str) -> None:
        super().hand_over(target)
        state = self._state
        if state.primary == state.name:
            state.send(HandOver(state.name, target, state.epoch, state.group, state.founding))


# --- counting --------------------------------------------------------------------------------


@bug
class CountsOldEpochs(Primary):
    """records of an earlier epoch are committed by counting copies"""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._counting.own_lsn = 1


@bug
class AckBeforeSync(State):
    """a replica confirms what it has not synced"""

    def append(self, entries: list[Entry]) -> None:
        super().append(entries)
        self.flushed_lsn = self.last_lsn


@bug
class CountsLearners(Counting):
    """learners' copies count towards the quorum"""

    def count(self) -> None:
        members = self._state.membership
        members.data_voters = [name for name, role in members.roles.items() if role != "witness"]
        super().count()


@bug
class CountsLostDisks(Primary):
    """what a replica had confirmed before its disk was lost still counts"""

    def _on_append_reply(self, reply: AppendReply) -> None:
        super()._on_append_reply(reply._replace(standing=True))


@bug
class CommitsTheUnmatched(Follower):
    """a replica takes the primary's commit position for its own, unchecked log"""

    def _accept(self, message: Append) -> None:
        state = self._state
        state.quorum_lsn = max(state.quorum_lsn, min(message.quorum_lsn, state.last_lsn))
        super()._accept(message)


@bug
class MatchesForever(State):
    """what agreed with the last primary is taken to agree with the next"""

    def enter_epoch(self, epoch: int, vote: str | None) -> None:
        matched_lsn = self.last_lsn
        super().enter_epoch(epoch, vote)
        self.matched_lsn = matched_lsn


# --- the log ---------------------------------------------------------------------------------


@bug
class SuffixKept(Follower):
    """a divergent suffix is not cut"""

    def _take(self, entries: list[Entry]) -> bool:
        new = [entry for entry in entries if entry[1] > self._state.last_lsn]
        if new:
            self._state.append(new)
            self._state.adopt(new)
        return True


@bug
class SuffixKeptInFile(Machine):
    """a divergent suffix is cut in memory, but not in the file"""

    def cut(self, lsn: int) -> None:
        kept = list(self.disk.log)
        super().cut(lsn)
        self.uncut = kept

    def stop(self, *, power_cut: bool) -> None:
        self.disk.log += getattr(self, "uncut", [])[len(self.disk.log) :]
        super().stop(power_cut=power_cut)


@bug
class CutsWhatAgrees(Follower):
    """a late message's records replace the log's end although they agree with it"""

    def _take(self, entries: list[Entry]) -> bool:
        state = self._state
        if entries and state.quorum_lsn < entries[-1][1] < state.last_lsn:
            state.truncate(entries[-1][1] + 1)
        return super()._take(entries)


@bug
class StateKept(Machine):
    """the state keeps what was applied from a suffix that is cut"""

    def rebuild(self, lsn: int) -> None:
        self.applied_lsn = min(self.applied_lsn, lsn - 1)


@bug
class BelievesUnsyncedLog(Machine):
    """what is in the file after a restart is taken for durable, without a sync"""

    def boot(self) -> None:
        durable = self.disk.durable_records
        super().boot()
        self.disk.durable_records = min(durable, len(self.disk.log))


# --- snapshots and members -------------------------------------------------------------------


@bug
class SnapshotUnsynced(Machine):
    """a snapshot is confirmed before it is durable, and the log is gone"""

    def install(self, snapshot: Snapshot | None) -> None:
        before = (self.disk.snapshot, list(self.disk.log))
        super().install(snapshot)
        self.at_risk, self.risky_until_s = before, self.world.now_s + 1.0

    def stop(self, *, power_cut: bool) -> None:
        if power_cut and getattr(self, "risky_until_s", 0.0) > self.world.now_s:
            self.disk.snapshot, self.disk.log = self.at_risk
            self.disk.durable_records = len(self.disk.log)
        super().stop(power_cut=power_cut)


@bug
class SnapshotOfTheUncommitted(Machine):
    """a snapshot is made of what the quorum does not have"""

    def compact(self) -> None:
        state = self.replica._state
        quorum_lsn, state.quorum_lsn = state.quorum_lsn, state.last_lsn
        super().compact()
        state.quorum_lsn = max(quorum_lsn, self.base_lsn)


@bug
class SnapshotForgetsMembers(Machine):
    """a snapshot holds the founders, not the members"""

    def compact(self) -> None:
        super().compact()
        if self.disk.snapshot is not None:
            founders = tuple(self.world.settings.founders)
            self.disk.snapshot = self.disk.snapshot._replace(members=founders)


@bug
class ManyChangesAtOnce(Primary):
    """members are changed again before the last change is committed"""

    @property
    def _is_changing(self) -> bool:
        return False


@bug
class StateLostInInstall(Machine):
    """an installed snapshot's log position is taken, and its state is not"""

    def install(self, snapshot: Snapshot | None) -> None:
        state = self.state
        super().install(snapshot)
        self.state = state
