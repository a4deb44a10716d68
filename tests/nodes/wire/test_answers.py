"""Fused answers: in line, once for each batch, or later, and never in a task of their own."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
import trio
from trio.testing import MockClock

from nodes.base import RPC_PORT
from nodes.wire.answers import Future
from nodes.wire.client import Client
from nodes.wire.service import Call, Service
from protocols.errors import RpcError
from tests.nodes.harness import MemoryWorld


class Rig:
    """A service with a fused method, and all that happened to it in order."""

    def __init__(self, world: MemoryWorld) -> None:
        self.seen: list[Any] = []
        self.futures: list[Future] = []
        self.service = Service(world.context("kv-1"))
        self.service.batch = self
        self.service.add("do", self._in_a_task)
        self.service.fuse("do", self._fused)

    def begin(self, now_s: float) -> None:
        self.seen.append("begin")

    def end(self) -> None:
        self.seen.append("end")

    async def _in_a_task(self, call: Call, *params: Any) -> Any:
        self.seen.append("task")
        return "from a task"

    def _fused(self, params: list[Any], epoch: int | None) -> Any:
        self.seen.append((*params, epoch))
        match params:
            case ["later"]:
                self.futures.append(Future())
                return self.futures[-1]
            case ["refuse"]:
                raise RpcError("refused", "no")
            case ["too large"]:
                return "x" * (2 << 20)
        return params


async def ask(world: MemoryWorld, *requests: list[Any], answers: int) -> list[Any]:
    """Send these in one write; the answers by msgid."""
    stream = await world.context("client").network.open_stream("kv-1", RPC_PORT)
    await stream.send_all(b"".join(msgpack.packb(each) for each in requests))
    unpacker, found = msgpack.Unpacker(), []
    while len(found) < answers:
        unpacker.feed(await stream.receive_some())
        found += list(unpacker)
    await stream.aclose()
    return sorted(found, key=lambda each: each[1])


@pytest.fixture
async def rig(nursery: trio.Nursery) -> Any:
    world = MemoryWorld(nursery)
    made = Rig(world)
    listener = await made.service.ctx.network.listen(RPC_PORT)
    nursery.start_soon(made.service.serve, listener)
    return world, made


async def test_what_arrives_together_is_one_batch_and_no_task(
    autojump_clock: MockClock, rig: Any
) -> None:
    world, made = rig
    answers = await ask(world, *([0, number, "do", [number]] for number in range(3)), answers=3)
    assert [each[3] for each in answers] == [[0], [1], [2]]
    assert made.seen == ["begin", (0, None), (1, None), (2, None), "end"]
    assert made.service.methods["do"].ok.value == 3
    assert made.service.methods["do"].seconds.count == 3


async def test_a_batch_that_fails_at_its_end_is_told_and_the_service_goes_on(
    rig: Any, monkeypatch: Any
) -> None:
    def fail() -> None:
        raise LookupError("a bug of ours")

    world, made = rig
    errors: list[str] = []
    monkeypatch.setattr(made, "end", fail)
    monkeypatch.setattr(made.service.ctx.log, "error", lambda event, **_: errors.append(event))
    assert await ask(world, [0, 1, "do", [1]], answers=1) == [[1, 1, None, [1]]]
    assert errors == ["batch failed"]


async def test_an_answer_that_comes_later_holds_back_no_other(
    autojump_clock: MockClock, rig: Any
) -> None:
    world, made = rig

    async def settle() -> None:
        await trio.sleep(1)
        made.futures[0].settle("now")
        made.futures[1].settle(error=RpcError("refused", "not now"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(settle)
        answers = await ask(
            world, [0, 1, "do", ["later"]], [0, 2, "do", ["later"]], [0, 3, "do", [7]], answers=3
        )
    assert answers == [[1, 1, None, "now"], [1, 2, ["refused", "not now"], None], [1, 3, None, [7]]]
    assert trio.current_time() >= 1


async def test_a_connection_that_is_gone_is_not_answered_later(
    autojump_clock: MockClock, rig: Any
) -> None:
    world, made = rig
    await ask(world, [0, 1, "do", ["later"]], [0, 2, "do", [1]], answers=1)
    await trio.sleep(1)
    made.futures[0].settle("nobody hears this")
    await trio.sleep(1)
    assert (await ask(world, [0, 1, "do", [1]], answers=1)) == [[1, 1, None, [1]]]


async def test_refusals_and_answers_that_are_too_large_have_their_codes(
    autojump_clock: MockClock, rig: Any
) -> None:
    world, _ = rig
    answers = await ask(world, [0, 1, "do", ["refuse"]], [0, 2, "do", ["too large"]], answers=2)
    assert [each[2][0] for each in answers] == ["refused", "too_large"]


async def test_the_callers_epoch_is_passed_on(
    autojump_clock: MockClock, rig: Any, nursery: trio.Nursery
) -> None:
    world, made = rig
    client = Client(world.context("client"), nursery, "kv-1")
    assert await client.call("do", 5, epoch=9) == [5]
    assert (5, 9) in made.seen


async def test_where_cpu_is_charged_the_ordinary_handler_answers(
    autojump_clock: MockClock, rig: Any
) -> None:
    world, made = rig
    made.service.ctx.cpu.cores = 1
    assert (await ask(world, [0, 1, "do", [1]], answers=1)) == [[1, 1, None, "from a task"]]


async def test_a_later_that_is_settled_already_tells_at_once() -> None:
    future = Future()
    future.settle(5)
    assert await future.wait() == 5
    failed = Future()
    failed.settle(error=RpcError("refused", "no"))
    with pytest.raises(RpcError, match="no"):
        await failed.wait()
