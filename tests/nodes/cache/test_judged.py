"""What may be read of a cache, by histories made by hand."""

from __future__ import annotations

from typing import Any

from emu.checks.history import Recorder
from nodes.cache.judged import count, never_older_than_promised


class Told:
    """A history, with its time moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.recorder = Recorder(lambda: self.now_s)
        self._processes = 0

    def begin(self, f: str, value: Any = None) -> Any:
        self._processes += 1
        return self.recorder.invoke(f"p{self._processes}", f, value, "k", model="cached")

    def write(self, version: int, confirmed: bool = True) -> None:
        self.begin("write").ok([version, confirmed])

    def read(self, version: int, *, max_age_s: float = 5.0, strict: bool = True) -> None:
        self.begin("read", [max_age_s, strict]).ok(version)

    def problems(self) -> list[str]:
        return [each.text for each in never_older_than_promised(self.recorder.operations)]


def test_a_read_after_a_confirmed_delete_has_that_write_or_a_later_one() -> None:
    told = Told()
    told.write(1)
    told.read(1)
    told.write(2)
    told.read(2)
    assert told.problems() == []
    told.read(1)
    assert ["its delete for 2 was confirmed" in each for each in told.problems()] == [True]
    assert count(told.recorder.operations) == {"stale_reads": 1}


def test_a_read_that_began_before_the_write_was_over_may_have_the_old_value() -> None:
    told = Told()
    told.write(1)
    write, read = told.begin("write"), told.begin("read", [5.0, True])
    write.ok([2, True])
    read.ok(1)
    assert told.problems() == []


def test_a_delete_that_was_not_confirmed_may_show_until_it_is_too_old() -> None:
    told = Told()
    told.write(1)
    told.now_s = 10.0
    told.write(2, confirmed=False)
    told.now_s = 14.9
    told.read(1)
    assert told.problems() == []
    told.now_s = 15.1
    told.read(1)
    assert ["no older than 5 s" in each for each in told.problems()] == [True]
    told.now_s = 30.0
    told.read(1, max_age_s=60.0)
    told.read(2)
    assert len(told.problems()) == 1


def test_without_leases_only_the_age_is_promised() -> None:
    told = Told()
    told.write(1)
    told.write(2)
    told.read(1, strict=False)
    assert told.problems() == []
    assert count(told.recorder.operations) == {"stale_reads": 1}


def test_nobody_reads_what_nobody_has_begun_to_write() -> None:
    told = Told()
    told.write(1)
    told.begin("write").info("timeout")
    told.read(2)
    assert told.problems() == []
    told.read(3)
    assert ["only 2 writes had begun" in each for each in told.problems()] == [True]
