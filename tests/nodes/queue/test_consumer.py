"""A member of a consumer group that was put out while it held records, and is back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nodes.queue.client import Polled, Record
from nodes.queue.consumer import Consumer
from protocols.errors import RpcError
from protocols.queue import words
from tests.nodes.harness import MemoryWorld


class Group:
    """The client of a queue whose one partition, of ten records, is always this member's."""

    def __init__(self, ctx: Any) -> None:
        self.ctx = ctx
        self.epoch = 1
        self.committed = 0
        self.poll_gate = trio.Event()
        self.poll_gate.set()

    async def home_of(self, group: str) -> str:
        return "queue-broker-1"

    async def ask(self, home: str, method: str, *params: Any, **options: Any) -> Any:
        match method:
            case words.HEARTBEAT:
                if params[2] not in (0, self.epoch):
                    raise RpcError("stale_generation", "put out")
                return {"epoch": self.epoch, "partitions": [["t", 0]], "heartbeat_ms": 1000}
            case words.COMMITTED:
                return {"offsets": [["t", 0, self.committed]]}
            case words.COMMIT:
                if params[2] != self.epoch:
                    raise RpcError("stale_generation", "an older generation")
                self.committed = max(self.committed, params[3][0][2])
                return 1
        raise AssertionError(method)

    async def poll(self, topic: str, partition: int, offset: int, *, most: int,
                   wait_s: float) -> Polled:  # fmt: skip
        records = [Record("t", 0, number, 0, None, number, {}) for number in range(offset, 10)]
        await self.poll_gate.wait()
        return Polled(records[:most], 0, 10)


@pytest.fixture
async def group(nursery: trio.Nursery) -> AsyncIterator[Group]:
    yield Group(MemoryWorld(nursery).context("reader"))


async def back_again(group: Group, member: Consumer, committed: int) -> None:
    """The member was put out; others read on; it is a member anew."""
    group.epoch += 1
    group.committed = committed
    with pytest.raises(RpcError, match="put out"):
        await member._beat()
    member._forget()
    await member._beat()
    assert member.partitions == [("t", 0)]


async def member_of(group: Group) -> Consumer:
    made = Consumer(group, "g", "m", ["t"])  # type: ignore[arg-type]
    await made._beat()
    return made


async def test_what_was_polled_before_is_not_committed_nor_read_twice(
    autojump_clock: MockClock, group: Group
) -> None:
    member = await member_of(group)
    held = await member.poll(most=3)
    await back_again(group, member, 0)
    with pytest.raises(RpcError, match="stale_generation"):
        await member.commit(held)
    assert group.committed == 0
    again = await member.poll(most=3)
    assert [each.offset for each in again] == [0, 1, 2]
    with pytest.raises(RpcError, match="stale_generation"):
        await member.commit(held)  # the same offsets are out, of another poll
    member.give_up(held)
    assert await member.poll(most=3) == [], "what is out is not polled again"
    await member.commit(again)
    assert group.committed == 3
    assert [each.offset for each in await member.poll(most=1)] == [3]


async def test_what_is_given_up_late_leads_nobody_back(
    autojump_clock: MockClock, group: Group
) -> None:
    member = await member_of(group)
    held = await member.poll(most=3)
    await back_again(group, member, 6)
    member.give_up(held)
    assert [each.offset for each in await member.poll(most=1)] == [6]


async def test_a_poll_that_was_under_way_is_not_what_comes_next(
    autojump_clock: MockClock, group: Group, nursery: trio.Nursery
) -> None:
    member, polled = await member_of(group), list[list[Record]]()
    group.poll_gate = trio.Event()

    async def poll() -> None:
        polled.append(await member.poll(most=3))

    nursery.start_soon(poll)
    await trio.testing.wait_all_tasks_blocked()
    await back_again(group, member, 6)
    group.poll_gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert polled == [[]]
    assert [each.offset for each in await member.poll(most=1)] == [6]
