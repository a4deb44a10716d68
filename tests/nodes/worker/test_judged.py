"""How work is judged, on histories made by hand."""

from __future__ import annotations

from typing import Any

from emu.checks import check, count
from emu.checks.history import Operation, Recorder
from nodes.site.jobs import REPEATED
from nodes.worker.judged import AT_LEAST_ONCE, JOBS, MODEL


class Told:
    """A history in the making."""

    def __init__(self) -> None:
        self.recorder = Recorder(lambda: 0.0)
        self.number = 0
        self.look(0)

    def begin(self, f: str, value: Any = None) -> Operation:
        self.number += 1
        return self.recorder.invoke(f"hands-1.1/{self.number}", f, value, "t", model=JOBS)

    def work(self, offset: int, *, time_ms: int = 7, key: str = "k", result: Any = None) -> None:
        self.begin("work", [0, offset, time_ms, key]).ok(result)

    def look(
        self,
        end: int,
        *,
        undone: int = 0,
        given_up: Any = (),
        start: int = 0,
        floor: int | None = None,
        **words: bool,
    ) -> None:
        rows = [[0, start, end if floor is None else floor, end, undone, list(given_up)]]
        self.begin("standing").ok({"partitions": rows, "ordered": False, "drops": False, **words})

    def problems(self, guarantee: str = "") -> list[str]:
        found = check(self.recorder.operations, JOBS, guarantee=guarantee, models={JOBS: MODEL})
        return [each.text for each in found.anomalies]

    def counted(self) -> dict[str, int | None]:
        return count(self.recorder.operations, MODEL)


def test_what_nobody_did_is_lost_unless_it_was_given_up() -> None:
    told = Told()
    told.work(0)
    told.look(3, given_up=[2])
    assert told.problems() == ["partition 0 offset 1 was lost: nobody did that job"]
    assert told.counted() == {
        "lost_jobs": 1, "duplicated_jobs": 0, "reordered_jobs": 0, "given_up_jobs": 1,
    }  # fmt: skip


def test_a_job_whose_end_nobody_knows_was_not_done_if_the_store_lacks_it() -> None:
    told = Told()
    told.work(0)
    told.begin("work", [0, 1, 7, "k"]).info("timeout")
    told.work(2, result=REPEATED)
    told.look(3)
    assert told.problems() == []
    told.begin("effects").ok([[0, 0, 7, 1]])
    assert told.problems() == ["partition 0 offset 1 was lost: nobody did that job"]


def test_nothing_is_said_of_losses_while_something_is_undone() -> None:
    told = Told()
    told.look(3, undone=1)
    assert told.problems() == [] and told.counted()["lost_jobs"] is None


def test_an_attempt_whose_end_is_not_known_may_have_done_it() -> None:
    told = Told()
    told.begin("work", [0, 0, 7, "k"])
    told.begin("work", [0, 1, 7, "k"]).info("timeout")
    told.begin("work", [0, 2, 7, "k"]).fail("refused")
    told.look(3)
    assert told.problems() == ["partition 0 offset 2 was lost: nobody did that job"]


def test_a_second_effect_is_a_duplicate_and_a_repetition_without_one_is_none() -> None:
    told = Told()
    told.work(0)
    told.work(0)
    told.work(1)
    told.work(1, result=REPEATED)
    told.look(2)
    (problem,) = told.problems()
    assert problem.startswith("partition 0 offset 0 was done 2 times, by hands-1.1/2 and ")
    assert told.problems(AT_LEAST_ONCE) == [] and told.counted()["duplicated_jobs"] == 1


def test_another_record_at_an_offset_that_was_cut_off_is_no_duplicate() -> None:
    told = Told()
    told.work(0, time_ms=7)
    told.work(0, time_ms=9)
    told.look(1)
    assert told.problems() == []


def test_the_store_knows_best_how_often_an_effect_is_there() -> None:
    told = Told()
    told.begin("work", [0, 0, 7, "k"])  # it died, after its effect
    told.work(0)
    told.work(1)
    told.begin("effects").ok([[0, 0, 7, 2], [0, 1, 7, 1]])
    told.look(2)
    assert len(told.problems()) == 1 and told.counted()["duplicated_jobs"] == 1


def test_a_keys_jobs_are_in_order_where_their_topic_is_ordered() -> None:
    told = Told()
    told.work(1, key="a")
    told.work(0, key="b")
    told.work(3, key="a")
    told.work(2, key="a")
    told.look(4, ordered=True)
    assert told.problems() == ["partition 0: offset 2 of key 'a' was done after 3"]
    told.look(4)
    assert told.problems() == [] and told.counted()["reordered_jobs"] == 1


def test_what_a_topic_may_drop_is_counted_and_no_anomaly() -> None:
    told = Told()
    told.look(2, start=1, drops=True)
    assert told.problems() == ["partition 0 offset 1 was lost: nobody did that job"]
    assert told.counted()["lost_jobs"] == 2


def test_what_was_there_before_the_run_is_not_its_own() -> None:
    told = Told()
    told.recorder = Recorder(lambda: 0.0)
    told.look(5)
    told.work(5)
    told.look(6)
    assert told.problems() == []


def test_what_nobody_had_done_when_workers_came_is_the_runs_own() -> None:
    told = Told()
    told.recorder = Recorder(lambda: 0.0)
    told.look(5, floor=3, undone=2)
    told.work(4)
    told.look(5)
    assert told.problems() == ["partition 0 offset 3 was lost: nobody did that job"]


def test_of_a_group_with_holes_only_what_comes_later_can_be_told() -> None:
    told = Told()
    told.recorder = Recorder(lambda: 0.0)
    told.look(5, floor=3, undone=1)
    told.work(4)
    told.look(5)
    assert told.problems() == []
