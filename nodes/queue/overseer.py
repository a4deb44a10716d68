"""What a primary does unasked: it founds the declared topics, ends what has lasted its time, drops
what is too old, and moves to the dead letters what failed for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgpack

from nodes.base import Context
from nodes.queue import reach
from nodes.queue.desk import Desk, Request
from nodes.queue.grouping import RELEASE, SESSION, Grouping
from nodes.queue.office import Office
from nodes.queue.partition import Stored
from nodes.queue.publishing import Publishing
from nodes.queue.reading import Reading
from nodes.queue.state import Topic
from nodes.queue.topics import TopicOptions
from nodes.queue.working import Working
from nodes.replica.driver import ReplicaDriver
from nodes.replica.group_commit import Gathering
from protocols.errors import RpcError

MAX_AT_ONCE: Final = 500
PAUSE_S: Final = 0.05
FULL_PAUSE_S: Final = 1.0
SWEEP_S: Final = 1.0
FROM: Final = "dead-letter-from"
"""Headers of a dead letter: where it was, whom it failed, how often, and since when."""
FAILED: Final = "dead-letter-failed"
GROUP: Final = "dead-letter-group"
OF_DEAD_LETTERS: Final = (FROM, FAILED, GROUP)
ENDS_OF_MEMBERS: Final = {SESSION: reach.SESSION_ENDED, RELEASE: reach.HELD_ON}


class Overseer:
    """One broker's: run it beside the driver."""

    def __init__(
        self,
        ctx: Context,
        driver: ReplicaDriver,
        gathering: Gathering[Request],
        desk: Desk,
        office: Office,
        publishing: Publishing,
        grouping: Grouping,
        working: Working,
        reading: Reading,
        topics: Mapping[str, TopicOptions],
    ) -> None:
        self._ctx = ctx
        self._driver = driver
        self._gathering = gathering
        self._desk = desk
        self._office = office
        self._publishing = publishing
        self._grouping = grouping
        self._working = working
        self._reading = reading
        self._topics = topics
        office.found = self._declare
        self._parked: dict[tuple[str, str, int, int], None] = {}

    # --- time ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Act when something is due, until cancelled."""
        while True:
            await self._office.wanted.wait()
            if not self._driver.is_primary:
                continue
            if not self._office.is_entered:
                await self._enter()
            due = self._desk.deadlines.take_due(self._ctx.clock.monotonic_s(), MAX_AT_ONCE)
            if due and not await self._ask(partial(self._end, due)):
                again_s = self._ctx.clock.monotonic_s() + PAUSE_S
                for key in due:
                    if key not in self._desk.deadlines:
                        self._desk.deadlines.set(key, again_s)
            self._office.arm()

    async def _enter(self) -> None:
        """An office begins with the first decision, though nobody asks for any."""
        while self._driver.is_primary and not await self._ask(lambda: None):
            await self._ctx.clock.sleep(PAUSE_S)

    def _declare(self) -> None:
        """That the topics of the file are there."""
        for name, options in self._topics.items():
            known = self._desk.state.topics.get(name)
            if known is None:
                self._publishing.declare(name, options)
            elif known.options != options:
                self._ctx.log.warning("topic kept as it is", topic=name)

    def _end(self, due: list[Any]) -> None:
        """A length of time is over, unless it was made longer meanwhile."""
        for key in due:
            if key in self._desk.deadlines:
                continue
            word, *where = key
            if word in ENDS_OF_MEMBERS:
                group, member = where
                self._put_out(group, member, ENDS_OF_MEMBERS[word])
            else:
                self._working.expire(word, *where)

    def _put_out(self, group: str, member: str, why: str) -> None:
        known = self._desk.state.groups.get(group)
        found = known.members.get(member) if known is not None else None
        held_on = why == reach.HELD_ON
        if found is None or (held_on and not found.revoking):
            return
        self._desk.reached(why)
        if held_on:
            self._ctx.log.warning("member put out", group=group, member=member)
        self._grouping.leave(group, member)

    async def _ask(self, request: Request) -> bool:
        """Whether it is decided, and committed."""
        try:
            await self._gathering.add(request).wait()
        except RpcError as refusal:
            self._ctx.log.debug("not decided", why=str(refusal))
            return False
        return True

    # --- age -----------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Drop what is too old, until cancelled."""
        while True:
            await self._ctx.clock.sleep(SWEEP_S)
            if self._driver.is_primary and self._publishing.is_any_old():
                await self._ask(self._publishing.drop_old)

    # --- the dead ------------------------------------------------------------------------

    async def bury(self) -> None:
        """Move what failed for good to the dead letters, until cancelled."""
        while True:
            await self._office.burials.wait()
            while self._driver.is_primary and self._desk.has_dying:
                self._desk.has_dying = False
                if not await self._bury_all():
                    self._desk.has_dying = True
                    await self._ctx.clock.sleep(FULL_PAUSE_S)

    async def _bury_all(self) -> bool:
        """Whether all that can be moved is."""
        all_done = True
        for topic, group, number, offset in list(self._desk.state.dying()):
            if not topic.options.dead_letters:
                self._park(topic.name, group, number, offset)
                continue
            entry = topic.cursors[group][number].entries.get(offset)
            if entry is not None:
                all_done &= await self._bury(topic, group, number, offset, entry.failed)
        return all_done

    async def _bury(self, topic: Topic, group: str, number: int, offset: int, failed: int) -> bool:
        """Whether that one is moved, or need not be."""
        try:
            found = await self._reading.one(topic, number, offset)
        except RpcError as error:  # the state is taken from a peer, or was replaced meanwhile
            self._ctx.log.debug("record not read", why=str(error))
            return False
        letter = None
        if found is not None:
            letter = dead_letter(found, topic, number, group, failed)
        return await self._ask(
            partial(self._working.bury, topic.name, group, number, offset, letter)
        )

    def _park(self, *where: Any) -> None:
        """Nobody takes it: it stays, and somebody should know."""
        if where not in self._parked:
            topic, group, number, offset = where
            self._parked[topic, group, number, offset] = None
            self._ctx.log.warning(
                "record parked", topic=topic, group=group, partition=number, offset=offset
            )


def dead_letter(found: Stored, topic: Topic, number: int, group: str, failed: int) -> bytes:
    """The record as it is among the dead letters."""
    key, value, headers = msgpack.unpackb(found.payload, strict_map_key=False)
    told = {FROM: [topic.name, number, found.offset], GROUP: group, FAILED: failed}
    packed: bytes = msgpack.packb([key, value, {**headers, **told}])
    return packed
