"""Bugs of the database, the balancer and the wire, as somebody might have written them.

Each is a function whose docstring says what is wrong, under the topology (tests/sim/planted/) whose
ordinary load and faults must find it. How they are hunted is test_planted_bugs.py's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import trio

from emu.seeds.run import FaultSource
from nodes import web
from nodes.balancer import node as balancer
from nodes.parts import pool
from nodes.parts.timing import move_on_after
from nodes.replica import driver as replica
from nodes.replica import files as replica_files
from nodes.replica.recovery import Recovery
from nodes.replica.snapshot_files import SNAPSHOT, SnapshotFiles
from nodes.sql import state as sql
from nodes.wire import client
from nodes.wire import connection as wire_connection
from nodes.wire import service as wire
from protocols.replication import log as log_format
from tests.planting import Plant, Swap, Unlike, listed


class PlantedBug(NamedTuple):
    sentence: str
    plant: Plant
    topology: str
    faults: FaultSource


BUGS: list[PlantedBug] = []


def bug(topology: str, *, faults: FaultSource = "swarm") -> Callable[[Plant], Plant]:
    """List the function under its docstring."""
    return listed(BUGS, PlantedBug, topology, faults)


# --- the database's log and disk -------------------------------------------------------------


@bug("single")
def _never_synced(swap: Swap) -> None:
    """the log is never synced"""

    async def sync(self: Any, synced: Any) -> None:
        await trio.lowlevel.checkpoint()
        synced(self.written_mark, self.log.written_bytes)

    swap.setattr(replica_files.ReplicaFiles, "begin_sync", lambda self: None)
    swap.setattr(replica_files.ReplicaFiles, "sync", sync)


@bug("single")
def _acknowledged_before_sync(swap: Swap) -> None:
    """a write is acknowledged when its sync begins, not when it ends"""
    sound = replica_files.ReplicaFiles.sync

    async def sync_forever(self: Any) -> None:
        while True:
            await self._sync_wanted.wait()
            self._sync_wanted = trio.Event()
            self.core.synced(self.files.written_mark, self._now_s())
            self.pump()
            await sound(self.files, lambda mark, written_bytes: None)

    swap.setattr(replica.ReplicaDriver, "_sync_forever", sync_forever)


@bug("single")
def _crc_ignored(swap: Swap) -> None:
    """recovery does not compare a record's checksum"""

    def record_at(data: bytes, position: int) -> Any:
        if len(data) - position < log_format.HEADER_BYTES:
            return None
        head = struct.Struct("<4sBIIQQ").unpack_from(data, position)
        magic, kind, length, unsynced, epoch, lsn = head
        end = position + log_format.HEADER_BYTES + length
        if magic != log_format.MAGIC or end > len(data):
            return None
        return (epoch, lsn, kind, data[position + log_format.HEADER_BYTES : end]), unsynced

    swap.setattr(log_format, "_record_at", record_at)


@bug("single")
def _torn_tail_kept(swap: Swap) -> None:
    """recovery reads past a torn tail, and leaves it in the file"""
    sound = Recovery._cut

    async def cut(self: Any, *arguments: Any) -> None:
        async def truncate(name: str, size_bytes: int) -> None:
            await trio.lowlevel.checkpoint()

        disk = self._disk
        self._disk = Unlike(disk, truncate=truncate)
        await sound(self, *arguments)
        self._disk = disk

    swap.setattr(Recovery, "_cut", cut)


@bug("single")
def _named_before_synced(swap: Swap) -> None:
    """a snapshot gets its name before its bytes are synced"""
    sound = SnapshotFiles.save

    async def save(self: Any, *arguments: Any) -> Any:
        async def sync(name: str) -> None:
            await trio.lowlevel.checkpoint()

        disk = self._disk
        self._disk = Unlike(disk, sync=sync)
        try:
            made = await sound(self, *arguments)
        finally:
            self._disk = disk
        if made is not None:
            await disk.sync(SNAPSHOT)
        return made

    swap.setattr(SnapshotFiles, "save", save)


# --- the database's transactions -------------------------------------------------------------


@bug("replicated")
def _request_ids_ignored(swap: Swap) -> None:
    """nobody looks whether a request id is known"""
    sound = sql.SqlState.execute

    def execute(self: Any, asked: Any, lsn: int) -> Any:
        return sound(self, [each._replace(request_id="") for each in asked], lsn)

    swap.setattr(sql.SqlState, "execute", execute)


@bug("replicated")
def _request_ids_forgotten(swap: Swap) -> None:
    """request ids are not part of what a snapshot brings back"""
    sound = sql.SqlState._become

    def become(self: Any, db: Any) -> None:
        sound(self, db)
        self._own(f"DELETE FROM {sql.REQUESTS_TABLE}")

    swap.setattr(sql.SqlState, "_become", become)


@bug("single")
def _guards_ignored(swap: Swap) -> None:
    """a guard that does not hold refuses nothing"""
    sound = sql.SqlState._step

    def step(self: Any, index: int, statement: Any, ddl: Any) -> Any:
        text, params, _ = statement
        return sound(self, index, (text, params, None), ddl)

    swap.setattr(sql.SqlState, "_step", step)


@bug("replicated")
def _answered_before_commit(swap: Swap) -> None:
    """a write is answered before the quorum has it"""

    def when_acknowledged(self: Any, lsn: int, tell: Any) -> None:
        tell(None)

    swap.setattr(replica.ReplicaDriver, "when_acknowledged", when_acknowledged)


@bug("replicated")
def _read_before_commit(swap: Swap) -> None:
    """a read is answered before what it saw is committed"""

    def when_visible(self: Any, lsn: int, tell: Any) -> None:
        tell(None)

    swap.setattr(replica.ReplicaDriver, "when_visible", when_visible)


@bug("replicated")
def _retried_under_a_new_id(swap: Swap) -> None:
    """a write that is tried again has a new request id"""
    sound = client.Client.call

    async def call(self: Any, method: str, *params: Any, **options: Any) -> Any:
        if method == "write" and "request_id" in params[1]:
            self.renamed = getattr(self, "renamed", 0) + 1
            request_id = f"{params[1]['request_id']}/{self.host}/{self.renamed}"
            params = (params[0], {**params[1], "request_id": request_id})
        return await sound(self, method, *params, **options)

    swap.setattr(client.Client, "call", call)


# --- the wire --------------------------------------------------------------------------------


@bug("single")
def _wrong_msgid(swap: Swap) -> None:
    """an answer goes out under the msgid of the newest request, not its own"""
    answer, respond = (
        wire_connection.ServerConnection._answer,
        wire_connection.ServerConnection._respond,
    )

    def remember(self: Any, method: Any, msgid: int, *rest: Any) -> None:
        self.newest = msgid
        answer(self, method, msgid, *rest)

    def respond_wrongly(self: Any, msgid: int, *rest: Any) -> None:
        respond(self, getattr(self, "newest", msgid), *rest)

    swap.setattr(wire_connection.ServerConnection, "_answer", remember)
    swap.setattr(wire_connection.ServerConnection, "_respond", respond_wrongly)


@bug("single")
def _msgid_used_again(swap: Swap) -> None:
    """a call that gave up leaves its msgid to the next, and with it its answer"""
    sound = client.Client._forget

    def forget(self: Any, msgid: int) -> None:
        sound(self, msgid)
        self._next_msgid = msgid

    swap.setattr(client.Client, "_forget", forget)


@bug("single")
def _broken_is_definite(swap: Swap) -> None:
    """a call whose connection broke is said not to have happened"""

    def fail_all(self: Any, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        self._unsent.clear()
        self._notices.clear()
        for waiter in waiting.values():
            waiter.fail("unavailable", f"{self.host}: {why}")

    swap.setattr(client.Client, "_fail_all", fail_all)


@bug("single")
def _timeout_is_definite(swap: Swap) -> None:
    """a call that was not answered in time is said not to have happened"""
    sound = client._Waiter.fail

    def fail(self: Any, code: str, why: str) -> None:
        sound(self, "unavailable" if code == "timeout" else code, why)

    swap.setattr(client._Waiter, "fail", fail)


@bug("single")
def _sent_again(swap: Swap) -> None:
    """a call whose connection broke is sent again over the next one, and nobody is told"""

    def fail_all(self: Any, why: str) -> None:
        waiting = {msgid: each for msgid, each in self._waiting.items() if not each.sent}
        again = {msgid: each for msgid, each in self._waiting.items() if each.sent}
        self._notices.clear()
        self._unsent = again
        self._waiting = dict(again)
        for waiter in waiting.values():
            waiter.fail("unavailable", f"{self.host}: {why}")
        if again:
            self._nursery.start_soon(connect_later, self)

    async def connect_later(self: Any) -> None:
        while self._unsent and not self._closed and self._link is None:
            self._connect_soon()
            await self.ctx.clock.sleep(0.01)

    swap.setattr(client.Client, "_fail_all", fail_all)


@bug("site")
def _time_not_passed_on(swap: Swap) -> None:
    """a call does not inherit how much time its own caller has left"""
    sound = wire_connection.ServerConnection._call

    def call(self: Any, params: Any, arrived_s: float) -> Any:
        found = sound(self, params, arrived_s)
        return wire.Call(found.peer, None, found.trace, found.epoch)

    swap.setattr(wire_connection.ServerConnection, "_call", call)


# --- the balancer ----------------------------------------------------------------------------


@bug("site")
def _down_is_used(swap: Swap) -> None:
    """a server that is marked down still gets connections"""

    def healthy(self: Any, servers: list[Any], now_s: float) -> list[Any]:
        return servers

    swap.setattr(pool.Pool, "_healthy", healthy)


@bug("maintenance", faults="planned")
def _drain_cuts(swap: Swap) -> None:
    """a server that drains loses the connections that it has"""
    sound = balancer.BalancerNode._members_changed

    def members_changed(self: Any, view: Any) -> None:
        sound(self, view)
        for server in self.pool.servers.values():
            if server.leaving:
                self.pump.end_flows_of(server)

    swap.setattr(balancer.BalancerNode, "_members_changed", members_changed)


@bug("maintenance", faults="planned")
def _web_drains_at_once(swap: Swap) -> None:
    """a web server says that it has drained while requests are in its hands"""

    async def drain(self: Any, call: Any) -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        return {"in_flight": 0}

    swap.setattr(web.WebNode, "_drain", drain)


@bug("site")
def _queue_without_bound(swap: Swap) -> None:
    """the queue in front of the servers has no bound"""

    def take(self: Any, key: str, now_s: float, on_settled: Any, tried: Any = ()) -> Any:
        candidates = [each for each in self.usable(now_s) if each not in tried]
        if not candidates:
            return pool.ALL_DOWN
        server = self._choose(candidates, key, now_s)
        if server is not None and self._free(server):
            self._give(server, now_s)
            return server
        self._picks += 1
        waiting = pool.Waiting(self._picks, key, tried, on_settled)
        self._enqueue(waiting, server)
        return waiting

    swap.setattr(pool.Pool, "take", take)


@bug("site")
def _session_kept(swap: Swap) -> None:
    """a server that could not be reached keeps the session it was chosen for"""
    sound = pool.Pool.failed

    def failed(self: Any, server: Any, now_s: float) -> None:
        server.sessions += 1
        sound(self, server, now_s)

    swap.setattr(pool.Pool, "failed", failed)


@bug("site")
def _never_up_again(swap: Swap) -> None:
    """a server that was down once is never used again"""
    sound = pool.Pool.checked

    def checked(self: Any, server: Any, why: str, now_s: float) -> bool:
        if not why and not server.health.up:
            return False
        return sound(self, server, why, now_s)

    swap.setattr(pool.Pool, "checked", checked)


@bug("site")
def _stays_in_the_queue(swap: Swap) -> None:
    """who gave up waiting stays in the queue, and is given a server later"""

    async def wait_in_queue(self: Any, waiting: Any, settled: trio.Event) -> Any:
        with move_on_after(self.ctx.clock, self.config.queue_timeout_s):
            await settled.wait()
        if waiting.server is None:
            raise balancer.Refused(waiting.refused or "queue timeout")
        return waiting.server

    swap.setattr(balancer.BalancerNode, "_wait_in_queue", wait_in_queue)
