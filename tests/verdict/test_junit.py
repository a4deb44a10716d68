"""A verdict as CI shows it: every case once, whatever text it holds, and failures by name."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from emu.verdict.finished import Finished
from emu.verdict.junit import Case, cases_of, suite

LOST = {"clients": "users-local", "key": "users-local/1", "value": "post-7", "acknowledged_s": 1.5}


def summary(**fields: Any) -> dict[str, Any]:
    return {
        "anomalies": [],
        "undecided": [],
        "expectations": [],
        "trustworthy": True,
        "reasons": [],
        "lost_writes": [],
        "lost_acknowledged_writes": 0,
        **fields,
    }


def read(cases: list[Case]) -> list[tuple[str, str]]:
    """(name, passed or what was wrong) of each case in the file."""
    root = ET.fromstring(suite("shop", cases, 1.0))
    (found,) = root.iter("testsuite")
    told = []
    for case in found.iter("testcase"):
        inside = list(case)
        told.append((case.get("name", ""), inside[0].tag if inside else "passed"))
    failed = sum(word == "failure" for _, word in told)
    assert (found.get("tests"), found.get("failures")) == (str(len(told)), str(failed))
    return told


def test_a_run_that_went_well_has_no_failure() -> None:
    held = {"text": "availability >= 99%", "held": True, "actual": 1.0}
    cases = list(cases_of(summary(expectations=[held]), strict=True))
    assert [word for _, word in read(cases)] == ["passed"] * 3


def test_a_missed_expectation_names_the_writes() -> None:
    missed = {
        "text": "lost_acknowledged_writes == 0",
        "held": False,
        "actual": 3,
        "told": "it was 3",
    }
    found = summary(expectations=[missed], lost_writes=[LOST], lost_acknowledged_writes=3)
    (case,) = [each for each in cases_of(found, strict=False) if each.failed]
    assert (case.name, case.failed) == ("lost_acknowledged_writes == 0", "it was 3")
    assert case.details.splitlines() == [
        "  lost: post-7 (users-local/1), acknowledged at 1.500 s to users-local",
        "  and 2 more",
    ]


@pytest.mark.parametrize(("strict", "word"), [(False, "skipped"), (True, "failure")])
def test_what_cannot_be_believed_or_told_fails_only_where_that_is_asked(
    strict: bool, word: str
) -> None:
    unknown = {"text": "errors <= 1", "held": None, "actual": None}
    doubtful = summary(
        trustworthy=False, reasons=["too busy"], undecided=["too long"], expectations=[unknown]
    )
    assert [each for _, each in read(list(cases_of(doubtful, strict=strict)))] == [word] * 3


def test_whatever_a_text_holds_the_file_is_xml() -> None:
    wild = "<a> & \"b\" 'c' \x00\x1b[31m \ud800 \uffff ]]> é\n"
    (told,) = read([Case(wild, failed=wild, details=wild)])
    assert told[1] == "failure"


def test_an_assertion_names_what_was_lost_and_what_was_wrong() -> None:
    wrong = {"kind": "state", "text": "replicas differ", "operations": ["op 1"]}
    run = Finished(
        summary(
            lost_writes=[LOST], lost_acknowledged_writes=1, anomalies=[wrong],
            requests=9, ran_s=9.0, not_run=[],
        )
    )  # fmt: skip
    with pytest.raises(AssertionError) as caught:
        run.expect("lost_acknowledged_writes == 0", "errors <= 3")
    assert str(caught.value).splitlines() == [
        "expected lost_acknowledged_writes == 0, it was 1",
        "expected errors <= 3, nothing here measures it",
        "state: replicas differ",
        "    op 1",
        "  lost: post-7 (users-local/1), acknowledged at 1.500 s to users-local",
    ]
    Finished(summary()).expect("lost_acknowledged_writes == 0")
    with pytest.raises(ValueError, match="there is no metric `availabilty`; did you mean"):
        Finished(summary()).expect("availabilty >= 1%")
