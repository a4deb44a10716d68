"""A member of a consumer group: it reads the partitions that are its own just now, and remembers
with the group how far it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.parts.timing import move_on_after
from nodes.queue.client import DEFAULT_TIMEOUT_S, QueueClient, Record
from nodes.replica.client import LEAST_LEFT_S
from nodes.wire.answers import deadline_in
from protocols.errors import RpcError
from protocols.queue import words
from protocols.queue.words import JOINING, LEAVING

Where = tuple[str, int]
"""Topic and partition."""
STALE: Final = "stale_generation"
OUT_OF_RANGE: Final = "out_of_range"
RETRY_S: Final = 0.2
LONG_POLL_S: Final = 2.0


class Consumer:
    """One member. Run `run` beside whatever polls.

    What was polled is this member's until it is committed, or given up. A partition that it must
    give away it keeps so long, and no longer.
    """

    def __init__(
        self,
        client: QueueClient,
        group: str,
        member: str,
        topics: Sequence[str],
        *,
        session_s: float = 10.0,
        release_s: float = 60.0,
        from_end: bool = False,
    ) -> None:
        """`member`: no other has this name. `session_s`: silent for so long, it is none any more;
        nor if it keeps records for `release_s` whose partition is to go to another. `from_end`:
        where nobody has committed yet, records that are there already are passed over."""
        self._client = client
        self._clock = client.ctx.clock
        self.group = group
        self.member = member
        self.topics = list(topics)
        self.epoch = JOINING
        self.lost = 0
        """Records that were dropped before this member read them."""
        self._session_ms = int(session_s * 1000)
        self._release_ms = int(release_s * 1000)
        self._from_end = from_end
        self._positions: dict[Where, int] = {}
        """Of what is this member's: the next offset to poll."""
        self._out: dict[Where, Sequence[Record]] = {}
        """Polled, and neither committed nor given up."""
        self._revoked: dict[Where, None] = {}
        """To be given away as soon as nothing of it is out."""
        self._beats = 0
        self._membership = 0
        """How often it began anew: what was asked before means nothing after."""
        self._hurry = AutoResetEvent()
        self._changed = trio.Event()
        """Set when partitions come."""
        self._beaten = trio.Event()
        """Set when the group has answered."""
        self._next = 0

    @property
    def partitions(self) -> list[Where]:
        """What this member may read now."""
        return [where for where in self._positions if where not in self._revoked]

    # --- membership ----------------------------------------------------------------------

    async def run(self) -> None:
        """Stay a member, until cancelled."""
        while True:
            try:
                wait_s = await self._beat()
            except RpcError as error:
                self._client.ctx.log.debug("no heartbeat", group=self.group, why=str(error))
                if error.code == STALE:
                    self._forget()
                wait_s = RETRY_S
            with move_on_after(self._clock, wait_s):
                await self._hurry.wait()

    async def _beat(self) -> float:
        """Say what is read here, hear what shall be; the seconds until the next time."""
        self._let_go()
        self._beats += 1
        membership = self._membership
        options: dict[str, Any] = {
            "topics": self.topics,
            "owned": [list(where) for where in self._positions],
            "session_ms": self._session_ms,
            "release_ms": self._release_ms,
            "beat": self._beats,
        }
        home = await self._client.home_of(self.group)
        answer = await self._client.ask(
            home, words.HEARTBEAT, self.group, self.member, self.epoch, options
        )
        if membership != self._membership:
            return 0.0  # it left meanwhile
        self.epoch = answer["epoch"]
        mine = [(topic, number) for topic, number in answer["partitions"]]
        self._revoked = {where: None for where in self._positions if where not in mine}
        fresh = [where for where in mine if where not in self._positions]
        if fresh:
            begun = await self._begin(home, fresh)
            if membership != self._membership:
                return 0.0
            self._positions |= begun
            changed, self._changed = self._changed, trio.Event()
            changed.set()
        beaten, self._beaten = self._beaten, trio.Event()
        beaten.set()
        if any(where not in self._out for where in self._revoked):
            return 0.0
        return float(answer["heartbeat_ms"]) / 1000

    async def _begin(self, home: str, fresh: list[Where]) -> dict[Where, int]:
        """Where to begin in partitions that this member has come to have."""
        told = await self._client.ask(home, words.COMMITTED, self.group)
        committed = {(topic, number): offset for topic, number, offset in told["offsets"]}
        found: dict[Where, int] = {}
        for where in fresh:
            if where not in committed:
                ends = await self._client.offsets(where[0])
                start, end, *_ = ends[where[1]]
                committed[where] = end if self._from_end else start
            found[where] = committed[where]
        return found

    def _let_go(self) -> None:
        for where in [each for each in self._revoked if each not in self._out]:
            del self._revoked[where]
            del self._positions[where]

    def _forget(self) -> None:
        """The group went on without this member: nothing is its own any more."""
        self._membership += 1
        self.epoch = JOINING
        self._positions, self._revoked, self._out = {}, {}, {}

    async def leave(self) -> None:
        """Give everything away at once. Raises RpcError."""
        home = await self._client.home_of(self.group)
        await self._client.ask(home, words.HEARTBEAT, self.group, self.member, LEAVING)
        self._forget()

    # --- to read -------------------------------------------------------------------------

    async def poll(self, *, most: int = 100, wait_s: float = 0.0) -> list[Record]:
        """Records of one partition that nothing is out of, waiting so long for the first. Commit
        them, or give them up. Raises RpcError."""
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            left_s = until_s - self._clock.monotonic_s()
            free = [where for where in self.partitions if where not in self._out]
            found: list[Record] = []
            if free:
                found = await self._poll_any(free, most, max(0.0, left_s))
            elif left_s > 0:
                with move_on_after(self._clock, left_s):
                    await self._changed.wait()
            if found or left_s <= 0:
                return found

    async def _poll_any(self, free: list[Where], most: int, wait_s: float) -> list[Record]:
        """Of whichever has something first; at each in turn where several have."""
        self._next += 1
        found: list[Record] = []
        failures: list[RpcError] = []
        wait_s = min(wait_s, LONG_POLL_S)

        async def one(where: Where, waits_s: float) -> None:
            position = self._positions[where]
            try:
                records = await self._poll_one(where, most, waits_s)
            except RpcError as error:
                failures.append(error)
                return
            is_next = self._positions.get(where) == position  # it may be this member's anew
            if records and not found and is_next:
                found.extend(records)
                self._out[where] = records
                self._positions[where] = records[-1].offset + 1
                nursery.cancel_scope.cancel()

        changed = self._changed

        async def end_when_changed() -> None:
            await changed.wait()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as polls:
                nursery.start_soon(end_when_changed)
                for place in range(len(free)):
                    polls.start_soon(one, free[(self._next + place) % len(free)], wait_s)
            nursery.cancel_scope.cancel()
        if failures and not found and len(failures) == len(free):
            raise failures[0]
        return found

    async def _poll_one(self, where: Where, most: int, wait_s: float) -> list[Record]:
        position = self._positions[where]
        try:
            polled = await self._client.poll(*where, position, most=most, wait_s=wait_s)
        except RpcError as error:
            if error.code != OUT_OF_RANGE or self._positions.get(where) != position:
                raise
            start, end = error.details
            self.lost += max(0, start - position)
            self._positions[where] = start if position < start else end
            return []
        return polled.records

    # --- what became of it ---------------------------------------------------------------

    async def commit(
        self, records: Sequence[Record], *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        """All of a poll were worked off. Raises RpcError: `stale_generation` if another reads them
        by now, or this member anew: it was put out of the group since it polled them."""
        last = _last_of_each(records)
        if not all(self._is_out(each) for each in last.values()):
            self.give_up(records)
            raise RpcError(STALE, f"{self.member} was put out since it polled these records")
        try:
            await self._commit(
                [[*where, each.offset + 1] for where, each in last.items()], timeout_s
            )
        except RpcError:
            self.give_up(records)
            raise
        self._over([where for where, each in last.items() if self._is_out(each)])

    async def _commit(self, rows: list[list[Any]], timeout_s: float) -> None:
        """By the generation that this member is in: where the group has gone on to another, and
        the partition stayed here, by that."""
        deadline_s, membership = deadline_in(self._clock, timeout_s), self._membership
        home = await self._client.home_of(self.group)
        while True:
            epoch, beaten = self.epoch, self._beaten
            left_s = max(LEAST_LEFT_S, deadline_s - self._clock.monotonic_s())
            try:
                await self._client.ask(
                    home, words.COMMIT, self.group, self.member, epoch, rows, timeout_s=left_s
                )
                return
            except RpcError as error:
                if error.code != STALE:
                    raise
                if self.epoch == epoch:
                    self._hurry.set()
                    with move_on_after(self._clock, left_s):
                        await beaten.wait()
                mine = all((topic, number) in self._positions for topic, number, _ in rows)
                if membership != self._membership or self.epoch == epoch or not mine:
                    raise

    def give_up(self, records: Sequence[Record]) -> None:
        """They were not: they are polled again, here or elsewhere."""
        known = {where for where, each in _last_of_each(records).items() if self._is_out(each)}
        for record in reversed(records):
            where = record.topic, record.partition
            if where in known and where in self._positions:
                self._positions[where] = record.offset
        self._over(list(known))

    def _is_out(self, record: Record) -> bool:
        """Whether it is of a poll whose end is not known; of this membership: what was polled
        before is not this one's, though its offset may be."""
        return any(each is record for each in self._out.get((record.topic, record.partition), ()))

    def _over(self, wheres: Sequence[Where]) -> None:
        for where in wheres:
            self._out.pop(where, None)
            if where in self._revoked:
                self._hurry.set()


def _last_of_each(records: Sequence[Record]) -> dict[Where, Record]:
    """Of each partition the record that comes last."""
    return {
        (each.topic, each.partition): each for each in sorted(records, key=lambda each: each.offset)
    }
