"""Classic mistakes of replicated logs, each as a subclass that makes exactly one of them.

Product code has no switch for these: a test puts the class in, and must see it die.
"""

from __future__ import annotations

from typing import Any

from protocols.replication.messages import Append, AppendReply, HandOver, VoteRequest
from protocols.replication.replica import (
    Entry,
    Message,
    Ready,
    Replica,
    Snapshot,
)
from tests.protocols.replication.machine import Machine

BUGS: dict[str, tuple[type[Replica], type[Machine]]] = {}


def bug(made: Any) -> Any:
    """List the class under its docstring."""
    in_core = issubclass(made, Replica)
    BUGS[made.__doc__] = (made if in_core else Replica, Machine if in_core else made)
    return made


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
class VotesTwice(Replica):
    """a second candidate gets the same epoch's vote"""

    def _grants(self, request: VoteRequest, now_s: float) -> bool:
        if request.epoch == self.epoch and not request.pre:
            self.hard_state = self.hard_state._replace(vote=None)
        return super()._grants(request, now_s)


@bug
class VotesForShorterLogs(Replica):
    """a candidate is not asked whether its log is as long as ours"""

    def _grants(self, request: VoteRequest, now_s: float) -> bool:
        return super()._grants(request._replace(last_epoch=1 << 30), now_s)


@bug
class ComparesLengthOnly(Replica):
    """logs are compared by length, not by the epoch of their last record"""

    def _grants(self, request: VoteRequest, now_s: float) -> bool:
        if request.last_lsn >= self.last_lsn:
            request = request._replace(last_epoch=max(request.last_epoch, self.last_epoch))
        return super()._grants(request, now_s)


@bug
class HalfIsMajority(Replica):
    """half of the voters pass for a majority"""

    def _set_members(self, lsn: int, members: Any) -> None:
        super()._set_members(lsn, members)
        self._majority = max(1, len(self.voters) // 2)


@bug
class BlankVotesCount(Replica):
    """an empty replica, whose disk was lost, votes and stands like any other"""

    def _on_vote_request(self, request: VoteRequest, now_s: float) -> None:
        if not self.standing:
            self._remember(self.hard_state._replace(standing=True))
        super()._on_vote_request(request, now_s)


@bug
class WitnessForgets(Replica):
    """a witness votes for whoever asks, not for those it vouched for"""

    def _grants(self, request: VoteRequest, now_s: float) -> bool:
        if self.config.witness:
            self.hard_state = self.hard_state._replace(vouched=())
        return super()._grants(request, now_s)


# --- leases ----------------------------------------------------------------------------------


@bug
class LeaseFromReceipt(Replica):
    """the lease runs from when the answer came, not from when the renewal left"""

    def _on_append_reply(self, reply: AppendReply, now_s: float) -> None:
        if self.role == "primary":
            self._rounds = type(self._rounds)((number, now_s) for number, _ in self._rounds)
        super()._on_append_reply(reply, now_s)


@bug
class NoLease(Replica):
    """a primary that hears nobody goes on serving"""

    @property
    def _demote_s(self) -> float:
        return float("inf")

    def can_serve(self, now_s: float) -> bool:
        return self.role == "primary" and self.quorum_lsn >= self._own_lsn


@bug
class NoPromise(Replica):
    """a vote is granted although a primary was heard a moment ago"""

    def _promised(self, request: VoteRequest, now_s: float) -> bool:
        return self.role == "primary"


@bug
class PromiseForgottenInRestart(Replica):
    """whoever restarts forgets that it had promised a primary its silence"""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._promise_until_s = 0.0
        self._deadline_s = min(self._deadline_s, args[-1] + 0.1)


@bug
class ServesWhileHandingOver(Replica):
    """a primary that hands over releases its lease before it stops"""

    def hand_over(self, target: str, now_s: float) -> None:
        super().hand_over(target, now_s)
        if self.role == "primary":
            self._send(HandOver(self.name, target, self.epoch))


# --- counting --------------------------------------------------------------------------------


@bug
class CountsOldEpochs(Replica):
    """records of an earlier epoch are committed by counting copies"""

    def _become_primary(self, now_s: float) -> None:
        super()._become_primary(now_s)
        self._own_lsn = 1


@bug
class AckBeforeSync(Replica):
    """a replica confirms what it has not synced"""

    def _append(self, entries: list[Entry]) -> None:
        super()._append(entries)
        self.flushed_lsn = self.last_lsn


@bug
class CountsLearners(Replica):
    """learners' copies count towards the quorum"""

    def _advance(self, now_s: float) -> None:
        self._data_voters = [name for name, role in self.members.items() if role != "witness"]
        super()._advance(now_s)


@bug
class CountsLostDisks(Replica):
    """what a replica had confirmed before its disk was lost still counts"""

    def _on_append_reply(self, reply: AppendReply, now_s: float) -> None:
        super()._on_append_reply(reply._replace(standing=True), now_s)


@bug
class CommitsTheUnmatched(Replica):
    """a replica takes the primary's commit position for its own, unchecked log"""

    def _accept(self, message: Append) -> None:
        self.quorum_lsn = max(self.quorum_lsn, min(message.quorum_lsn, self.last_lsn))
        super()._accept(message)


@bug
class MatchesForever(Replica):
    """what agreed with the last primary is taken to agree with the next"""

    def _enter_epoch(self, epoch: int, vote: str | None) -> None:
        matched_lsn = self.last_lsn
        super()._enter_epoch(epoch, vote)
        self.matched_lsn = matched_lsn


# --- the log ---------------------------------------------------------------------------------


@bug
class SuffixKept(Replica):
    """a divergent suffix is not cut"""

    def _take(self, entries: list[Entry]) -> bool:
        new = [entry for entry in entries if entry[1] > self.last_lsn]
        if new:
            self._append(new)
            self._adopt_members(new)
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
class CutsWhatAgrees(Replica):
    """a late message's records replace the log's end although they agree with it"""

    def _take(self, entries: list[Entry]) -> bool:
        if entries and self.quorum_lsn < entries[-1][1] < self.last_lsn:
            self._truncate(entries[-1][1] + 1)
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
        replica = self.replica
        quorum_lsn, replica.quorum_lsn = replica.quorum_lsn, replica.last_lsn
        super().compact()
        replica.quorum_lsn = max(quorum_lsn, self.base_lsn)


@bug
class SnapshotForgetsMembers(Machine):
    """a snapshot holds the founders, not the members"""

    def compact(self) -> None:
        super().compact()
        if self.disk.snapshot is not None:
            founders = tuple(self.world.settings.founders)
            self.disk.snapshot = self.disk.snapshot._replace(members=founders)


@bug
class ManyChangesAtOnce(Replica):
    """members are changed again before the last change is committed"""

    @property
    def members_lsn(self) -> int:
        return 0


@bug
class StateLostInInstall(Machine):
    """an installed snapshot's log position is taken, and its state is not"""

    def install(self, snapshot: Snapshot | None) -> None:
        state = self.state
        super().install(snapshot)
        self.state = state
