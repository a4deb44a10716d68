"""Bugs of workers and their jobs, as somebody might have written them.

Each is a function whose docstring says what is wrong; `emu sim`'s own load, faults and verdict must
find it under tests/sim/planted/workers.yaml. How they are hunted is test_worker_planted.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodes.queue import working
from nodes.site import jobs
from nodes.worker import node
from tests.planting import Bug, Swap, listed

BUGS: list[Bug] = []


bug = listed(BUGS, Bug)
"""List the function under its docstring."""


Say = Callable[[Any, Any, Any], Any]


@bug
def _acknowledged_before_it_is_done(swap: Swap) -> None:
    """a job is acknowledged before it is done"""
    sound: Say = node.WorkerNode._execute

    async def execute(self: Any, job: Any) -> Any:
        await self._queues[job.topic].ack([job])
        return await sound(self, job)  # type: ignore[call-arg]

    async def say(self: Any, job: Any, error: Any) -> None:
        return

    swap.setattr(node.WorkerNode, "_execute", execute)
    swap.setattr(node.WorkerNode, "_say", say)


@bug
def _failed_is_done(swap: Swap) -> None:
    """a job that failed is acknowledged like one that is done"""
    sound: Say = node.WorkerNode._say

    async def say(self: Any, job: Any, error: Any) -> None:
        await sound(self, job, None)

    swap.setattr(node.WorkerNode, "_say", say)
    swap.setattr(jobs, "AWAY", frozenset())


@bug
def _marked_by_the_attempt(swap: Swap) -> None:
    """what a job has done is noted by the attempt, so that the next does not find it"""
    sound = jobs.SiteJobs._work

    def work(self: Any, job: Any, execution: str, name: str) -> Any:
        statement, row = sound(self, job, execution, name)
        return [statement, [f"{job.topic}/{execution}", *row[1:]]]

    swap.setattr(jobs.SiteJobs, "_work", work)


@bug
def _all_before_it_too(swap: Swap) -> None:
    """with a job all that this worker has of its topic is acknowledged"""
    sound: Say = node.WorkerNode._say

    async def say(self: Any, job: Any, error: Any) -> None:
        await sound(self, job, error)
        others = [each.job for each in self.bench._held() if each.job.topic == job.topic]
        for other in others:
            if other is not job:
                await self._queues[job.topic].ack([other])

    swap.setattr(node.WorkerNode, "_say", say)


@bug
def _keys_do_not_wait(swap: Swap) -> None:
    """a key's next job does not wait for the one before it"""
    sound = working.Working.acquire

    def acquire(self: Any, asked: Any) -> Any:
        keys = {number: (offset, [None] * len(known))
                for number, (offset, known) in asked.keys.items()}  # fmt: skip
        return sound(self, asked._replace(keys=keys))

    swap.setattr(working.Working, "acquire", acquire)
