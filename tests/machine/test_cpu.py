"""The cpu of a machine: its rate, its bounded queue, what expires in it, pause and cores."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from emu.machine.clock import MachineClock, NodeClock
from emu.machine.cpu import NodeCpu
from emu.machine.world import CpuSpec
from nodes.base import NO_RANK, CpuBusy, CpuExpired, Fenced
from nodes.metrics import Metrics
from nodes.parts.shedding import rank_of
from tests.fakes import FakeTimers, a_life


class Rig:
    def __init__(
        self, cores: int = 1, service_time_s: float = 1.0, max_queue: int = 1024, **options: Any
    ) -> None:
        self.timers = FakeTimers()
        self.life = a_life()
        self.clock = NodeClock(MachineClock(self.timers), self.life)
        self.metrics = Metrics()
        spec = CpuSpec(cores, service_time_s, max_queue, **options)
        self.cpu = NodeCpu(self.timers, self.life, self.clock, spec, self.metrics)
        self.ended: list[tuple[str, float]] = []

    async def work(
        self,
        name: str,
        cost_s: float | None = None,
        expires: float | None = None,
        rank: int = NO_RANK,
    ):
        try:
            await self.cpu.run(cost_s, expires_at_s=expires, rank=rank)
        except (CpuBusy, CpuExpired, Fenced) as error:
            name += f" {type(error).__name__}"
        self.ended.append((name, self.timers.now_s()))

    def in_order(self) -> list[tuple[str, float]]:
        """Sorted: Trio runs the tasks of one moment in any order."""
        return sorted(self.ended, key=lambda each: (each[1], each[0]))

    def sample(self, line: str) -> float:
        (found,) = [
            each
            for each in self.metrics.render().decode().splitlines()
            if line in each and each[0] != "#"
        ]
        return float(found.rpartition(" ")[2])


async def test_one_core_of_1_ms_serves_1000_a_second_to_50_workers(nursery):
    rig = Rig(service_time_s=0.001)
    served = 0

    async def worker() -> None:
        nonlocal served
        while True:
            await rig.cpu.run()
            served += 1

    for _ in range(50):
        nursery.start_soon(worker)
    await rig.timers.run_until(1.0 + 1e-9)
    assert served == 1000
    assert rig.sample("emu_cpu_busy_seconds_total") == pytest.approx(1.0)
    assert rig.sample("emu_cpu_queue ") == 49
    nursery.cancel_scope.cancel()


async def test_work_is_served_in_the_order_of_arrival_by_all_cores(nursery):
    rig = Rig(cores=2)
    for name in "abcde":
        nursery.start_soon(rig.work, name)
        await rig.timers.run_for(0.0)
    await rig.timers.run_until(10.0)
    assert rig.in_order() == [("a", 1.0), ("b", 1.0), ("c", 2.0), ("d", 2.0), ("e", 3.0)]


async def test_work_cancelled_in_the_queue_costs_nothing(nursery):
    rig = Rig()
    nursery.start_soon(rig.work, "first")
    await rig.timers.run_for(0.0)
    with trio.CancelScope() as scope:
        rig.timers.call_at(0.5, scope.cancel)
        nursery.start_soon(rig.timers.run_until, 0.5)
        await rig.work("cancelled")
    assert scope.cancelled_caught
    nursery.start_soon(rig.work, "second")
    await rig.timers.run_until(10.0)
    assert rig.ended == [("first", 1.0), ("second", 2.0)]
    assert rig.sample('reason="cancelled"') == 1
    assert rig.sample("emu_cpu_busy_seconds_total") == 2.0


async def test_work_cancelled_in_the_very_step_that_would_start_it_costs_nothing(nursery):
    rig = Rig()
    scope = trio.CancelScope()

    async def doomed() -> None:
        with scope:
            await rig.work("doomed")

    rig.timers.call_at(1.0, scope.cancel)  # before the first work's end at the same time
    nursery.start_soon(rig.work, "first")
    await rig.timers.run_for(0.0)
    nursery.start_soon(doomed)
    await rig.timers.run_for(0.0)
    nursery.start_soon(rig.work, "second")
    await rig.timers.run_until(10.0)
    assert rig.ended == [("first", 1.0), ("second", 2.0)]


async def test_work_cancelled_in_service_frees_its_core(nursery):
    rig = Rig()
    with trio.CancelScope() as scope:
        rig.timers.call_at(0.25, scope.cancel)
        nursery.start_soon(rig.timers.run_until, 0.25)
        await rig.work("cancelled")
    nursery.start_soon(rig.work, "next")
    await rig.timers.run_until(10.0)
    assert rig.ended == [("next", 1.25)]
    assert rig.sample("emu_cpu_busy_seconds_total") == 1.25


async def test_expired_work_is_dropped_when_dequeued_and_costs_nothing(nursery):
    rig = Rig()
    for name, expires in (("a", None), ("late", 0.9), ("too late", 1.5), ("b", 2.5), ("dead", 0.0)):
        nursery.start_soon(rig.work, name, None, expires)
        await rig.timers.run_for(0.0)
    await rig.timers.run_until(10.0)
    assert rig.in_order() == [
        ("dead CpuExpired", 0.0),
        ("a", 1.0),
        ("late CpuExpired", 1.0),
        ("too late CpuExpired", 1.0),
        ("b", 2.0),
    ]
    assert rig.sample('reason="expired"') == 3


async def test_a_full_queue_refuses_and_a_cancelled_place_is_free_again(nursery):
    rig = Rig(max_queue=1)
    nursery.start_soon(rig.work, "a")
    await rig.timers.run_for(0.0)
    with trio.CancelScope() as scope:
        nursery.start_soon(rig.work, "refused")  # runs once the block below waits in the queue
        rig.timers.call_at(0.5, scope.cancel)
        nursery.start_soon(rig.timers.run_until, 0.5)
        await rig.cpu.run()
    nursery.start_soon(rig.work, "b")
    await rig.timers.run_until(10.0)
    assert rig.ended == [("refused CpuBusy", 0.0), ("a", 1.0), ("b", 2.0)]


async def test_cores_may_change_while_it_runs(nursery):
    rig = Rig()
    for name in "abcdef":
        nursery.start_soon(rig.work, name)
        await rig.timers.run_for(0.0)
    await rig.timers.run_until(0.5)
    rig.cpu.cores = 3
    await rig.timers.run_until(1.2)
    assert rig.ended == [("a", 1.0)]
    rig.cpu.cores = 1
    await rig.timers.run_until(2.2)
    assert rig.in_order()[1:] == [("b", 1.5), ("c", 1.5), ("d", 2.0)]
    rig.cpu.cores = 0
    await rig.timers.run_until(9.0)
    assert [name for name, _ in rig.in_order()] == list("abcdfe")  # e was in service, f waited


async def test_without_a_declared_cpu_nothing_is_charged():
    rig = Rig(cores=0)
    for _ in range(100):
        await rig.cpu.run()
    assert rig.timers.armed == 0


async def test_a_paused_cpu_makes_no_progress_and_does_not_catch_up(nursery):
    rig = Rig()
    for name in "abc":
        nursery.start_soon(rig.work, name)
        await rig.timers.run_for(0.0)
    rig.life.pause()
    await rig.timers.run_until(50.0)
    assert rig.ended == []
    rig.life.resume()
    await rig.timers.run_until(60.0)
    assert rig.ended == [("a", 50.0), ("b", 51.0), ("c", 52.0)]


async def test_a_late_timer_does_not_slow_a_busy_core(nursery):
    rig = Rig(service_time_s=0.001)
    for name in "abc":
        nursery.start_soon(rig.work, name)
        await rig.timers.run_for(0.0)
    rig.timers.time_s = 0.0015
    await rig.timers.run_until(0.002)
    assert [name for name, _ in rig.ended] == ["a", "b"]


async def test_a_dead_cpu_refuses(nursery):
    rig = Rig()
    nursery.start_soon(rig.work, "cut short")
    await rig.timers.run_for(0.0)
    rig.life.end(crash=False)
    await rig.work("late")
    assert rig.ended == [("late Fenced", 0.0)]
    nursery.cancel_scope.cancel()


async def test_who_came_last_is_next_where_the_machine_says_so(nursery):
    rig = Rig(order="lifo")
    for name in "abcd":
        nursery.start_soon(rig.work, name)
        await rig.timers.run_for(0.0)
    await rig.timers.run_until(10.0)
    assert rig.in_order() == [("a", 1.0), ("d", 2.0), ("c", 3.0), ("b", 4.0)]


async def test_a_full_queue_that_serves_the_last_first_drops_who_waited_longest(nursery):
    rig = Rig(order="lifo", max_queue=2)
    for name in "abcd":
        nursery.start_soon(rig.work, name)
        await rig.timers.run_for(0.0)
    await rig.timers.run_until(10.0)
    assert rig.in_order() == [("b CpuBusy", 0.0), ("a", 1.0), ("d", 2.0), ("c", 3.0)]
    assert rig.sample('reason="full"') == 1


async def leave(rig: Rig, nursery: trio.Nursery, expires: float | None = None) -> None:
    """`a` has the core, `gone` has left the queue at 0.5, `b` waits behind it."""
    nursery.start_soon(rig.work, "a")
    await rig.timers.run_for(0.0)
    with trio.CancelScope() as scope:
        rig.timers.call_at(0.5, scope.cancel)
        nursery.start_soon(rig.timers.run_until, 0.5)
        await rig.work("gone", None, expires)
    nursery.start_soon(rig.work, "b")
    await rig.timers.run_until(10.0)


async def test_a_machine_that_does_not_look_works_for_who_has_left(nursery):
    rig = Rig(drop_abandoned=False)
    await leave(rig, nursery)
    assert rig.in_order() == [("a", 1.0), ("b", 3.0)]
    assert rig.sample("emu_cpu_wasted_seconds_total") == 1.0


async def test_who_has_left_may_still_be_dropped_for_its_time(nursery):
    rig = Rig(drop_abandoned=False)
    await leave(rig, nursery, expires=0.9)
    assert rig.in_order() == [("a", 1.0), ("b", 2.0)]
    assert rig.sample('reason="expired"') == 1


async def test_a_machine_that_does_not_look_works_on_what_is_over(nursery):
    rig = Rig(drop_expired=False)
    nursery.start_soon(rig.work, "a")
    await rig.timers.run_for(0.0)
    nursery.start_soon(rig.work, "late", None, 0.5)
    await rig.timers.run_until(10.0)
    assert rig.in_order() == [("a", 1.0), ("late", 2.0)]


async def test_a_limit_that_finds_itself_lets_few_in_and_refuses_the_others_at_once(nursery):
    rig = Rig(cores=2, service_time_s=0.01, limit="gradient")

    async def asked() -> None:
        for number in range(400):
            nursery.start_soon(rig.work, f"{number}")
            await trio.testing.wait_all_tasks_blocked()
            await rig.timers.run_for(0.0025)  # the double of what it can do

    await asked()
    refused = [at for name, at in rig.ended if "CpuBusy" in name]
    assert 100 < len(refused) < 250
    assert 2 <= rig.sample("emu_cpu_limit") < 12
    assert rig.sample("emu_cpu_queue ") < 10


async def test_other_cores_begin_with_another_limit_and_it_is_the_one_that_is_shown(nursery):
    rig = Rig(cores=2, limit="gradient")
    assert rig.sample("emu_cpu_limit") == 2
    rig.cpu.cores = 5
    assert rig.sample("emu_cpu_limit") == 5


# --- shedding ------------------------------------------------------------------------------------


async def shed_rig(nursery: Any, **options: Any) -> Rig:
    """One core of a second, with `a` at work; then b to e, the less urgent the later."""
    rig = Rig(shed_wait_s=0.5, **options)
    for number, name in enumerate("abcde"):
        nursery.start_soon(rig.work, name, None, None, rank_of(number + 2, 0))
        await rig.timers.run_for(0.0)
    return rig


async def test_a_full_queue_makes_room_for_who_is_more_urgent(nursery):
    rig = await shed_rig(nursery, max_queue=4)
    nursery.start_soon(rig.work, "urgent", None, None, rank_of(1, 0))
    await rig.timers.run_for(0.0)
    assert rig.ended == [("e CpuBusy", 0.0)]
    nursery.start_soon(rig.work, "least", None, None, rank_of(7, 0))
    await rig.timers.run_for(0.0)
    assert rig.ended[1:] == [("least CpuBusy", 0.0)]
    assert rig.sample('emu_cpu_shed_total{urgency="6"}') == 1
    assert rig.sample('emu_cpu_dropped_total{reason="full"}') == 1
    await rig.timers.run_until(10.0)
    assert [name for name, _ in rig.in_order()[2:]] == ["a", "b", "c", "d", "urgent"]


async def test_while_work_waits_too_long_the_least_urgent_of_it_is_not_served(nursery):
    rig = Rig(service_time_s=0.1, shed_wait_s=0.2)
    for number in range(120):
        name, urgency = ("urgent", 1) if number % 3 == 0 else ("idle", 6)
        nursery.start_soon(rig.work, name, None, None, rank_of(urgency, number * 31))
        await rig.timers.run_for(0.05)
    assert rig.sample("emu_cpu_shed_from") == 6
    await rig.timers.run_for(10.0)
    names = [name for name, _ in rig.ended]
    assert names.count("urgent") == 40, "20/s are asked for, 10/s can be done, 6.7/s are urgent"
    assert names.count("idle CpuBusy") == rig.sample('emu_cpu_shed_total{urgency="6"}') > 40
    assert 10 < names.count("idle") < 40


async def test_without_shed_wait_all_are_alike(nursery):
    rig = Rig(max_queue=1)
    for name in "abc":
        nursery.start_soon(rig.work, name, None, None, rank_of(7 if name == "b" else 0, 0))
        await rig.timers.run_for(0.0)
    assert rig.ended == [("c CpuBusy", 0.0)]
    assert "cpu_shed" not in rig.metrics.render().decode()
