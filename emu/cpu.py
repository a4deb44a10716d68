"""A node's cpu: a bounded first-in first-out queue in front of `cores` servers, in both worlds.

A true queue, not a reservation at arrival: work that was cancelled or has expired costs nothing
when its turn comes.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from trio import lowlevel

from emu.clock import NodeClock
from emu.life import Life
from emu.world import CpuSpec
from nodes.base import CpuBusy, CpuExpired
from nodes.parts.metrics import Metrics


class _Job:
    __slots__ = ("cost_s", "expired", "expires_at_s", "parked", "since_s", "task")

    def __init__(self, task: lowlevel.Task, cost_s: float, expires_at_s: float | None) -> None:
        self.task: lowlevel.Task | None = task
        self.cost_s = cost_s
        self.expires_at_s = expires_at_s
        self.expired = False
        self.since_s = 0.0
        self.parked = False

    def wake(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            lowlevel.reschedule(task)


class NodeCpu:
    """One generation's view of the machine's cores. `cores` may be changed while it runs."""

    def __init__(self, spec: CpuSpec, clock: NodeClock, life: Life, metrics: Metrics) -> None:
        self.cores = spec.cores
        self._spec = spec
        self._clock = clock
        self._life = life
        self._queue: deque[_Job] = deque()
        self._running = 0
        if spec.cores:
            self._busy = metrics.counter("cpu_busy_seconds_total", "Core seconds spent.")
            self._dropped = metrics.counter(
                "cpu_dropped_total", "Work dropped: expired or too much."
            )
            self._waited = metrics.histogram("cpu_queue_seconds", "Seconds waited for a core.")
            metrics.gauge("cpu_queue", "Work waiting for a core.", lambda: len(self._queue))
            metrics.gauge("cpu_cores", "Cores of this node.", lambda: self.cores)

    def set_cores(self, cores: int) -> None:
        self.cores = cores
        self._start_next()

    async def run(self, cost_s: float | None = None, *, expires_at_s: float | None = None) -> None:
        self._life.check()
        cost_s = self._spec.service_time_s if cost_s is None else cost_s
        if not self.cores or cost_s <= 0:
            await lowlevel.checkpoint()
            return
        if len(self._queue) >= self._spec.max_queue:
            self._dropped.value += 1
            raise CpuBusy(f"{self._spec.max_queue} requests wait for the cpu already")
        job = _Job(lowlevel.current_task(), cost_s, expires_at_s)
        job.since_s = self._clock.monotonic_s()
        self._queue.append(job)
        self._start_next()
        await self._wait(job)
        self._life.check()
        if job.expired:
            self._dropped.value += 1
            raise CpuExpired("its deadline passed in the cpu's queue")

    async def _wait(self, job: _Job) -> None:
        def abort(_: Any) -> lowlevel.Abort:
            job.task = None
            return lowlevel.Abort.SUCCEEDED

        if job.task is None:  # expired or finished at once
            await lowlevel.checkpoint()
        else:
            job.parked = True
            await lowlevel.wait_task_rescheduled(abort)

    def _start_next(self) -> None:
        """Give free cores to whoever still wants one, in order."""
        now_s = self._clock.monotonic_s()
        while self._queue and self._running < self.cores:
            job = self._queue.popleft()
            if job.task is None:
                continue  # cancelled while it waited
            if job.expires_at_s is not None and now_s >= job.expires_at_s:
                job.expired = True
                self._release(job)
                continue
            self._waited.observe(now_s - job.since_s)
            self._running += 1
            self._busy.value += job.cost_s
            self._clock.call_at(now_s + job.cost_s, lambda job=job: self._finish(job))  # type: ignore[misc]

    def _finish(self, job: _Job) -> None:
        self._running -= 1
        job.wake()
        self._start_next()

    def _release(self, job: _Job) -> None:
        """Wake an expired job: unless it is the very task that is just asking."""
        if job.parked:
            job.wake()
        else:
            job.task = None
