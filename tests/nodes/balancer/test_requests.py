"""What a balancer counts as requests, though it reads none of them: turns of its connections."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from nodes.base import Stream
from tests.nodes.balancer.test_balancer import Rig, rig, silence

SERVICE_TIME_S = 0.25


async def slow_echo(stream: Stream) -> None:
    """Answers in two pieces, the first of them after a while."""
    async for data in stream:
        await trio.sleep(SERVICE_TIME_S)
        await stream.send_all(data)
        await trio.sleep(SERVICE_TIME_S)
        await stream.send_all(b"!")


def answered(r: Rig, code: str = "ok") -> float:
    return r.metric(f'emu_requests_total{{code="{code}",method="forward",node="lb-1"}}')


def in_hand(r: Rig) -> float:
    return r.metric("emu_requests_in_flight")


def errors(r: Rig) -> float:
    return r.metric("emu_request_errors_total")


async def test_each_turn_of_a_connection_is_a_request_with_its_time(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("web-1", slow_echo)
        await r.balance()
        client = await r.dial()
        for turn in range(1, 4):
            await client.send_all(b"hello")
            await trio.sleep(SERVICE_TIME_S / 2)
            assert in_hand(r) == 1
            assert await client.receive_some(100) == b"hello"
            assert in_hand(r) == 0
            assert await client.receive_some(100) == b"!", "the rest belongs to the same answer"
            assert answered(r) == turn
        assert r.metric("emu_request_seconds_sum") == pytest.approx(3 * SERVICE_TIME_S)
        assert errors(r) == 0
        assert (await r.admin.call("describe"))["sessions"] == 1
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert in_hand(r) == 0 and errors(r) == 0


async def test_what_a_client_sends_without_waiting_is_one_request(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("web-1", slow_echo)
        await r.balance()
        client = await r.dial()
        for _ in range(3):
            await client.send_all(b"x")
            await trio.sleep(SERVICE_TIME_S / 10)
        await trio.sleep(10)
        assert answered(r) == 1


async def test_a_server_that_breaks_off_owes_the_answer(autojump_clock: Any) -> None:
    async def hang_up(stream: Stream) -> None:
        await stream.receive_some(100)
        stream.abort()

    async with rig() as r:
        await r.add("web-1", hang_up)
        await r.balance()
        client = await r.dial()
        await client.send_all(b"hello")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some(100)
        await trio.testing.wait_all_tasks_blocked()
        assert (answered(r), answered(r, "disconnected"), errors(r), in_hand(r)) == (0, 1, 1, 0)


async def test_a_client_that_leaves_is_owed_nothing(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("web-1", silence)
        await r.balance()
        client = await r.dial()
        await client.send_all(b"hello")
        await trio.sleep(1)
        assert in_hand(r) == 1
        client.abort()
        await trio.testing.wait_all_tasks_blocked()
        assert (answered(r), answered(r, "disconnected"), errors(r), in_hand(r)) == (0, 0, 0, 0)


async def test_a_connection_that_gets_no_server_is_a_request_refused(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.balance()
        assert await r.ask() == b""
        assert (answered(r, "unavailable"), errors(r)) == (1, 1)
        assert (await r.admin.call("describe"))["refused"] == 1
