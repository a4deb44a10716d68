"""A verdict as JUnit XML, which CI systems show: a case for each expectation of a run, or for each
seed of a campaign. Pure text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from emu.verdict.finished import heading, named_losses
from emu.verdict.summary import LOST

CHECKS: Final = "what clients were promised"
TRUST: Final = "the laptop kept up"
NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(NamedTuple):
    """One line of a suite: passed, failed (why), or skipped, as nobody could tell (why)."""

    name: str
    failed: str = ""
    skipped: str = ""
    details: str = ""
    """Beneath why it failed: several lines."""


def suite(name: str, cases: Iterable[Case], took_s: float) -> str:
    """The whole file."""
    found = list(cases)
    failed = sum(bool(each.failed) for each in found)
    skipped = sum(bool(each.skipped) for each in found)
    counts = f'tests="{len(found)}" failures="{failed}" errors="0" skipped="{skipped}"'
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<testsuites>",
        f'<testsuite name={_quoted(name)} {counts} time="{took_s:.3f}">',
        *(line for each in found for line in _case(name, each)),
        "</testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines) + "\n"


def _case(suite_name: str, case: Case) -> Iterator[str]:
    opening = f"<testcase classname={_quoted(f'emu.{suite_name}')} name={_quoted(case.name)}"
    if case.failed:
        text = escape(_plain(case.details))
        yield f"{opening}><failure message={_quoted(case.failed)}>{text}</failure></testcase>"
    elif case.skipped:
        yield f"{opening}><skipped message={_quoted(case.skipped)}/></testcase>"
    else:
        yield f"{opening}/>"


def _quoted(text: str) -> str:
    return quoteattr(_plain(text))


def _plain(text: str) -> str:
    """Without the characters that no XML may hold."""
    return NOT_XML.sub("\ufffd", text)


def cases_of(summary: Mapping[str, Any], *, strict: bool) -> Iterator[Case]:
    """A run's: its consistency, each expectation, and whether it can be believed. `strict`: what
    cannot be believed, or told, has failed."""
    yield _maybe(CHECKS, _checks(summary), "; ".join(summary["undecided"]), strict)
    for each in summary["expectations"]:
        yield _expectation(summary, each, strict)
    doubts = "" if summary["trustworthy"] else "; ".join(summary["reasons"]) or "untrusted"
    yield _maybe(TRUST, ("", ""), doubts, strict)


def _checks(summary: Mapping[str, Any]) -> tuple[str, str]:
    anomalies = summary["anomalies"]
    if not anomalies:
        return "", ""
    lines = [heading(each) for each in anomalies]
    return lines[0], "\n".join(lines)


def _expectation(summary: Mapping[str, Any], judged: Mapping[str, Any], strict: bool) -> Case:
    name = judged["text"]
    if judged["held"] is None:
        return _maybe(name, ("", ""), "the run was not judged to its end", strict)
    if judged["held"]:
        return Case(name)
    details = "\n".join(named_losses(summary)) if name.startswith(LOST) else ""
    return Case(name, judged["told"], details=details)


def _maybe(name: str, failed: tuple[str, str], doubt: str, strict: bool) -> Case:
    why, details = failed
    if why or not doubt:
        return Case(name, why, details=details)
    return Case(name, failed=doubt) if strict else Case(name, skipped=doubt)
