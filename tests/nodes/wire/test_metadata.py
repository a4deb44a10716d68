"""What a client may put into the metadata of a call, and into a cancellation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nodes.base import RPC_PORT
from nodes.wire.http_server import urgency_of
from nodes.wire.service import Call, Service
from protocols import rpc
from tests.nodes.harness import MemoryWorld


class Rig:
    """A service that tells how long its callers wait, and a connection that said hello."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.world = MemoryWorld(nursery)
        self.service = Service(self.world.context("server-1"))
        self.connection = rpc.Connection()

        async def left_s(call: Call) -> float | None:
            return None if call.deadline_s is None else call.deadline_s - trio.current_time()

        async def wait(call: Call) -> None:
            await trio.sleep(5)

        async def urgency(call: Call) -> int:
            return call.urgency

        self.service.add("left_s", left_s)
        self.service.add("urgency", urgency)
        self.service.add("wait", wait)

    async def begin(self) -> None:
        await self.world.serve("server-1", RPC_PORT, self.service.serve_stream)
        self.stream = await self.world.context("client-1").network.open_stream("server-1", RPC_PORT)
        await self.ask(0, "hello", {})

    async def send(self, msgid: int, method: str, *params: Any) -> None:
        await self.stream.send_all(self.connection.send_request(msgid, method, list(params)))

    async def answer(self) -> tuple[Any, Any]:
        """(error, result)"""
        while True:
            for message in self.connection.receive_data(await self.stream.receive_some()):
                return message[2], message[3]

    async def ask(self, msgid: int, method: str, *params: Any) -> tuple[Any, Any]:
        await self.send(msgid, method, *params)
        return await self.answer()


@pytest.mark.parametrize(
    ("remaining_ms", "left_s"),
    [(500, 0.5), (0.5, 0.0005), (math.nan, None), (math.inf, None), (2**60, None), ("9", None),
     (None, None), ([], None)],
)  # fmt: skip
async def test_only_a_sensible_remaining_time_limits_a_call(
    autojump_clock: MockClock, nursery: trio.Nursery, remaining_ms: Any, left_s: float | None
) -> None:
    rig = Rig(nursery)
    await rig.begin()
    error, result = await rig.ask(1, "left_s", {rpc.REMAINING_MS: remaining_ms})
    assert error is None
    assert result == (None if left_s is None else pytest.approx(left_s))


@pytest.mark.parametrize("remaining_ms", [0, -1, -math.inf])
async def test_a_call_whose_time_is_over_when_it_arrives_is_never_begun(
    autojump_clock: MockClock, nursery: trio.Nursery, remaining_ms: float
) -> None:
    rig = Rig(nursery)
    await rig.begin()
    error, _ = await rig.ask(1, "wait", {rpc.REMAINING_MS: remaining_ms})
    assert error[0] == "expired"


async def test_a_call_whose_time_ends_while_it_is_done_is_cancelled(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rig = Rig(nursery)
    await rig.begin()
    error, _ = await rig.ask(1, "wait", {rpc.REMAINING_MS: 5})
    assert error[0] == "cancelled"


@pytest.mark.parametrize("params", [[], [{}], [[1]], ["1"], [None], [2], [True], [1.0]])
async def test_a_cancellation_that_names_no_request_in_hand_is_ignored(
    autojump_clock: MockClock, nursery: trio.Nursery, params: list[Any]
) -> None:
    rig = Rig(nursery)
    await rig.begin()
    await rig.send(1, "wait")
    await rig.stream.send_all(rig.connection.send_notify(rpc.CANCEL, params))
    assert await rig.answer() == (None, None)


async def test_a_cancellation_ends_its_request(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rig = Rig(nursery)
    await rig.begin()
    await rig.send(1, "wait")
    await trio.testing.wait_all_tasks_blocked()
    await rig.stream.send_all(rig.connection.send_notify(rpc.CANCEL, [1]))
    assert (await rig.answer())[0][0] == "cancelled"


async def test_messages_that_each_end_in_time_may_arrive_in_pieces_for_ever(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rig = Rig(nursery)
    await rig.begin()
    half = b""
    for number in range(1, 70):  # one a second, each begun with the end of the one before
        data = half + rig.connection.send_request(number, "ping", [])
        await rig.stream.send_all(data[:-4])
        half = data[-4:]
        await trio.sleep(1)
    await rig.stream.send_all(half)
    assert await rig.answer() == (None, "pong")
    assert not rig.stream.has_arrived()


async def test_a_message_that_never_ends_closes_its_connection(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rig = Rig(nursery)
    await rig.begin()
    data = rig.connection.send_request(1, "ping", [])
    for place in range(len(data) - 1):
        await rig.stream.send_all(data[place : place + 1])
        await trio.sleep(5)
    with trio.fail_after(60), pytest.raises((trio.BrokenResourceError, EOFError)):
        if not await rig.stream.receive_some():
            raise EOFError


@pytest.mark.parametrize(
    ("told", "urgency"),
    [(0, 0), (7, 7), (8, 3), (-1, 3), (True, 3), (1.0, 3), ("1", 3), (None, 3), ([], 3)],
)
async def test_only_an_urgency_from_0_to_7_says_something(
    autojump_clock: MockClock, nursery: trio.Nursery, told: Any, urgency: int
) -> None:
    rig = Rig(nursery)
    await rig.begin()
    assert await rig.ask(1, "urgency", {rpc.URGENCY: told}) == (None, urgency)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("header", "urgency"),
    [("u=0", 0), ("u=7, i", 7), ("i, u=5", 5), ("u=2;x=1", 2), ("u=8", 3), ("u=-1", 3), ("u", 3),
     ("u=12", 3), ("", 3), ("u=\u0661", 3), ("u=" + "1" * 9999, 3), ("u=?1", 3)],
)  # fmt: skip
def test_http_says_it_as_browsers_do(header: str, urgency: int) -> None:
    assert urgency_of(header) == urgency
