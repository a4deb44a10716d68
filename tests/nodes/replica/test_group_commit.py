"""Group commit, of a family that only adds words: who hears what, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from nodes.replica import reach
from nodes.replica.driver import LOST_ANSWER, LOST_WRITE
from nodes.replica.family import Group, Outcome
from nodes.replica.group_commit import GATHER_S, MAX_GROUP, MAX_WAITING, Commits, Gathering
from nodes.replica.waiters import Waiters
from nodes.wire.answers import Future
from protocols.errors import RpcError


class Log:
    """A driver whose log is acknowledged when the test says so."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.is_primary = self.can_write = True
        self.refusal: RpcError | None = None
        self.rebuilt = 0
        self.acknowledged_lsn = 0
        self._acknowledged = Waiters("unknown_outcome", LOST_WRITE)
        self._visible = Waiters("unavailable", LOST_ANSWER)

    @property
    def state_lsn(self) -> int:
        return len(self.records)

    @property
    def next_lsn(self) -> int:
        return self.state_lsn + 1

    @property
    def core(self) -> SimpleNamespace:
        return SimpleNamespace(visible_lsn=self.acknowledged_lsn)

    def check_can_write(self) -> None:
        if not self.is_primary:
            raise RpcError("not_primary", "the primary may be b", "b")
        if not self.can_write:
            raise RpcError("unavailable", "the primary is not ready to write yet")

    def propose(self, payload: bytes, *, now: bool = False) -> int:
        if self.refusal is not None:
            raise self.refusal
        self.records.append(payload)
        return self.state_lsn

    def rebuild(self) -> None:
        self.rebuilt += 1

    def when_acknowledged(self, lsn: int, callback: Callable[[RpcError | None], object]) -> None:
        self._wait(self._acknowledged, lsn, callback)

    def when_visible(self, lsn: int, callback: Callable[[RpcError | None], object]) -> None:
        self._wait(self._visible, lsn, callback)

    def _wait(self, waiters: Waiters, lsn: int, callback: Any) -> None:
        if self.is_primary and self.acknowledged_lsn >= lsn:
            callback(None)
        else:
            waiters.add(lsn, 1, callback)

    def acknowledge(self, lsn: int) -> None:
        self.acknowledged_lsn = lsn
        for waiters in (self._acknowledged, self._visible):
            waiters.reached(lsn, 1, True)

    def lose_role(self) -> None:
        self.is_primary = False
        for waiters in (self._acknowledged, self._visible):
            waiters.reached(self.acknowledged_lsn, 1, False)


class Words:
    """The state is words; each at most once. `id word` is remembered, `same` changes nothing."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.known: dict[str, int] = {}
        self.done = self.turned_down = 0
        self.most = MAX_GROUP

    def execute(self, asked: Sequence[str], lsn: int) -> Group:
        outcomes, added = list[Outcome](), list[str]()
        for request in asked[: self.most]:
            request_id, _, word = request.rpartition(" ")
            if request_id and request_id in self.known:
                outcomes.append(Outcome(word, None, self.known[request_id]))
            elif word in self.words:
                outcomes.append(Outcome(None, RpcError("refused", f"{word} is there")))
            else:
                if word != "same":
                    self.words.append(word)
                    added.append(word)
                    self.known[request_id] = lsn
                outcomes.append(Outcome(word))
        return Group(outcomes, " ".join(added).encode() if added else None)

    def answer(self, results: Any, lsn: int) -> dict[str, Any]:
        return {"results": results, "lsn": lsn}

    def acknowledged(self, requests: int, seconds: float) -> None:
        self.done += requests

    def refused(self, requests: int) -> None:
        self.turned_down += requests


class Clock:
    """Timers ring when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def monotonic_s(self) -> float:
        return self.now_s

    def call_at(self, at_s: float, callback: Callable[[], object]) -> Any:
        timer = (at_s, callback)
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: timer in self.timers and self.timers.remove(timer))


class Rig:
    def __init__(self) -> None:
        self.log, self.words, self.clock = Log(), Words(), Clock()
        self.reached: list[str] = []
        self.afterwards: list[Callable[[], object]] | None = None
        """What is called when all that arrives now is handed out; None: at once."""
        network = SimpleNamespace(after_arrivals=self.after_arrivals)
        ctx: Any = SimpleNamespace(clock=self.clock, reached=self.reached.append, network=network)
        driver: Any = self.log
        self.gathering = Gathering[str](ctx, driver, self.words)

    def after_arrivals(self, call: Callable[[], object]) -> None:
        if self.afterwards is None:
            call()
        else:
            self.afterwards.append(call)

    def arrive(self, *requests: str) -> None:
        """All at once, as a world may hand them out."""
        self.afterwards = []
        self.add(*requests)
        called, self.afterwards = self.afterwards, None
        for call in called:
            call()

    def add(self, *requests: str) -> list[Future]:
        return [self.gathering.add(each) for each in requests]

    def write(self, *requests: str) -> list[Future]:
        futures = self.add(*requests)
        self.gathering.flush()
        return futures


@pytest.fixture
def rig() -> Rig:
    return Rig()


def said(future: Future) -> Any:
    """What the client has heard: a result with its LSN, an error's code, or nothing yet."""
    if not future.settled:
        return None
    if future.error is not None:
        return future.error.code
    return future.result["results"], future.result["lsn"]


def test_what_came_together_is_one_record_and_is_answered_when_that_is_acknowledged(rig: Rig):
    futures = rig.write("a", "b", "c")
    assert rig.log.records == [b"a b c"]
    assert [said(each) for each in futures] == [None, None, None]
    rig.log.acknowledge(1)
    assert [said(each) for each in futures] == [("a", 1), ("b", 1), ("c", 1)]
    assert rig.words.done == 3


def test_a_refusal_among_others_is_its_own_and_rests_on_the_record_it_saw(rig: Rig):
    first, again, third = rig.write("a", "a", "b")
    assert rig.log.records == [b"a b"]
    assert said(again) is None, "the `a` that it saw may be lost yet"
    rig.log.acknowledge(1)
    assert (said(first), said(again), said(third)) == (("a", 1), "refused", ("b", 1))
    assert (rig.words.done, rig.words.turned_down) == (2, 1)


@pytest.mark.parametrize(
    ("requests", "states"),
    [
        (["a"], []),
        (["a", "b"], [reach.GROUP]),
        (["a", "a"], [reach.MIXED, reach.REFUSED_OPEN]),
        (["1 a", "1 a"], [reach.GROUP, reach.REPEATED]),
    ],
)
def test_it_says_which_of_the_states_that_matter_a_group_was_in(rig: Rig, requests, states):
    rig.write(*requests)
    assert rig.reached == states


def test_a_retry_of_what_is_on_its_way_is_another_state_than_one_of_what_is_done(rig: Rig):
    rig.write("1 a")
    rig.write("1 a")
    rig.log.acknowledge(1)
    rig.write("1 a")
    assert rig.reached == [reach.REPEATED_OPEN, reach.REPEATED_DONE]


def test_a_group_that_changes_nothing_is_no_record_and_rests_on_what_was_before(rig: Rig):
    rig.write("a")
    refused, same = rig.write("a", "same")
    assert rig.log.records == [b"a"]
    assert (said(refused), said(same)) == (None, None)
    rig.log.acknowledge(1)
    assert (said(refused), said(same)) == ("refused", ("same", 1))


def test_a_retry_inside_a_group_is_not_done_twice_and_has_the_answer_of_the_first(rig: Rig):
    first, again = rig.write("r1 a", "r1 a")
    assert rig.log.records == [b"a"]
    rig.log.acknowledge(1)
    assert said(first) == said(again) == ("a", 1)


def test_a_retry_of_an_earlier_record_names_that_record_and_waits_for_it(rig: Rig):
    rig.write("r1 a")
    again, other = rig.write("r1 a", "b")
    assert rig.log.records == [b"a", b"b"]
    rig.log.acknowledge(1)
    assert (said(again), said(other)) == (("a", 1), None)
    rig.log.acknowledge(2)
    assert said(other) == ("b", 2)


def test_if_the_log_does_not_take_the_record_nobody_in_the_group_has_done_anything(rig: Rig):
    (earlier,) = rig.write("r1 a")
    rig.log.refusal = RpcError("overloaded", "too many records")
    futures = rig.write("b", "b", "r1 a")
    assert rig.log.rebuilt == 1
    assert [said(each) for each in futures] == ["overloaded", "overloaded", None]
    rig.log.acknowledge(1)
    assert said(earlier) == said(futures[2]) == ("a", 1), "a retry rests on what was before"
    errors = [each.error for each in futures[:2]]
    assert errors[0] is not errors[1]


def test_whoever_loses_its_role_knows_of_no_write_and_takes_back_every_refusal(rig: Rig):
    done, refused = rig.write("a", "a")
    rig.log.lose_role()
    assert (said(done), said(refused)) == ("unknown_outcome", "unavailable")
    with pytest.raises(RpcError, match="may be b"):
        rig.add("b")


def test_what_waits_as_the_primary_may_not_write_any_more_was_not_done(rig: Rig):
    futures = rig.add("a", "b")
    rig.log.can_write = False
    rig.gathering.flush()
    assert [said(each) for each in futures] == ["unavailable", "unavailable"]
    assert rig.words.words == []


def test_more_than_may_wait_are_refused_and_none_of_the_others_is(rig: Rig):
    futures = rig.add(*(f"w{number}" for number in range(MAX_WAITING)))
    with pytest.raises(RpcError, match="wait already"):
        rig.add("one more")
    rig.gathering.flush()
    assert len(rig.log.records) == -(-MAX_WAITING // MAX_GROUP)
    rig.log.acknowledge(len(rig.log.records))
    assert all(said(each)[0] == f"w{number}" for number, each in enumerate(futures))


def test_a_family_that_takes_less_than_the_group_goes_on_with_the_rest(rig: Rig):
    rig.words.most = 2
    rig.write("a", "b", "c")
    assert rig.log.records == [b"a b", b"c"]


async def test_a_group_waits_for_the_one_before_but_no_longer_than_a_moment(rig: Rig, nursery):
    import trio.testing

    nursery.start_soon(rig.gathering.run)
    rig.add("a")
    await trio.testing.wait_all_tasks_blocked()
    assert rig.log.records == [b"a"]
    rig.add("b", "c")
    await trio.testing.wait_all_tasks_blocked()
    assert rig.log.records == [b"a"]
    ((at_s, ring),) = rig.clock.timers
    assert at_s == GATHER_S
    ring()
    await trio.testing.wait_all_tasks_blocked()
    assert rig.log.records == [b"a", b"b c"]
    rig.add("d")
    rig.log.acknowledge(2)
    await trio.testing.wait_all_tasks_blocked()
    assert rig.log.records[2:] == [b"d"]
    rig.add(*map(str, range(MAX_GROUP)))  # a whole group waits for nobody
    await trio.testing.wait_all_tasks_blocked()
    assert len(rig.log.records) == 4


def test_as_many_as_before_that_arrive_together_wait_for_no_turn_of_the_scheduler(rig: Rig):
    rig.arrive("a", "b", "c")
    assert rig.log.records == [b"a b c"]
    rig.arrive("d", "e", "f")  # held: the group before is on its way
    assert len(rig.log.records) == 1
    rig.log.acknowledge(1)
    rig.gathering.flush()
    rig.log.acknowledge(2)
    rig.arrive("g", "h")  # others are likely to follow
    assert len(rig.log.records) == 2
    rig.arrive("i")
    assert rig.log.records[2:] == [b"g h i"]


async def test_what_goes_wrong_in_anothers_task_ends_the_gathering_and_not_that(rig: Rig):
    def execute(asked: Sequence[str], lsn: int) -> Group:
        raise ValueError("a mistake")

    rig.words.execute = execute  # type: ignore[method-assign]
    rig.arrive("a")
    with pytest.raises(ValueError, match="a mistake"):
        await rig.gathering.run()


# --- whoever executes at once ----------------------------------------------------------------


def future_of(result: Any) -> Future:
    future = Future()
    future.result = result
    return future


def test_a_read_rests_on_the_record_that_it_saw_and_the_family_hears_of_it_first():
    log, heard = Log(), []
    driver: Any = log
    commits = Commits(driver, heard.append)
    first, read, second = map(future_of, ("first", "read", "second"))
    commits.join(first)
    commits.close(b"1")
    commits.rest_on(1, read)
    commits.join(second)
    commits.close(b"2")
    first.when_settled(lambda: heard.append("first"))
    log.acknowledge(1)
    assert heard == [1, "first"]
    assert (read.settled, second.settled) == (True, False)
    log.acknowledge(2)
    assert second.settled and second.error is None


def test_a_record_of_another_epoch_at_the_same_place_does_not_answer_for_the_first():
    log = Log()
    driver: Any = log
    commits = Commits(driver)
    old, new, read = map(future_of, ("old", "new", "read"))
    commits.join(old)
    commits.close(b"old")
    log.records.clear()  # it was cut, and we are primary again before anybody was told
    commits.join(new)
    assert commits.close(b"new") == 1
    commits.rest_on(1, read)
    assert [len(each) for each in commits._resting.values()] == [2]
    log.lose_role()
    assert not commits._resting
    assert all(each.error is not None for each in (old, new, read))
