"""What an autoscaler knows of members: who starts, who was ready once, and who does not answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import trio
from trio.testing import MockClock

from nodes.autoscaler.config import AutoscalerConfig, Targets
from nodes.autoscaler.measured import CPU_BUSY, CPU_CORES, WANTED, Measured
from nodes.autoscaler.node import AutoscalerNode
from nodes.autoscaler.replicas import Rules, by_utilization
from nodes.autoscaler.scaler import CPU
from protocols.control import Member
from tests.nodes.harness import MemoryWorld

LOOK_S = 15.0
RULES = Rules(initial_readiness_s=30.0, cpu_initialization_s=40.0)


def member(name: str, **fields: Any) -> Member:
    given = {"ready": True, "generation": 1, **fields}
    return Member(name, "web", "web", "us", "127.0.0.1", 1, **given)


class Watched:
    """Two members, busy to so much of their core; the second may be ready or not."""

    def __init__(self) -> None:
        self.measured = Measured(keep_s=1.5 * LOOK_S)
        self.now_s = 0.0
        self.busy_s = [0.0, 0.0]

    def look(self, *, ready: bool = True, answers: bool = True, busy: float = 1.0) -> None:
        self.now_s += LOOK_S
        self.measured.follow([member("web-1"), member("web-2", ready=ready)], self.now_s)
        for place in (0, 1):
            self.busy_s[place] += LOOK_S * busy
            told = {**dict.fromkeys(WANTED, 0.0), CPU_CORES: 1.0, CPU_BUSY: self.busy_s[place]}
            name = f"web-{place + 1}"
            if name in self.measured.have_been_ready():
                self.measured.told(name, told if answers or not place else None, self.now_s)

    def asked(self) -> int:
        return by_utilization(2, 50, self.measured.seen()[CPU], RULES, self.now_s).nodes


def test_who_has_never_been_ready_is_pending_and_counts_as_idle_on_the_way_up() -> None:
    w = Watched()
    for _ in range(5):
        w.look(ready=False)
    assert [each.pending for each in w.measured.seen()[CPU]] == [False, True]
    assert w.asked() == 2, "100% and 0% are as wanted"


def test_who_was_ready_for_long_and_is_not_any_more_counts_with_what_it_does() -> None:
    w = Watched()
    for _ in range(6):
        w.look()
    w.look(ready=False)
    assert not w.measured.seen()[CPU][1].pending
    assert w.asked() == 4, "overload that makes a member unready is demand"


def test_who_was_ready_within_initial_readiness_had_not_been_ready_yet() -> None:
    w = Watched()
    w.look()
    for _ in range(6):
        w.look(ready=False)
    assert w.asked() == 2, "it turned 15 s after it began: 30 s are given to it"
    eager = RULES._replace(initial_readiness_s=10.0)
    assert by_utilization(2, 50, w.measured.seen()[CPU], eager, w.now_s).nodes == 4


def test_the_last_sample_of_who_does_not_answer_counts_for_one_look() -> None:
    w = Watched()
    for _ in range(6):
        w.look()
    w.look(answers=False)
    assert w.measured.seen()[CPU][1].sample is not None
    w.look(answers=False)
    assert w.measured.seen()[CPU][1].sample is None
    assert w.asked() == 2, "missing ones count as idle on the way up"


async def test_only_what_the_directory_has_done_is_counted_as_a_scaling(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        world = MemoryWorld(nursery)
        await world.serve_directory()  # which scales nothing
        for number in (1, 2, 3):
            world.list_member(f"web-{number}", 1)
        config = AutoscalerConfig(scales="web", targets=Targets(cpu_ratio=0.5), max_nodes=1)
        ctx = world.context("hpa-1")
        node = AutoscalerNode(ctx, replace(config, sync_s=1.0))
        await world.start(node)
        await trio.sleep(5.5)
        nursery.cancel_scope.cancel()
    assert "scaling refused" in ctx.log.names()
    assert ctx.metrics.total("autoscaler_scalings_total") == 0
    assert ctx.metrics.total("autoscaler_refused_total") >= 3
    assert node.scaler._pace._went == []
