"""What a primary reads of its backlog for those who ask: records from an offset on, records that
were just delivered, the keys that an ordered work queue looks at. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import trio

from nodes.base import Context
from nodes.parts.timing import move_on_after
from nodes.queue.backlog import Backlog
from nodes.queue.desk import Desk
from nodes.queue.partition import Damaged, Stored
from nodes.queue.state import Topic
from nodes.queue.working import Delivered
from nodes.replica.driver import ReplicaDriver
from protocols.errors import RpcError
from protocols.queue.placement import key_hash

SETTLE_POLL_S: Final = 0.005
LOOK_AHEAD: Final = 256
"""Records of an ordered topic, behind those that were handed out, whose keys are looked at."""
ANYWHERE: Final = -1


class Arrivals:
    """Those who wait for something to come, or to be free, in a partition."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, int], trio.Event] = {}

    def of(self, topic: str, number: int = ANYWHERE) -> trio.Event:
        """Set when something comes there next."""
        event = self._events.get((topic, number))
        if event is None:
            event = self._events[topic, number] = trio.Event()
        return event

    def wake(self, topic: str, number: int) -> None:
        for place in (number, ANYWHERE):
            event = self._events.pop((topic, place), None)
            if event is not None:
                event.set()

    def wake_all(self) -> None:
        events, self._events = self._events, {}
        for event in events.values():
            event.set()


class Reading:
    """Reads for clients; the state is the one of `desk`."""

    def __init__(
        self,
        ctx: Context,
        desk: Desk,
        driver: ReplicaDriver,
        backlog: Backlog,
        safe_lsn: Callable[[], int],
    ) -> None:
        """`safe_lsn`: the last record that no failover can lose."""
        self.arrivals = Arrivals()
        self.polled = 0
        self._ctx = ctx
        self._desk = desk
        self._driver = driver
        self._backlog = backlog
        self._safe_lsn = safe_lsn
        self._keys: dict[tuple[str, int], tuple[int, list[int | None]]] = {}

    def begin_office(self) -> None:
        self._keys.clear()

    def end_of(self, topic: Topic, number: int) -> int:
        """The high watermark."""
        return self._desk.high_watermark(topic, number, self._safe_lsn())

    async def arrived(self, event: trio.Event, until_s: float) -> bool:
        """Whether something came before that time, which is safe by now. Raises RpcError when this
        node is not the primary any more."""
        clock, driver = self._ctx.clock, self._driver
        left_s = until_s - clock.monotonic_s()
        if left_s <= 0:
            return False
        with move_on_after(clock, left_s):
            await event.wait()
            driver.check_can_read()
            lsn = driver.state_lsn
            await driver.visible(lsn)
            while self._safe_lsn() < lsn:
                driver.check_can_read()
                await clock.sleep(SETTLE_POLL_S)
            return True
        return False

    # --- from an offset on ---------------------------------------------------------------

    async def poll(
        self, name: str, number: int, offset: int, most: int, most_bytes: int, wait_s: float
    ) -> dict[str, Any]:
        """See protocols/queue/words.py."""
        desk, driver = self._desk, self._driver
        until_s = self._ctx.clock.monotonic_s() + wait_s
        while True:
            driver.check_can_read()
            event = self.arrivals.of(name, number)
            topic = await self._seen(name)
            partition = topic.partitions[desk.check_partition(topic, number)]
            end = self.end_of(topic, number)
            if not partition.start <= offset <= max(end, partition.end):
                raise RpcError(
                    "out_of_range",
                    f"{name}/{number} has {partition.start} to {end}, not {offset}",
                    partition.start,
                    end,
                )
            found: list[Stored] = []
            if offset < end:
                found = await self._read(topic, number, offset, end, most, most_bytes)
                driver.check_can_read()
            if found or not await self.arrived(event, until_s):
                self.polled += len(found)
                records = [each.unpacked() for each in found]
                return {"records": records, "start": partition.start, "end": end}

    async def _seen(self, name: str) -> Topic:
        """The topic. Raises RpcError: that there is none rests on what was seen."""
        try:
            return self._desk.topic(name)
        except RpcError:
            await self._driver.visible(self._driver.state_lsn)
            raise

    async def _read(
        self, topic: Topic, number: int, offset: int, end: int, most: int, most_bytes: int
    ) -> list[Stored]:
        """Records in a row; none where they were dropped just now. Raises RpcError where the state
        was replaced meanwhile, or is damaged: then it is taken from a peer."""
        found: list[Stored] = []
        times = self._driver.times_replaced
        while offset < end and len(found) < most and most_bytes > 0:
            place = topic.partitions[number].place_of(offset)
            if place is None:
                break
            try:
                some = await self._backlog.read(place, offset, end, most - len(found), most_bytes)
            except Damaged as error:
                self._driver.stop_state(self._driver.state_lsn, error)
                raise RpcError("unavailable", f"{topic.name}/{number} is damaged here") from error
            if times != self._driver.times_replaced:
                raise RpcError("unavailable", "the state was replaced while it was read")
            if not some:
                break
            found += some
            offset = some[-1].offset + 1
            most_bytes -= sum(len(each.payload) for each in some)
        return found

    def offset_at(self, topic: Topic, number: int, time_ms: int) -> int:
        """The first offset of the first segment that has records of that time or later."""
        return topic.partitions[number].end_of_older(time_ms)

    async def first_at(self, topic: Topic, number: int, time_ms: int) -> int:
        """The first offset whose record is not older."""
        end = self.end_of(topic, number)
        offset = self.offset_at(topic, number, time_ms)
        while offset < end:
            found = await self._read(topic, number, offset, end, LOOK_AHEAD, 1 << 20)
            if not found:
                break
            for each in found:
                if each.time_ms >= time_ms:
                    return each.offset
            offset = found[-1].offset + 1
        return end

    # --- for work queues -----------------------------------------------------------------

    async def delivered(self, name: str, deliveries: Sequence[Delivered]) -> list[list[Any]]:
        """With the records themselves; what was dropped meanwhile is not among them."""
        topic = self._desk.topic(name)
        rows: list[list[Any]] = []
        for number, offset, delivery, failed in deliveries:
            found = await self.one(topic, number, offset)
            if found is not None:
                rows.append([number, offset, delivery, failed, *found.unpacked()[1:]])
        return rows

    async def one(self, topic: Topic, number: int, offset: int) -> Stored | None:
        """A record; None if it was dropped."""
        found = await self._read(topic, number, offset, offset + 1, 1, 1)
        return found[0] if found else None

    async def keys(self, topic: Topic, group: str) -> dict[int, tuple[int, Sequence[int | None]]]:
        """Of an ordered topic: what comes next for that group in each partition."""
        cursors = topic.cursors.get(group)
        found: dict[int, tuple[int, Sequence[int | None]]] = {}
        for number in topic.partitions:
            first = cursors[number].next if cursors is not None else topic.partitions[number].start
            found[number] = await self._keys_from(topic, number, first)
        return found

    async def _keys_from(
        self, topic: Topic, number: int, first: int
    ) -> tuple[int, Sequence[int | None]]:
        where, times = (topic.name, number), self._driver.times_replaced
        base, known = self._keys.get(where, (first, []))
        if not base <= first <= base + len(known):
            base, known = first, []
        known = known[first - base :]
        end = min(self.end_of(topic, number), first + LOOK_AHEAD)
        if first + len(known) < end:
            more = await self._read(topic, number, first + len(known), end, LOOK_AHEAD, 1 << 20)
            known += [key_hash(each.unpacked()[2]) for each in more]
        if times == self._driver.times_replaced:
            self._keys[where] = first, known
        return first, known
