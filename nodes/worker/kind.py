"""What the kind of workers says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nodes.kind import Fact, Kind, Mistake, TierSeen, Traffic
from nodes.parts.stores import DATABASE_KINDS, QUEUE_KINDS, first_store
from nodes.worker import jobs, judged
from nodes.worker.node import RETRY_S, WorkerConfig, WorkerNode

TAKES: Final = "takes"
TRAFFIC: Final = Traffic("jobs_total", "job_failures_total", "job_seconds", "jobs_in_hand")


def _unfit(tier: TierSeen) -> Iterator[Mistake]:
    """Jobs come out of a message queue; what the site's jobs do is in its database."""
    if not any(each.word in QUEUE_KINDS for each in tier.reached[TAKES]):
        yield Mistake(TAKES, f"`{tier.config.takes}` is no queue; name a tier of `kind: queue`")
    if not tier.config.job and first_store(tier, "uses") not in DATABASE_KINDS:
        told = "the site's jobs need its database: name that in `uses`, before any kv tier"
        yield Mistake("uses", f"{told} (or a `job` of your own)")


EVENTS: Final = {
    "job failed": "A job raised, or took too long: it is tried again, or is a dead letter.",
    "job's end not heard": "A worker could not tell the queue what came of a job.",
    "job waits": "The store that a job needs is away: the job waits at its worker.",
    "nothing fetched": "A worker could not ask the queue for jobs; it asks again.",
    "worker not ready": "A worker waits until the queue and its topics are there.",
    "standing not known": "A worker could not ask how far its group is; it asks again.",
    "effects not known": "A worker could not ask what its jobs left behind; it asks again.",
}
KIND: Final = Kind(
    WorkerConfig,
    WorkerNode,
    (),
    about="Workers that take jobs out of a queue, do them, and try again what failed.",
    example="workers: {kind: worker, takes: queue, topics: [jobs], job: 'myjobs:work'}",
    edges=(TAKES, "uses"),
    works=True,
    patience=lambda config: config.timeout_s + RETRY_S,
    traffic=TRAFFIC,
    facts=(
        Fact("in_hand", ("ps", "top", "page"), text="Jobs that it is doing now."),
        Fact("waiting", ("ps", "page"), text="Jobs that it has taken and not begun."),
        Fact("done", ("ps", "top", "page"), text="Jobs that it has done since it started."),
        Fact(
            "failed",
            ("ps", "top", "page"),
            text="Jobs that failed: they are tried again, or go to the dead letters.",
        ),
        Fact(
            "lost",
            ("page",),
            text="Jobs that were another's by the time they were done: their lock had ended.",
        ),
    ),
    mistakes=_unfit,
    code={"job": jobs.check},
    models={judged.JOBS: judged.MODEL},
    varied={"concurrency": (1, 2), "prefetch": (1, 2)},
)
