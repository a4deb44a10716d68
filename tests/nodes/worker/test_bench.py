"""What a worker decides, without any queue."""

from __future__ import annotations

from nodes.queue.work import Job
from nodes.worker.bench import Bench, retry_delay_s


def job(topic: str, offset: int) -> Job:
    return Job(topic, 0, offset, 1, 0, 1000 + offset, None, f"{topic} {offset}", {})


def test_so_many_are_in_hand_and_so_many_of_each_topic_wait() -> None:
    bench = Bench(["a", "b"], concurrency=2, prefetch=3)
    assert bench.room("a") == bench.room("b") == 3
    bench.take([job("a", 0), job("a", 1), job("a", 2)], 30.0, 0.0)
    assert (bench.room("a"), bench.room("b")) == (0, 3)
    first, second = bench.begin(), bench.begin()
    assert first is not None and second is not None
    assert bench.begin() is None, "both hands are full"
    assert (bench.room("a"), bench.in_hand, bench.waiting) == (2, 2, 1)
    bench.end(first)
    third = bench.begin()
    assert third is not None and third.job.offset == 2


def test_topics_take_turns() -> None:
    bench = Bench(["a", "b"], concurrency=4, prefetch=4)
    bench.take([job("a", 0), job("a", 1), job("b", 0)], 30.0, 0.0)
    began = [held.job.value for _ in range(3) if (held := bench.begin())]
    assert began == ["a 0", "b 0", "a 1"]


def test_locks_are_renewed_before_they_end_of_jobs_that_wait_too() -> None:
    bench = Bench(["a"], concurrency=1, prefetch=2)
    assert bench.next_due_s is None
    bench.take([job("a", 0), job("a", 1)], 30.0, 100.0)
    bench.begin()
    assert bench.next_due_s == 110.0 and bench.due(109.0) == []
    due = bench.due(110.0)
    assert [held.job.offset for held in due] == [0, 1]
    bench.renewed(due[0], 111.0)
    assert bench.next_due_s == 110.0
    bench.lost(due[1])
    assert bench.next_due_s == 121.0 and bench.waiting == 0
    bench.lost(due[0])
    assert bench.next_due_s is None and bench.in_hand == 1, "what is in hand cannot be undone"


def test_a_draining_worker_begins_and_fetches_nothing() -> None:
    bench = Bench(["a"], concurrency=1, prefetch=2)
    bench.take([job("a", 0), job("a", 1)], 30.0, 0.0)
    held = bench.begin()
    bench.drain()
    assert held is not None
    bench.end(held)
    assert bench.begin() is None and bench.room("a") == 0 and bench.waiting == 0


def test_a_job_that_fails_again_rests_twice_as_long_up_to_a_bound() -> None:
    assert [retry_delay_s(failed, 0.5, 5.0) for failed in range(6)] == [0.5, 1, 2, 4, 5, 5]
    assert retry_delay_s(10**6, 0.5, 5.0) == 5.0
