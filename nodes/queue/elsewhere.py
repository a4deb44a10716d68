"""What the primary of a broker group learns of the partitions that others have: where they begin
and end, for the consumer groups that live here and read there.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import trio

from nodes.base import Context
from nodes.queue.assigning import Where
from nodes.queue.desk import Desk, Range, Request
from nodes.queue.grouping import Grouping
from nodes.replica.client import GroupClients
from nodes.replica.driver import ReplicaDriver
from nodes.replica.group_commit import Gathering
from nodes.wire.directory import Directory
from protocols.errors import RpcError
from protocols.queue import words

LOOK_S: Final = 1.0
TIMEOUT_S: Final = 1.0
MAX_AGED: Final = 20
"""Partitions whose oldest unread record is asked for at a time: with it its whole record comes."""


class Elsewhere:
    """One broker's: run it beside the driver."""

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        driver: ReplicaDriver,
        gathering: Gathering[Request],
        desk: Desk,
        grouping: Grouping,
    ) -> None:
        self._ctx = ctx
        self._driver = driver
        self._gathering = gathering
        self._desk = desk
        self._grouping = grouping
        self._groups = GroupClients(ctx, nursery, Directory(ctx, nursery))

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while len(self._desk.home.tiers) > 1:
            await self._ctx.clock.sleep(LOOK_S)
            if self._driver.is_primary:
                await self._look()

    async def _look(self) -> None:
        desk, found = self._desk, dict[Where, Range]()
        wanted, before = self._wanted(), self._committed()
        for name in {topic: None for topic, _ in wanted}:
            for place in {desk.home.tier_of(number): None for topic, number in wanted
                          if topic == name}:  # fmt: skip
                for number, start, end in await self._ask(place, words.OFFSETS, name) or ():
                    found[name, number] = Range(start, end)
        for where in [each for each in desk.elsewhere if each not in wanted]:
            del desk.elsewhere[where]
        desk.elsewhere |= found
        await self._look_how_old()
        beyond = [
            (name, where, offset, max(found[where]))
            for name, where, offset in before
            if where in found and offset > max(found[where])
        ]
        if beyond:
            self._ctx.log.warning("offsets beyond the end", offsets=len(beyond))
            self._decide(partial(self._grouping.go_back, beyond))
        if any(self._grouping.skipped(name) for name in desk.state.groups):
            for name in list(desk.state.groups):
                self._decide(partial(self._grouping.skip, name))

    def _wanted(self) -> dict[Where, None]:
        """What consumer groups read, and others have."""
        state, found = self._desk.state, dict[Where, None]()
        for group in state.groups.values():
            for topic, number in group.committed:
                known = state.topics.get(topic)
                if known is not None and number not in known.partitions:
                    found[topic, number] = None
        return found

    def _committed(self) -> list[tuple[str, Where, int]]:
        """How far each group was before others are asked: what they answer then is not older."""
        groups = self._desk.state.groups
        return [
            (name, where, offset)
            for name, group in groups.items()
            for where, offset in group.committed.items()
        ]

    async def _look_how_old(self) -> None:
        """Of where each group goes on, as far as there is something."""
        desk, looked_at = self._desk, 0
        for name, group in list(desk.state.groups.items()):
            for where, committed in list(group.committed.items()):
                part = desk.elsewhere.get(where)
                desk.next_ms.pop((name, *where), None)
                if part is None or looked_at >= MAX_AGED or max(committed, part.start) >= part.end:
                    continue
                looked_at += 1
                topic, number = where
                params = [topic, number, max(committed, part.start), {"max_records": 1}]
                polled = await self._ask(desk.home.tier_of(number), words.POLL, *params)
                if polled is not None and polled["records"]:
                    desk.next_ms[name, topic, number] = polled["records"][0][1]

    async def _ask(self, place: int, method: str, *params: Any) -> Any:
        """What that broker group answers; None if it does not."""
        group = self._groups.of(self._desk.home.tiers[place])
        try:
            return await group.ask(method, *params, timeout_s=TIMEOUT_S)
        except RpcError as error:
            self._ctx.log.debug("no word from other brokers", tier=group.tier, why=str(error))
            return None

    def _decide(self, request: Request) -> None:
        """Now or another time: it is looked at again."""
        try:
            self._gathering.add(request)
        except RpcError as refusal:
            self._ctx.log.debug("not decided", why=str(refusal))
