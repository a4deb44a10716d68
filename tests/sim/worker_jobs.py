"""Jobs of tests: each takes a while, has its effect (it is noted in DONE), and takes a while."""

from __future__ import annotations

from nodes.queue.work import Job
from nodes.site.app import Services
from protocols.errors import RpcError

BEFORE_S = 0.3
AFTER_S = 0.3
DONE: list[tuple[str, str]] = []
"""(what, by which node); tests clear it."""


async def note(job: Job, services: Services) -> None:
    await services.ctx.clock.sleep(BEFORE_S)
    DONE.append((job.value, services.ctx.name))
    await services.ctx.clock.sleep(AFTER_S)


async def slow(job: Job, services: Services) -> None:
    await services.ctx.clock.sleep(7.0)
    DONE.append((job.value, services.ctx.name))


async def long(job: Job, services: Services) -> None:
    await services.ctx.clock.sleep(2.0)
    DONE.append((job.value, services.ctx.name))


async def lasting(job: Job, services: Services) -> None:
    await services.ctx.clock.sleep(25.0)
    DONE.append((job.value, services.ctx.name))


async def picky(job: Job, services: Services) -> None:
    if job.value == "poison":
        raise RpcError("refused", "this cannot be worked on")
    if job.value == "bug":
        raise ZeroDivisionError
    DONE.append((job.value, services.ctx.name))
