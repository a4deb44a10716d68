"""What workers do for the site: photos are made smaller, followers are told of posts, posts get
into the search index. Each job is one transaction that leaves a row in `works`: by the job's own
name, so that a second one changes nothing, or by the attempt's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nodes.base import Context
from nodes.parts import png
from nodes.parts.backoff import Backoff
from nodes.parts.timing import take_steps
from nodes.queue.client import QueueClient
from nodes.queue.work import Job
from nodes.site import photos as sql
from nodes.site.app import Services
from nodes.site.errands import PHOTOS, POSTS, TOPICS
from nodes.site.store import BreakingStore, Statement
from protocols.errors import RpcError

REPEATED: Final = "repeated"
"""What a job answers that had been done before."""
AWAY: Final = BreakingStore.TROUBLE | {"overloaded", "expired"}
PAUSE_S: Final = 0.0005
"""Between steps of a picture: the other nodes' turn."""


class SiteJobs:
    """Jobs of the built-in site, by topic."""

    topics: Sequence[str] = TOPICS

    def __init__(self, ctx: Context, idempotent: bool) -> None:
        self.idempotent = idempotent
        self._ctx = ctx

    async def prepare(self, services: Services, queue: QueueClient, group: str) -> None:
        """The site makes its tables and topics by itself."""
        if not services.site.ready:
            raise RpcError("unavailable", "the site is being prepared")
        for topic in self.topics:
            await queue.partitions_of(topic)

    async def do(self, job: Job, services: Services, execution: str) -> Any:
        """While the database is away the job waits here: it has not failed. (To ask again is safe:
        an attempt's requests have its name.)"""
        backoff, attempt = Backoff(), 0
        while True:
            try:
                return await self._do(job, services, execution)
            except RpcError as error:
                if error.code not in AWAY:
                    raise
                self._ctx.log.debug("job waits", topic=job.topic, why=str(error))
            await self._ctx.clock.sleep(backoff.wait_s(attempt, self._ctx.rng("jobs")))
            attempt += 1

    async def _do(self, job: Job, services: Services, execution: str) -> Any:
        what = job.value
        if not isinstance(what, dict):
            raise RpcError("bad_request", f"this is no job: {str(what)[:60]}")
        if job.topic == PHOTOS:
            return await self._photo(job, services, execution, _name(what, "photo"))
        assert job.topic == POSTS, job.topic
        return await self._post(job, services, execution, _name(what, "post"))

    # --- photos --------------------------------------------------------------------------

    async def _photo(self, job: Job, services: Services, execution: str, photo: str) -> Any:
        """Make it smaller."""
        ctx, store = self._ctx, services.db
        record = sql.record_name(job.topic, job.partition, job.offset)
        row = [execution, photo, ctx.name, record, job.delivery, ctx.clock.wall_s()]
        await store.write([[sql.ADD_ATTEMPT, row]], request_id=f"attempt-{execution}")
        rows = (await store.query(sql.CONTENT_OF_ALL, photo)).rows
        if not rows:
            raise RpcError("not_found", f"there is no photo {photo}")
        try:
            whole = await take_steps(ctx.clock, png.decode(bytes(rows[0][0])), PAUSE_S)
        except ValueError as error:
            raise RpcError("bad_request", f"photo {photo}: {error}") from error
        statements: list[Statement] = [self._work(job, execution, photo)]
        for size, most in sql.SIZES.items():
            smaller = await take_steps(ctx.clock, png.shrink(whole, most), PAUSE_S)
            statements.append([sql.ADD_SIZE, [photo, size, png.encode(smaller)]])
        return await self._write(services, execution, statements)

    # --- posts ---------------------------------------------------------------------------

    async def _post(self, job: Job, services: Services, execution: str, post: str) -> Any:
        """Tell the author's followers, and let it be found by its words."""
        rows = (await services.db.query(sql.POST, post)).rows
        if not rows:
            raise RpcError("not_found", f"there is no post {post}")
        author, text, posted_s = rows[0]
        followers = (await services.db.query(sql.FOLLOWERS, author)).rows
        told_s = self._ctx.clock.wall_s()
        mark = post if self.idempotent else execution
        statements: list[Statement] = [
            self._work(job, execution, post),
            *([sql.ADD_NOTICE, [f"{mark}/{reader}", reader, author, post, told_s]]
              for (reader,) in followers),
            *([sql.ADD_WORD, [word, post, posted_s]] for word in sql.words_of(text)),
        ]  # fmt: skip
        return await self._write(services, execution, statements)

    # --- effects -------------------------------------------------------------------------

    def _work(self, job: Job, execution: str, name: str) -> Statement:
        mark = f"{job.topic}/{name if self.idempotent else execution}"
        done_s = self._ctx.clock.wall_s()
        row = [
            mark,
            name,
            self._ctx.name,
            done_s,
            job.topic,
            job.partition,
            job.offset,
            job.time_ms,
        ]
        return [sql.ADD_WORK, row]

    async def _write(
        self, services: Services, execution: str, statements: list[Statement]
    ) -> str | None:
        written = await services.db.write(statements, request_id=f"work-{execution}")
        return None if written.results[0]["changes"] else REPEATED

    async def effects(self, services: Services, topic: str) -> list[list[Any]] | None:
        """Page by page."""
        found: list[list[Any]] = []
        after = [-1, -1, -1]
        while True:
            page = (await services.db.query(sql.EFFECTS, topic, *after, sql.EFFECTS_PAGE)).rows
            found += page
            if len(page) < sql.EFFECTS_PAGE:
                return found
            after = page[-1][:3]


def _name(what: dict[Any, Any], word: str) -> str:
    name = what.get(word)
    if not isinstance(name, str):
        raise RpcError("bad_request", f"this job names no {word}: {str(what)[:60]}")
    return name
