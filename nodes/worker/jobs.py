"""Whose functions do a worker's jobs: the site's (nodes/site/jobs.py), or the user's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from nodes.queue.client import QueueClient
from nodes.queue.work import Job
from nodes.site import app as apps
from nodes.site.app import Services

WRITE: Final = "write `async def job(job, services)`"
Function = Callable[[Job, Services], Awaitable[Any]]


class Jobs(Protocol):
    """The functions of a tier of workers. All may raise RpcError."""

    topics: Sequence[str]
    """Whose records they are for."""
    idempotent: bool
    """Whether a job that was done already changes nothing."""

    async def prepare(self, services: Services, queue: QueueClient, group: str) -> None:
        """Make what they need, unless it is there; `unavailable` while that cannot be."""
        ...

    async def do(self, job: Job, services: Services, execution: str) -> Any:
        """One job. `execution` names this attempt, and no other. What it answers is REPEATED
        if the job had been done before, and is not looked at otherwise."""
        ...

    async def effects(self, services: Services, topic: str) -> list[list[Any]] | None:
        """[partition, offset, time, how often it is there] of each record that has left its trace
        in the store; None where nobody can tell."""
        ...


class Mine:
    """A function of the user's own. Whether it had its effect twice, only its executions tell."""

    idempotent = False

    def __init__(self, name: str, topics: Sequence[str]) -> None:
        self.topics = topics
        self._function: Function = apps.load(name, check)

    async def prepare(self, services: Services, queue: QueueClient, group: str) -> None:
        for topic in self.topics:
            await queue.partitions_of(topic)

    async def do(self, job: Job, services: Services, execution: str) -> Any:
        return await self._function(job, services)

    async def effects(self, services: Services, topic: str) -> list[list[Any]] | None:
        return None


def check(found: Any) -> None:
    """Raises ValueError, as `is ...`, where it is seen from outside that this is no job."""
    apps.check_function(found, "a job and services", WRITE)
