"""What a rebalance stops: 10 members share 60 partitions, one joins, and one dies. Each moves by
itself here; beside it, what it would be if all stopped until all had heard of the change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import trio

from emu.scenario import Scenario
from tests.sim.queues import ready, sim
from tests.sim.rebalancing import MEMBERS, SESSION_S

TEXT = """
tiers:
  queue: {kind: queue, public: true, replicas: 0, topics: {orders: {partitions: 60}}}
  readers: {kind: 'tests.sim.rebalancing:READER', nodes: 1, asks: queue}
"""
LOOK_S = 0.02


class Stalls(NamedTuple):
    """The longest time for which nobody read a partition."""

    kept: float
    """Of those whose reader stays."""
    moved: float
    all_stop: float
    """Of those whose reader stays, if everybody stopped until all were of one generation."""


@pytest.fixture(autouse=True)
def _nobody_yet() -> Iterator[None]:
    MEMBERS.clear()
    yield
    MEMBERS.clear()


def owners() -> dict[int, str]:
    return {number: name for name, member in MEMBERS.items() for _, number in member.partitions}


def is_settled() -> bool:
    return len({member.epoch for member in MEMBERS.values()}) == 1


async def stalls(c: Scenario, for_s: float) -> Stalls:
    before, since_s = owners(), c.now_s
    unread: dict[int, float] = defaultdict(float)
    longest: dict[int, float] = defaultdict(float)
    stopped = all_stop = 0.0
    while c.now_s < since_s + for_s:
        await c.sleep(LOOK_S)
        now = owners()
        for number in before:
            unread[number] = 0.0 if number in now else unread[number] + LOOK_S
            longest[number] = max(longest[number], unread[number])
        stopped = 0.0 if is_settled() else stopped + LOOK_S
        all_stop = max(all_stop, stopped)
    after = owners()
    assert len(after) == 60, "all are read in the end"
    kept = [longest[number] for number, name in before.items() if after[number] == name]
    moved = [longest[number] for number, name in before.items() if after[number] != name]
    assert len(kept) >= 45, "few change hands"
    return Stalls(max(kept), max(moved), all_stop)


@pytest.mark.slow
def test_members_whose_partitions_stay_do_not_stop_when_one_joins_or_dies() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for number in range(2, 10):  # each beats at a time of its own
            await c.scale("readers", number)
            await c.sleep(0.137)
        await c.sleep(3)
        assert len(owners()) == 60 and is_settled()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.scale, "readers", 10)
            joined = await stalls(c, 2)
        await c.kill("readers-3")
        died = await stalls(c, 4)
        print(f"joined: {joined}, died: {died}")
        assert joined.kept == died.kept == 0.0
        assert joined.moved < 1.0 and died.moved < SESSION_S + 1.0
        assert min(joined.all_stop, died.all_stop) > 0.1, "what stopping the world would cost"

    sim(script, TEXT)
