"""Who asks a group: how long each member has to answer."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import trio
from trio.testing import MockClock

from nodes.replica.client import GroupClient
from protocols.errors import RpcError


class Member:
    """It answers so many seconds after it was asked."""

    def __init__(self, name: str, after_s: float) -> None:
        self.name, self.region, self.after_s = name, "local", after_s

    async def call(self, method: str, *params: Any, timeout_s: float, epoch: Any) -> str:
        with trio.move_on_after(timeout_s):
            await trio.sleep(self.after_s)
            return self.name
        raise RpcError("timeout", "no answer in time")


class Group(GroupClient):
    """A client of these members."""

    def __init__(self, *members: Member) -> None:
        clock = SimpleNamespace(monotonic_s=trio.current_time, sleep=trio.sleep)
        ctx = SimpleNamespace(clock=clock, region="local", rng=random.Random)
        ctx.rare = lambda name: False
        super().__init__(cast(Any, ctx), cast(Any, None), cast(Any, None), "tier")
        self._view = cast(Any, SimpleNamespace(members=members))
        self._primary = members[0].name
        self.names = {each.name: each for each in members}

    def _client(self, name: str) -> Any:
        return self.names[name]


async def test_what_may_wait_has_its_time_though_the_one_asked_before_was_silent(
    autojump_clock: MockClock,
) -> None:
    group = Group(Member("dead", 1000), Member("waiting", 2))
    assert await group.ask("acquire", timeout_s=7, wait_s=2) == "waiting"
