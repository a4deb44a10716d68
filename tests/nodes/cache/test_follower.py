"""What a cache node does with what a database's log tells it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nodes.cache.follower import Follower
from nodes.replica.client import GroupClient
from nodes.wire.directory import Directory
from protocols.errors import RpcError
from tests.nodes.harness import MemoryWorld

MAX_STALE_S = 2.0


def told(lsn: int, *keys: str, gone: bool = False) -> dict[str, Any]:
    return {"lsn": lsn, "epoch": 1, "keys": list(keys), "gone": gone, "lag_ms": 500}


async def test_a_node_of_whose_place_the_log_no_longer_knows_forgets_all_before_it_shows_anything(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [told(5), told(6, "a"), told(100, gone=True), told(40, gone=True)]
    done: list[tuple[Any, ...]] = []
    silent = False

    async def ask(self: Any, *question: Any, **options: Any) -> Any:
        nonlocal silent
        silent = not silent
        if silent:
            await trio.sleep(MAX_STALE_S)
            raise RpcError("timeout", "it hears nothing")
        if not answers:
            await trio.sleep_forever()
        return answers.pop(0)

    monkeypatch.setattr(GroupClient, "ask", ask)
    async with trio.open_nursery() as nursery:
        world = MemoryWorld(nursery)
        ctx = world.context("cache-1")

        def note(*what: Any) -> None:
            assert not follower.is_fresh(ctx.clock.monotonic_s()), "it shows what it had"
            done.append(what)

        follower = Follower(
            ctx, nursery, Directory(ctx, nursery), "db", MAX_STALE_S,
            made_old=lambda keys, lsn: note("old", *keys, lsn),
            forget_all=lambda lsn, *, was_cut: note("all", lsn, was_cut),
        )  # fmt: skip
        nursery.start_soon(follower.run)
        await trio.sleep(6 * MAX_STALE_S)
        assert not follower.is_fresh(ctx.clock.monotonic_s())
        nursery.cancel_scope.cancel()
    assert done == [("old", 5), ("old", "a", 6), ("all", 100, False), ("all", 40, True)]
    assert follower.lsn == 40
