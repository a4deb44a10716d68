"""The desk: what is decided together becomes one record, of the size that it has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from nodes.queue.desk import RECORD_BYTES, Decisions, Desk, Home
from nodes.queue.grouping import Grouping
from nodes.queue.publishing import Batch, Publishing
from nodes.queue.state import QueueState, facts_of
from nodes.queue.topics import TopicOptions
from nodes.queue.working import Asked, Working


class Nowhere:
    """A backlog that keeps nothing."""

    def append(self, place: Any, offset: int, frame: bytes) -> None: ...
    def drop(self, place: Any) -> None: ...


class Counted:
    def committed(self, requests: int, seconds: float) -> None: ...
    def refused(self, requests: int) -> None: ...


class Rig:
    """One broker's decisions, without a log."""

    def __init__(self) -> None:
        home = Home(0, ("queue",))
        state = QueueState(cast(Any, Nowhere()), home.has)
        self.desk = Desk(state, home, lambda: 0, lambda: 0.0)
        self.publishing = Publishing(self.desk)
        self.grouping = Grouping(self.desk)
        self.working = Working(self.desk, self.publishing, lambda topic, number: 1 << 30)
        self.decisions = Decisions(self.desk, lambda: None, lambda: None, Counted())
        self.lsn = 0

    def decide(self, *requests: Any) -> tuple[list[Any], bytes]:
        """What each answered, and the record."""
        self.lsn += 1
        outcomes, record = self.decisions.execute(requests, self.lsn)
        return [each.results for each in outcomes], record or b""

    def declare(self, name: str, **options: Any) -> None:
        self.decide(partial(self.publishing.declare, name, TopicOptions(**options)))

    def publish(self, name: str, payloads: Sequence[bytes]) -> None:
        batch = Batch(self.desk.topic(name), 0, payloads, sum(map(len, payloads)))
        self.decide(partial(self.publishing.publish, [batch]))


def test_a_record_is_closed_by_the_size_that_its_facts_have():
    rig, name = Rig(), "t" * 100
    rig.declare(name, partitions=1000)
    offsets = [(name, number, 0) for number in range(1000)]
    commits = [partial(rig.grouping.commit, f"g{n}", "", 0, offsets) for n in range(12)]
    answers, record = rig.decide(*commits)
    assert answers == [1000] and len(record) > RECORD_BYTES, "the others are for the next record"
    assert len(facts_of(record)) == 1


def test_what_a_consumer_holds_is_given_back_by_a_few_facts():
    rig = Rig()
    rig.declare("jobs", max_ack_pending=5000)
    rig.publish("jobs", [b"x"] * 5000)
    for _ in range(50):
        asked = Asked("jobs", "g", "w", 0, 100, 0, {})
        rig.decide(partial(rig.working.acquire, asked))
    answers, record = rig.decide(partial(rig.working.release, "w", failed=True))
    assert answers == [5000] and len(record) < 20_000


def test_an_acquire_that_was_not_heard_is_given_the_same_records_again():
    rig = Rig()
    rig.declare("jobs")
    rig.publish("jobs", [b"x"] * 10)

    def acquired(consumer: str, attempt: int) -> list[tuple[int, int]]:
        asked = Asked("jobs", "g", consumer, attempt, 2, 0, {})
        (found,), _ = rig.decide(partial(rig.working.acquire, asked))
        return [(each.offset, each.delivery) for each in found]

    assert acquired("w", 1) == [(0, 1), (1, 1)]
    assert acquired("v", 1) == [(2, 1), (3, 1)]
    assert acquired("w", 1) == [(0, 1), (1, 1)], "and no delivery is counted"
    assert acquired("w", 2) == [(4, 1), (5, 1)]


def test_what_is_not_safe_is_not_read_after_the_state_went_back_to_the_log():
    rig = Rig()
    rig.declare("t")
    rig.publish("t", [b"safe"])
    safe_lsn = rig.lsn
    rig.publish("t", [b"on its way"])
    topic = rig.desk.topic("t")
    rig.desk.begin_office(anew=False)
    assert rig.desk.high_watermark(topic, 0, safe_lsn) == 1
    assert rig.desk.high_watermark(topic, 0, rig.lsn) == 2
    rig.publish("t", [b"by the next leader"])
    rig.desk.begin_office(anew=True)
    assert rig.desk.high_watermark(topic, 0, 0) == 3, "an office begins when all is safe"
