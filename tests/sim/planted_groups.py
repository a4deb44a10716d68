"""Bugs of replicated groups that show only in states a run has to reach: group commit, snapshots,
leases, votes, uncommitted reads, links.

How they are hunted is test_planted_bugs.py's.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from emu.machine.pipe import Pipe
from nodes.kv import engine as kv_engine
from nodes.replica import applying, group_commit, recovery, snapshots
from nodes.replica import driver as replica
from nodes.replica.segments import Segments
from nodes.replica.snapshot_files import OWN, SNAPSHOT
from nodes.replica.waiters import Waiters
from nodes.sql import client as sql_client
from nodes.sql import database
from nodes.sql import state as sql
from protocols.database import Written
from protocols.errors import RpcError
from protocols.replication import follower, lease, primary, voter
from protocols.replication.messages import WITNESS, Append
from protocols.replication.replica import Replica
from tests.planting import Swap, listed
from tests.sim.planted_bugs import FaultSource, PlantedBug

GROUP_BUGS: list[PlantedBug] = []
GROUPS = "groups"
SHARDS = "shards"


def bug(topology: str, *, faults: FaultSource = "swarm") -> Any:
    """List the function under its docstring."""
    return listed(GROUP_BUGS, PlantedBug, topology, faults)


# --- group commit ----------------------------------------------------------------------------


@bug(GROUPS)
def _settled_one_early(swap: Swap) -> None:
    """a group is answered when the one before it is committed"""
    sound = group_commit.Commits._settle_at

    def settle_at(self: Any, lsn: int, futures: Any) -> None:
        sound(self, max(1, lsn - 1), futures)

    swap.setattr(group_commit.Commits, "_settle_at", settle_at)


@bug(GROUPS)
def _half_refused(swap: Swap) -> None:
    """a transaction that is refused keeps what it had done until then"""

    def roll_back(self: Any) -> None:
        if not self.db.getautocommit():
            with self._rules.own():
                self.db.execute("RELEASE emu")

    swap.setattr(sql.SqlState, "_roll_back", roll_back)


@bug(GROUPS)
def _lost_is_done(swap: Swap) -> None:
    """who loses its role tells those who wait that it is done"""

    def reached(self: Any, lsn: int, epoch: int, in_office: bool) -> None:
        heap = self._heap
        while heap and (heap[0][0] <= lsn or not in_office or heap[0][2] != epoch):
            heap.pop(0)[3](None)

    swap.setattr(Waiters, "reached", reached)


@bug(GROUPS)
def _lost_is_refused(swap: Swap) -> None:
    """who loses its role says that what was on its way did not happen"""
    sound = Waiters.__init__

    def init(self: Any, lost_code: str, lost_why: str) -> None:
        sound(self, "refused", lost_why)

    swap.setattr(Waiters, "__init__", init)


@bug(GROUPS)
def _earlier_attempt_forgotten(swap: Swap) -> None:
    """a refusal is told as final though an attempt before it may take effect"""

    async def ask(
        self: Any, method: str, params: list[Any], timeout_s: float, *, anywhere: bool
    ) -> dict[str, Any]:
        answer = await self._group.ask(method, *params, timeout_s=timeout_s, anywhere=anywhere)
        return dict(answer)

    async def write(self: Any, statements: Any, *, request_id: str, timeout_s: float = 5.0) -> Any:
        params = [[list(each) for each in statements], {"request_id": request_id}]
        try:
            return Written.from_wire(await self._ask("write", params, timeout_s, anywhere=False))
        except RpcError as error:
            if error.code in ("timeout", "unknown_outcome", "disconnected"):
                raise RpcError("unavailable", f"{error}") from error
            raise

    swap.setattr(sql_client.DatabaseClient, "_ask", ask)
    swap.setattr(sql_client.DatabaseClient, "write", write)


# --- leases and votes ------------------------------------------------------------------------


@bug(GROUPS)
def _half_a_promise(swap: Swap) -> None:
    """a follower keeps its promise for half of the lease"""

    def promise(self: Any) -> None:
        state = self._state
        self._promised_epoch = state.epoch
        self.promise_until_s = state.now_s + 0.5 * state.config.detection_timeout_s

    def primary_spoke(self: Any) -> None:
        config = self._state.config
        waited_s = self._state.now_s + 0.5 * config.detection_timeout_s
        self._due_s = waited_s + self._patience_s(config.detection_jitter)

    swap.setattr(voter.Voter, "promise", promise)
    from protocols.replication.elector import Elector

    swap.setattr(Elector, "primary_spoke", primary_spoke)


@bug(GROUPS)
def _lease_from_the_reply(swap: Swap) -> None:
    """a lease is measured from the answer, not from the question"""
    sound = primary.Primary._renew_lease

    def renew_lease(self: Any) -> None:
        before_s = self.lease.until_s
        sound(self)
        if self.lease.until_s > before_s:
            self.lease.until_s = self._state.now_s + self.lease._length_s

    swap.setattr(primary.Primary, "_renew_lease", renew_lease)


@bug(GROUPS)
def _lease_never_ends(swap: Swap) -> None:
    """a primary serves until it hears of another"""
    from protocols.replication.config import NEVER

    swap.setattr(lease.Lease, "holds", lambda self, now_s: self.until_s > 0)
    swap.setattr(lease.Lease, "ends_s", property(lambda self: NEVER))


@bug(GROUPS)
def _vote_by_length(swap: Swap) -> None:
    """a vote goes to the longer log, whatever its last epoch"""

    def grants(self: Any, request: Any) -> bool:
        state = self._state
        if self._owes_silence(request):
            return False
        if not state.standing and not (state.blank and request.last_lsn == 0):
            return False
        if not request.pre and request.epoch > state.epoch and state.standing:
            self._become_follower(request.epoch, None)
        if request.epoch == state.epoch and state.hard_state.vote not in (None, request.sender):
            return False
        return bool(request.last_lsn >= state.last_lsn)

    swap.setattr(voter.Voter, "_grants", grants)


@bug(GROUPS)
def _vote_for_any_log(swap: Swap) -> None:
    """a vote is given without a look at the log"""
    sound = voter.Voter._grants

    def grants(self: Any, request: Any) -> bool:
        return sound(self, request._replace(last_epoch=1 << 40, last_lsn=1 << 40))

    swap.setattr(voter.Voter, "_grants", grants)


@bug(SHARDS)
def _any_witness_vote(swap: Swap) -> None:
    """a witness votes for whoever asks, in sync or not"""
    sound = voter.Voter._grants

    def grants(self: Any, request: Any) -> bool:
        state = self._state
        if not state.config.witness:
            return sound(self, request)
        memory = state.hard_state
        state.hard_state = memory._replace(vouched=())
        try:
            return sound(self, request)
        finally:
            if state.hard_state.epoch == memory.epoch:
                state.hard_state = state.hard_state._replace(vouched=memory.vouched)

    swap.setattr(voter.Voter, "_grants", grants)
    assert WITNESS


@bug(GROUPS)
def _votes_without_its_disk(swap: Swap) -> None:
    """a member whose disk was lost votes as if nothing had been"""

    def stand(self: Any) -> bool:
        return True

    from protocols.replication.state import State

    swap.setattr(State, "standing", property(stand))


@bug(GROUPS)
def _old_epochs_are_taken(swap: Swap) -> None:
    """what an old primary sends is taken, whatever its epoch"""
    sound = Replica.step

    def step(self: Any, message: Any, now_s: float) -> None:
        epoch = self._state.epoch
        if isinstance(message, Append) and message.epoch < epoch:
            message = message._replace(epoch=epoch)
        sound(self, message, now_s)

    swap.setattr(Replica, "step", step)


@bug(GROUPS)
def _gaps_are_taken(swap: Swap) -> None:
    """a follower does not look whether its log meets what is sent"""
    swap.setattr(follower.Follower, "_fits", lambda self, prev_lsn, prev_epoch: True)


@bug(GROUPS)
def _acknowledged_unsynced(swap: Swap) -> None:
    """a follower confirms as durable what it has only written"""
    sound = follower.Follower._confirm

    def confirm(self: Any, *arguments: Any) -> None:
        state = self._state
        flushed_lsn, state.flushed_lsn = state.flushed_lsn, state.last_lsn
        try:
            sound(self, *arguments)
        finally:
            state.flushed_lsn = flushed_lsn

    swap.setattr(follower.Follower, "_confirm", confirm)


# --- what is seen ----------------------------------------------------------------------------


@bug(GROUPS)
def _replicas_show_all(swap: Swap) -> None:
    """a replica shows records that no quorum has"""

    def target(self: Any) -> int:
        return int(self._driver.core.storage.last_lsn)

    def has(self: Any, min_lsn: int) -> bool:
        return not self.driver.is_cut and bool(self.driver.state_lsn >= min_lsn)

    swap.setattr(applying.Applying, "_target", target)
    swap.setattr(database.SqlEngine, "_has", has)


@bug(GROUPS)
def _token_ignored(swap: Swap) -> None:
    """a replica answers though it lacks what the client has seen"""

    async def wait_for_token(self: Any, min_lsn: int) -> None:
        return

    swap.setattr(database.SqlEngine, "_wait_for_token", wait_for_token)


@bug(GROUPS)
def _cut_stays_applied(swap: Swap) -> None:
    """records that were cut stay in the state"""
    sound = replica.ReplicaDriver._restore

    async def restore(self: Any) -> None:
        if self.state_lsn == 0:
            await sound(self)
        else:
            self.state_lsn = min(self.state_lsn, self.core.storage.last_lsn)

    swap.setattr(replica.ReplicaDriver, "_restore", restore)


@bug(SHARDS)
def _dirty_reads(swap: Swap) -> None:
    """a key is read while its change is on its way"""
    swap.setattr(kv_engine.LoggedEngine, "_seen", lambda self, name, params: 0)
    sound = kv_engine.LoggedEngine._fused_get

    def fused_get(self: Any) -> Any:
        sound(self)
        return self.commands.get

    swap.setattr(kv_engine.LoggedEngine, "_fused_get", fused_get)


# --- snapshots -------------------------------------------------------------------------------


@bug(SHARDS)
def _dump_without_what_came(swap: Swap) -> None:
    """a snapshot claims the records that came while it was made, and lacks them"""
    sound = snapshots.dump_in_steps

    def dump(machine: Any, applied: Any) -> Any:
        def nothing() -> list[bytes]:
            applied()
            return []

        return sound(machine, nothing)

    swap.setattr(snapshots, "dump_in_steps", dump)


@bug(GROUPS)
def _half_a_snapshot_is_taken(swap: Swap) -> None:
    """a start takes half a snapshot, which it finds beside the true one, for it"""
    sound = recovery.Recovery._snapshot

    async def snapshot(self: Any, *arguments: Any) -> Any:
        if OWN in self._disk.names():
            await self._disk.rename(OWN, SNAPSHOT)
        return await sound(self, *arguments)

    swap.setattr(recovery.Recovery, "_snapshot", snapshot)


@bug(GROUPS)
def _installed_over_its_log(swap: Swap) -> None:
    """a peer's snapshot is installed, and the files of the log stay as they were"""

    async def clear(self: Any) -> None:
        self._segments.clear()
        self._unsynced.clear()

    swap.setattr(Segments, "clear", clear)


@bug(GROUPS)
def _dropped_too_much(swap: Swap) -> None:
    """a snapshot drops files of the log that are newer than it is"""
    sound = Segments.drop_before

    async def drop_before(self: Any, lsn: int) -> None:
        await sound(self, 1 << 60)

    swap.setattr(Segments, "drop_before", drop_before)


# --- links -----------------------------------------------------------------------------------


@bug(GROUPS)
def _overtaken(swap: Swap) -> None:
    """a piece of a stream that is sent again is overtaken by what came after it"""

    def add(self: Any, data: Any, size_bytes: int) -> None:
        now_s, link = self._timers.now_s(), self.link
        arrive_s = now_s + self._least_latency_s
        if not link.plain:
            arrive_s = max(arrive_s, link.stream_arrival_s(now_s, size_bytes))
        if data is None:
            arrive_s = max(arrive_s, self._last_s)
        self._last_s = max(arrive_s, self._last_s)
        self._queue.append((arrive_s, data))
        self._queue = deque(sorted(self._queue, key=lambda each: each[0]))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._arm()

    swap.setattr(Pipe, "_add", add)
