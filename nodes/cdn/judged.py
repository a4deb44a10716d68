"""How what clients saw through an edge is judged: nothing older than declared, nothing that was
purged before, nothing of another user, nothing in part for the whole. Pure.

What they saw are pages that say of themselves when they were made, and for whom (workloads.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from nodes.history import Did, Found, Model

PAGES: Final = "pages"
READ: Final = "read"
PURGE: Final = "purge"
ALL: Final = "all"
"""A purge that binds every machine of that name: the shields behind it have heard of it, too."""
FIRST: Final = "first"
"""One that its edge alone knows of, on its disk: whoever comes in its place does not."""
NONE: Final = "none"
SLACK_S: Final = 0.5
DRIFT_RATIO: Final = 0.1
"""Clocks of clients and origin may differ by so much of the time that passed."""


def wrong(operations: Sequence[Did]) -> Iterator[Found]:
    """Of one URL at one edge."""
    purges = [each for each in operations if each.f == PURGE and each.is_ok]
    for read in operations:
        if read.f != READ or not read.is_ok or not isinstance(read.result, Mapping):
            continue
        text = _unlike(read.value, read.result) or _too_old(read.result)
        if text:
            yield Found(f"{read.key}: {text}", [read])
            continue
        for purge in purges:
            if (
                purge.end < read.begin
                and _binds(purge, read)
                and _is_from_before(read.result, purge)
            ):
                made_s, asked_s = read.result["made_s"], purge.result["asked_s"]
                text = f"a page of {made_s:.2f} s is served after a purge at {asked_s:.2f} s"
                yield Found(f"{read.key}: {text}", [purge, read])
                break


def _unlike(asked: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """What is not for whoever asked."""
    for name in ("user", "language", "range"):
        if told.get(name) != asked.get(name):
            return f"{name} {asked.get(name)!r} was answered with that of {told.get(name)!r}"
    return str(told.get("damage", ""))


def _too_old(told: Mapping[str, Any]) -> str:
    age_s = told["asked_s"] - told["made_s"]
    most_s = told["allowed_s"] + told["same_s"] + _doubt_s(told["asked_s"])
    if age_s <= most_s:
        return ""
    return f"it is {age_s:.2f} s old, and may be served for {told['allowed_s']:g} s"


def _binds(purge: Did, read: Did) -> bool:
    binds = purge.result["binds"]
    return bool(binds == ALL or (binds == FIRST and read.result["first"]))


def _is_from_before(told: Mapping[str, Any], purge: Did) -> bool:
    asked_s = purge.result["asked_s"]
    return bool(told["made_s"] + told["same_s"] < asked_s - _doubt_s(asked_s))


def _doubt_s(until_s: float) -> float:
    return SLACK_S + DRIFT_RATIO * until_s


MODEL: Final = Model(wrong, operations=(READ, PURGE))
