"""The cpu of one generation: a bounded first-in first-out queue in front of `cores` servers.

A core is taken when work is dequeued, never reserved when it arrives, so work that was cancelled
or has expired costs nothing (unless the machine was told not to look). Costs are true seconds;
deadlines are on the node's clock.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial
from random import Random
from typing import Final

import trio

from emu.machine.clock import NodeClock
from emu.machine.crowd import Crowd
from emu.machine.life import Life
from emu.machine.parking import Parked
from emu.machine.world import CpuSpec, Timers
from nodes.base import NO_RANK, CpuBusy, CpuExpired, Timer
from nodes.metrics import Metrics
from nodes.parts.limit import GradientLimit
from nodes.parts.shedding import LEAST, SHARES, Shedder

LIFO: Final = "lifo"
GRADIENT: Final = "gradient"
CATCH_UP_S: Final = 0.1
"""Timers are late by some 0.1 ms in the live world: a busy core starts its next work when the one
before was due to end, so that the rate is right; a lag beyond this is not made good."""


class _Work(Parked):
    __slots__ = ("asked_s", "cost_s", "done", "expired", "expires_at_s", "rank", "shed",
                 "started_s", "timer")  # fmt: skip

    def __init__(
        self, cost_s: float, expires_at_s: float | None, asked_s: float, rank: int
    ) -> None:
        super().__init__()
        self.rank = rank
        self.cost_s = cost_s
        self.expires_at_s = expires_at_s
        self.asked_s = asked_s
        self.started_s = 0.0
        self.timer: Timer | None = None
        """Set while it holds a core."""
        self.done = False
        self.expired = False
        self.shed = False


class NodeCpu:
    """`nodes.base.Cpu`.

    While the node is paused nothing is dequeued; work that holds a core ends at the
    resume, at the earliest.
    """

    def __init__(
        self,
        timers: Timers,
        life: Life,
        clock: NodeClock,
        spec: CpuSpec,
        metrics: Metrics,
        *,
        cores: int | None = None,
        rng: Random | None = None,
    ) -> None:
        """`rng`: of the crowd that the spec's sample stands for."""
        self._timers = timers
        self._life = life
        self._clock = clock
        self._spec = spec
        self._cores = spec.cores if cores is None else cores
        self._in_service = 0
        self._queue: OrderedDict[_Work, None] = OrderedDict()
        self._metrics = metrics
        self._crowd: Crowd | None = None
        if spec.stands_for > 1 and rng is not None:
            self._crowd = Crowd(self._cores, spec.stands_for, spec.max_queue, rng, timers.now_s())
        self._limit: GradientLimit | None = None
        self._shedder = Shedder(spec.shed_wait_s) if spec.shed_wait_s > 0 else None
        if self._cores:
            self._count()

    def _count(self) -> None:
        """A machine whose cpu was never declared has no series of it."""
        metrics = self._metrics
        if self._spec.limit == GRADIENT:
            most = self._cores + self._spec.max_queue
            self._limit = GradientLimit(least=self._cores, most=most)
            metrics.gauge(
                "cpu_limit", "Work that is let in at a time, where that finds itself.",
                lambda: self._limit.limit if self._limit is not None else 0,
            )  # fmt: skip
        self._busy_s = metrics.counter(
            "cpu_busy_seconds_total", "Time that cores were held, summed over cores."
        )
        metrics.gauge("cpu_queue", "Work that waits for a core.", self._waiting)
        metrics.gauge("cpu_cores", "Cores of this node; 0: none declared.", lambda: self._cores)
        self._waits = metrics.histogram(
            "cpu_queue_wait_seconds", "How long work that got a core had waited for it."
        )
        help_text = "Work that never got a core, by reason."
        self._full = metrics.counter("cpu_dropped_total", help_text, reason="full")
        self._expired = metrics.counter("cpu_dropped_total", help_text, reason="expired")
        self._cancelled = metrics.counter("cpu_dropped_total", help_text, reason="cancelled")
        self._limited = metrics.counter("cpu_dropped_total", help_text, reason="limit")
        if self._shedder is not None:
            self._count_shed(self._shedder)
        self._in_vain = metrics.counter(
            "cpu_wasted_seconds_total", "Time that cores were held for nobody."
        )

    def _count_shed(self, shedder: Shedder) -> None:
        metrics = self._metrics
        metrics.gauge(
            "cpu_shed_from", "The most urgent work that is refused, in part at least; 8: none.",
            lambda: shedder.refused_urgency,
        )  # fmt: skip
        self._shed = [
            metrics.counter(
                "cpu_shed_total", "Work refused because more urgent work waits, by its urgency.",
                urgency=str(urgency),
            )
            for urgency in range(LEAST + 1)
        ]  # fmt: skip

    def _waiting(self) -> float:
        if self._crowd is not None:
            return self._crowd.waiting(self._timers.now_s())
        return len(self._queue)

    @property
    def cores(self) -> int:
        return self._cores

    @cores.setter
    def cores(self, cores: int) -> None:
        """More cores start on the queue at once; fewer: those in service finish. At 0 all go."""
        assert cores >= 0
        self._cores = cores
        if cores:
            self._count()
        if self._crowd is not None:
            self._crowd.resize(cores, self._timers.now_s())
        self._dispatch(self._timers.now_s())

    async def run(
        self,
        cost_s: float | None = None,
        *,
        expires_at_s: float | None = None,
        rank: int = NO_RANK,
    ) -> None:
        """Wait for a core and hold it for `cost_s` (None: the declared service time).

        Where no cpu is declared, or nothing is to be charged, it returns at once, without a
        checkpoint: callers that loop over it need one of their own. Raises CpuBusy, CpuExpired.
        """
        if cost_s is None:
            cost_s = self._spec.service_time_s
        if (self._cores == 0 or cost_s <= 0) and not self._life.dead:
            return
        work = _Work(cost_s, expires_at_s, self._timers.now_s(), rank)
        if self._life.dead or not self._admit(work):
            await trio.lowlevel.checkpoint()
            self._life.check()
        else:
            await self._wait(work)
        if work.expired:
            raise CpuExpired("its time was over before a core was free")
        if work.shed:
            raise CpuBusy("there is more to do, and more urgent")
        if not work.done:
            raise CpuBusy("its queue is full")

    def _admit(self, work: _Work) -> bool:
        """Take a core or a place in the queue; False when full or expired already."""
        if self._is_late(work):
            self._drop_expired(work)
            return False
        if self._crowd is not None:
            return self._admit_among(self._crowd, work)
        if self._shedder is not None and not self._shedder.admits(work.rank, work.asked_s):
            self._drop_shed(work)
            return False
        if self._in_service < self._cores and not self._queue:
            self._start(work, work.asked_s)
            return True
        if self._limit is not None and self.in_hand >= self._limit.limit:
            if not self._instead(work):
                self._limited.value += 1
                return False
        elif len(self._queue) >= self._spec.max_queue and not self._instead(work):
            self._full.value += 1
            if not self._makes_room:
                return False
            self._queue.popitem(last=False)[0].wake()  # it hears that all is full
        self._queue[work] = None
        return True

    def _instead(self, work: _Work) -> bool:
        """Whether somebody who waits and is less urgent has gone instead: the last of them."""
        if self._shedder is None or not self._queue:
            return False
        other = max(reversed(self._queue), key=lambda each: each.rank)
        if other.rank <= work.rank:
            return False
        del self._queue[other]
        self._drop_shed(other)
        return True

    def _admit_among(self, crowd: Crowd, work: _Work) -> bool:
        """The same with a crowd around it: when it gets a core is known at once."""
        left_s = math.inf
        if work.expires_at_s is not None:
            left_s = work.expires_at_s - self._clock.monotonic_s()
        busy_s = crowd.busy_s
        start_s = crowd.starts_s(work.asked_s, work.cost_s, left_s)
        self._busy_s.value += crowd.busy_s - busy_s
        if start_s is None:
            self._full.value += 1
            return False
        if start_s - work.asked_s >= left_s:
            self._timers.call_at(work.asked_s + left_s, partial(self._expire, work))
        else:
            crowd.take(start_s, work.cost_s)
            self._start(work, start_s)
        return True

    def _expire(self, work: _Work) -> None:
        """It would have waited longer than it may."""
        if work.task is not None and not self._life.dead:
            self._drop_expired(work)

    @property
    def in_hand(self) -> int:
        """What has a core or waits for one."""
        return self._in_service + len(self._queue)

    @property
    def _makes_room(self) -> bool:
        return self._spec.order == LIFO and self._spec.max_queue > 0

    async def _wait(self, work: _Work) -> None:
        try:
            await work.wait()
        finally:
            if not (work.done or work.expired or work.shed):
                self._give_up(work)
        self._life.check()

    def _give_up(self, work: _Work) -> None:
        """Cancelled: free its place or its core (in its own task, not in Trio's abort)."""
        if not self._spec.drop_abandoned:
            return  # nobody tells the machine
        if work in self._queue:
            del self._queue[work]
            self._cancelled.value += 1
        elif work.timer is not None:
            work.timer.cancel()
            now_s = self._timers.now_s()
            self._free(work, min(work.cost_s, max(0.0, now_s - work.started_s)))
            self._dispatch(now_s)

    def _start(self, work: _Work, start_s: float) -> None:
        self._in_service += 1
        work.started_s = max(start_s, work.asked_s)
        self._waits.observe(work.started_s - work.asked_s)
        if self._shedder is not None:
            self._shedder.began(work.started_s - work.asked_s)
        end_s = work.started_s + work.cost_s
        work.timer = self._timers.call_at(end_s, partial(self._due, work, end_s))

    def _due(self, work: _Work, end_s: float) -> None:
        if self._life.paused:
            self._life.call(lambda: self._finish(work, self._timers.now_s()))
        elif not self._life.dead:
            self._finish(work, max(end_s, self._timers.now_s() - CATCH_UP_S))

    def _finish(self, work: _Work, end_s: float) -> None:
        if work.timer is None:  # given up while a pause held this
            return
        if work.task is None:
            self._in_vain.value += work.cost_s
        if self._limit is not None:
            self._limit.done(end_s - work.asked_s, self.in_hand)
        self._free(work, work.cost_s)
        work.done = True
        work.wake()
        self._dispatch(end_s)

    def _free(self, work: _Work, busy_s: float) -> None:
        work.timer = None
        self._in_service -= 1
        self._busy_s.value += busy_s

    def _dispatch(self, at_s: float) -> None:
        """Give free cores to the queue; what was cancelled or has expired is dropped here."""
        if self._life.dead or self._life.paused:
            return
        while self._queue and (self._in_service < self._cores or self._cores == 0):
            work, _ = self._queue.popitem(last=self._spec.order == LIFO)
            if work.task is None and self._spec.drop_abandoned:
                self._cancelled.value += 1
            elif self._is_late(work, work.cost_s if self._cores else 0.0):
                # what is over a moment later is in vain, too: while the queue is long, all would be
                self._drop_expired(work)
            elif self._shedder is not None and not self._shedder.keeps(work.rank):
                self._drop_shed(work)
            elif self._cores == 0:
                work.done = True
                work.wake()
            else:
                self._start(work, at_s)

    def _is_late(self, work: _Work, needs_s: float = 0.0) -> bool:
        """Whether its time is over, or would be before it is done."""
        if work.expires_at_s is None or not self._spec.drop_expired:
            return False
        return work.expires_at_s <= self._clock.monotonic_s() + needs_s

    def _drop_shed(self, work: _Work) -> None:
        self._shed[min(LEAST, work.rank // SHARES)].value += 1
        work.shed = True
        work.wake()

    def _drop_expired(self, work: _Work) -> None:
        self._expired.value += 1
        work.expired = True
        work.wake()
