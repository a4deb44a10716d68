"""A worker: hands that take jobs from work queues, do them, and acknowledge what is done.

Which job is next is bench.py's; whose functions do them is jobs.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import trio

from nodes.base import Context
from nodes.parts.lives import life_name
from nodes.parts.timing import move_on_after
from nodes.queue.client import QueueClient
from nodes.queue.work import Job, WorkQueue
from nodes.site.jobs import REPEATED, SiteJobs
from nodes.site.opening import Opening, no_store
from nodes.wire.admin import Admin
from nodes.wire.answers import as_rpc_error
from nodes.wire.directory import Directory
from nodes.wire.service import Call, current_call
from nodes.worker import judged
from nodes.worker.bench import Bench, Held, retry_delay_s
from nodes.worker.jobs import Jobs, Mine
from nodes.worker.series import DONE, FAILED, LOST, Series
from protocols.errors import RpcError
from protocols.queue import words
from protocols.queue.names import label_problem, name_problem

POLL_S: Final = 5.0
"""How long a worker waits at a broker for the next job."""
RETRY_S: Final = 0.25
FINISH_TIMEOUT_S: Final = 30.0
GONE: Final = ("stale_delivery", "settled")
"""Refusals that say that a job is another's by now."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Workers of the work queues of a queue tier."""

    takes: str
    """The queue tier: `takes: queue`."""
    uses: tuple[str, ...] = ()
    """Tiers whose services jobs call, as a web tier's `uses`: `uses: db`."""
    job: str = ""
    """The function that is called with each job, in place of the site's: `job: myjobs:work`."""
    topics: tuple[str, ...] = ()
    """Whose records are jobs: `topics: [jobs]`; of the site's own all, if not said."""
    group: str = "workers"
    """The work group: each record is done by one of its workers."""
    concurrency: int = 4
    """Jobs that a worker does at a time."""
    prefetch: int = 4
    """Jobs of each topic that wait at a worker for a free hand; further ones stay in the queue."""
    lock_s: float = 0.0
    """How long a job is a worker's before its lock is renewed; 0: as the topic says."""
    timeout_s: float = 60.0
    """What takes longer has failed."""
    retry_delay_s: float = 0.5
    """How long a job rests that failed once; twice as long after each further time."""
    max_retry_delay_s: float = 30.0
    """The longest that a job rests between two tries."""
    idempotent: bool = True
    """Whether the site's jobs find out that they were done already. Without, one whose worker died
    before it could say so has its effect twice. (Functions of your own answer for themselves.)"""

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= 256 or not 1 <= self.prefetch <= words.MAX_ACQUIRED:
            raise ValueError(
                f"`concurrency` is from 1 to 256, `prefetch` from 1 to {words.MAX_ACQUIRED}"
            )
        if self.timeout_s <= 0 or min(self.lock_s, self.retry_delay_s, self.max_retry_delay_s) < 0:
            raise ValueError("`timeout` must be above 0, other times not below")
        if problem := label_problem(self.group):
            raise ValueError(f"`group` is {problem}")
        if self.job and not self.topics:
            raise ValueError("a `job` needs `topics`: whose records it is called with")
        if problem := next(filter(None, map(name_problem, self.topics)), ""):
            raise ValueError(f"`topics`: {problem}")
        strange = [each for each in self.topics if each not in SiteJobs.topics]
        if strange and not self.job:
            known = ", ".join(SiteJobs.topics)
            raise ValueError(
                f"`topics`: the site has no jobs of `{strange[0]}` (but of {known});"
                " name a `job` of your own"
            )


class WorkerNode:
    """Works until it is drained."""

    def __init__(self, ctx: Context, config: WorkerConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.topics = config.topics or SiteJobs.topics
        self.jobs: Jobs = (
            Mine(config.job, self.topics) if config.job else SiteJobs(ctx, config.idempotent)
        )
        self.bench = Bench(self.topics, config.concurrency, config.prefetch)
        self.series = Series(ctx, self.bench, self.topics)
        self.opening = Opening(ctx, (*config.uses, config.takes), no_store)
        self.phase = "preparing"
        self._queues: dict[str, WorkQueue] = {}
        self._client: QueueClient
        self._taking: list[trio.CancelScope] = []
        self._changed = trio.Event()
        self._prepared = trio.Event()
        self._executions = 0
        self._life = life_name(ctx)
        self._finished = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        admin = Admin(self.ctx, facts=self.facts)
        admin.add("drain", self._drain)
        admin.add("summary", lambda call: self.summary())
        admin.add("finish", self._finish)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admin.listen_and_serve)
            task_status.started()
            await self._prepare(nursery)
            self.phase = "working"
            nursery.start_soon(self._renew_forever)
            for topic in self.topics:
                nursery.start_soon(self._take_forever, topic)
            for _ in range(self.config.concurrency):
                nursery.start_soon(self._work_forever)

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        return {
            "role": "",
            "phase": self.phase,
            "in_hand": self.bench.in_hand,
            "waiting": self.bench.waiting,
            **self.series.facts(),
        }

    async def _prepare(self, nursery: trio.Nursery) -> None:
        """Find the queue and the services, and what the jobs need; again until all is there."""
        ctx, config = self.ctx, self.config
        directory = Directory(ctx, nursery)
        await self.opening.open(nursery, directory)
        if self.opening.database:
            nursery.start_soon(self.opening.site.prepare_forever)
        self._client = self.opening.services.queue
        for topic in self.topics:
            name = f"{self._life}/{topic}"
            self._queues[topic] = WorkQueue(self._client, topic, config.group, name)
        while True:
            try:
                await self.jobs.prepare(self.opening.services, self._client, config.group)
                for topic in self.topics:
                    await self._look(topic)
                self._prepared.set()
                return
            except RpcError as error:
                ctx.log.debug("worker not ready", why=str(error))
                await ctx.clock.sleep(RETRY_S)

    # --- taking --------------------------------------------------------------------------

    def _tell(self) -> None:
        """Something may be possible that was not."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _take_forever(self, topic: str) -> None:
        """Fetch jobs of one topic whenever there is room for some."""
        while not self.bench.draining:
            room = self.bench.room(topic)
            if room <= 0:
                await self._changed.wait()
                continue
            with trio.CancelScope() as scope:
                self._taking.append(scope)
                try:
                    await self._take(topic, room)
                finally:
                    self._taking.remove(scope)

    async def _take(self, topic: str, room: int) -> None:
        clock, lock_s = self.ctx.clock, self._lock_s(topic)
        asked_s = clock.monotonic_s()
        try:
            jobs = await self._queues[topic].acquire(room, wait_s=POLL_S, lock_s=lock_s)
        except RpcError as error:
            self.ctx.log.debug("nothing fetched", topic=topic, why=str(error))
            await clock.sleep(self.ctx.rng("fetching").uniform(RETRY_S / 2, RETRY_S))
            return
        if jobs and not self.bench.draining:
            # it may have waited long; a lock that is thought shorter than it is is renewed early
            begun_s = max(asked_s, clock.monotonic_s() - lock_s / 2)
            self.bench.take(jobs, lock_s, begun_s)
            self._tell()

    def _lock_s(self, topic: str) -> float:
        return self.config.lock_s or float(self._client.topics[topic]["ack_wait_s"])

    # --- working -------------------------------------------------------------------------

    async def _work_forever(self) -> None:
        while not self.bench.draining:
            held = self.bench.begin()
            if held is None:
                await self._changed.wait()
                continue
            self._tell()  # there is room for another
            try:
                await self._work(held)
            finally:
                self.bench.end(held)
            self._tell()

    async def _work(self, held: Held) -> None:
        """One job, and word of what became of it."""
        began_s = self.ctx.clock.monotonic_s()
        error = await self._execute(held.job)
        outcome = DONE if error is None else FAILED
        if error is not None:
            self.ctx.log.info("job failed", **self._about(held.job), why=str(error))
        try:
            await self._say(held.job, error)
        except RpcError as refusal:
            outcome = LOST if error is None else FAILED
            held.lost = held.lost or refusal.code in GONE
            self.ctx.log.info("job's end not heard", **self._about(held.job), why=str(refusal))
        self.series.count(held.job.topic, outcome, self.ctx.clock.monotonic_s() - began_s)

    async def _execute(self, job: Job) -> RpcError | None:
        """Do it, and record that; the error, if it failed."""
        process = self._process()
        execution = f"{self._life}/{self._executions}"
        value = [job.partition, job.offset, job.time_ms, _shown(job.key)]
        record = self.ctx.history.invoke(process, judged.WORK, value, job.topic, model=judged.JOBS)
        clock, timeout_s = self.ctx.clock, self.config.timeout_s
        current_call.set(Call(deadline_s=clock.monotonic_s() + timeout_s))
        try:
            with move_on_after(clock, timeout_s) as scope:
                if self.ctx.cpu.cores:
                    await self.ctx.cpu.run()
                result = await self.jobs.do(job, self.opening.services, execution)
        except Exception as problem:  # a job is anybody's code
            error = as_rpc_error(self.ctx, problem, topic=job.topic)
        else:
            if not scope.cancelled_caught:
                record.ok(REPEATED if result == REPEATED else None)
                return None
            error = RpcError("timeout", f"not done within {timeout_s:g} s")
        finally:
            current_call.set(None)
        if error.definite:
            record.fail(error.code)
        else:
            record.info(error.code)
        return error

    def _process(self) -> str:
        """The next one of the history: each does one thing."""
        self._executions += 1
        return f"{self.ctx.name}.{self.ctx.generation}/{self._executions}"

    async def _say(self, job: Job, error: RpcError | None) -> None:
        """Raises RpcError where the queue does not take it."""
        queue, config = self._queues[job.topic], self.config
        if error is None:
            await queue.ack([job])
        else:
            delay_s = retry_delay_s(job.failed, config.retry_delay_s, config.max_retry_delay_s)
            await queue.nack([job], delay_s=delay_s)

    def _about(self, job: Job) -> dict[str, Any]:
        return {"topic": job.topic, "partition": job.partition, "offset": job.offset,
                "delivery": job.delivery}  # fmt: skip

    # --- locks ---------------------------------------------------------------------------

    async def _renew_forever(self) -> None:
        clock = self.ctx.clock
        while True:
            due_s = self.bench.next_due_s
            if due_s is None:
                await self._changed.wait()
                continue
            with move_on_after(clock, max(0.0, due_s - clock.monotonic_s())):
                await self._changed.wait()
            async with trio.open_nursery() as nursery:
                for held in self.bench.due(clock.monotonic_s()):
                    nursery.start_soon(self._renew, held)

    async def _renew(self, held: Held) -> None:
        clock, job = self.ctx.clock, held.job
        now_s = clock.monotonic_s()
        try:
            await self._queues[job.topic].renew([job], lock_s=held.lock_s, timeout_s=held.lock_s)
        except RpcError as error:
            if error.code in GONE:
                self.bench.lost(held)
                self._tell()
            else:
                await clock.sleep(RETRY_S)
            return
        self.bench.renewed(held, now_s)

    # --- the end -------------------------------------------------------------------------

    async def _drain(self, call: Call) -> dict[str, int]:
        """Take no more, finish what is in hand, give back what was only waiting."""
        self.phase = "draining"
        self.bench.drain()
        for scope in self._taking:
            scope.cancel()
        self._tell()
        while self.bench.in_hand:
            await self._changed.wait()
        for queue in self._queues.values() if self._prepared.is_set() else ():
            try:
                await queue.release()
            except RpcError as error:
                self.ctx.log.debug("not given back", topic=queue.topic, why=str(error))
        return {"in_flight": self.bench.in_hand}

    async def _finish(self, call: Call, timeout_ms: int = int(FINISH_TIMEOUT_S * 1000)) -> Any:
        """When nobody makes new jobs: wait until the group has done all there are, and say what
        came of them. A second call gives the same answer."""
        if not self._finished:
            self.phase = "finishing"
            with move_on_after(self.ctx.clock, timeout_ms / 1000):
                await self._prepared.wait()
                for topic in self.topics:
                    await self._worked_off(topic)
                    await self._record_effects(topic)
            self._finished = True
            self.phase = "finished"
        return self.summary()

    async def _worked_off(self, topic: str) -> None:
        while True:
            try:
                if not any(judged.Row(*row).undone for row in await self._look(topic)):
                    return
            except RpcError as error:
                self.ctx.log.debug("standing not known", topic=topic, why=str(error))
            await self.ctx.clock.sleep(RETRY_S)

    async def _look(self, topic: str) -> list[list[Any]]:
        """How far the group is; recorded. Raises RpcError."""
        process = self._process()
        rows = await self._client.standing(topic, self.config.group)
        options = self._client.topics[topic]
        drops = options["when_full"] == "drop_oldest" or options["max_age_s"] > 0
        record = self.ctx.history.invoke(process, judged.STANDING, None, topic, model=judged.JOBS)
        record.ok({"partitions": rows, "ordered": options["ordered"], "drops": drops})
        return rows

    async def _record_effects(self, topic: str) -> None:
        """What the store has of the jobs' effects, if they leave traces there."""
        process = self._process()
        while True:
            try:
                rows = await self.jobs.effects(self.opening.services, topic)
                break
            except RpcError as error:
                self.ctx.log.debug("effects not known", topic=topic, why=str(error))
                await self.ctx.clock.sleep(RETRY_S)
        if rows is not None:
            self.ctx.history.invoke(process, judged.EFFECTS, None, topic, model=judged.JOBS).ok(
                rows
            )

    def summary(self) -> dict[str, Any]:
        """What this tier's history is to be held to."""
        once = self.jobs.idempotent
        return {"phase": self.phase, "guarantee": "" if once else judged.AT_LEAST_ONCE}


def _shown(key: str | bytes | None) -> str | None:
    return key.hex() if isinstance(key, bytes) else key
