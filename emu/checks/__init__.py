"""Consistency checkers: a history in, anomalies out, each with the operations that show it.

One module per kind of object; this one picks the checker and takes the history apart by object.
Models of one family alone come with its Kind (registry.py finds them). Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from emu.checks.bank import check_bank
from emu.checks.history import Operation
from emu.checks.lists import check_list
from emu.checks.objects import check_object
from emu.checks.queues import check_queue
from emu.checks.result import Anomaly, Checker, CheckResult, Finding, Undecided, about
from emu.checks.search import MAX_STEPS
from emu.checks.sessions import (
    check_monotonic_reads,
    check_monotonic_writes,
    check_read_your_writes,
    check_session,
)
from emu.checks.sets import check_set
from emu.checks.states import Claim, check_logs, check_owners, check_replicas
from emu.checks.values import freeze
from nodes.history import Found, Model

__all__ = [
    "GUARANTEES",
    "MODELS",
    "Anomaly",
    "CheckResult",
    "Claim",
    "check",
    "check_logs",
    "check_owners",
    "check_replicas",
    "count",
]  # fmt: skip

MODELS: Final = ("register", "cas-register", "kv", "list-append", "set", "queue", "bank")

SESSIONS: Final[dict[str, Checker]] = {
    "session": check_session,
    "read-your-writes": check_read_your_writes,
    "monotonic-reads": check_monotonic_reads,
    "monotonic-writes": check_monotonic_writes,
}
QUEUES: Final[dict[str, Checker]] = {
    "at-least-once": partial(check_queue, once=False),
    "unordered": partial(check_queue, ordered=False),
}
GUARANTEES: Final = (*SESSIONS, *QUEUES)
"""Weaker promises than the model's own, which is linearizable (a queue's: once, and in order)."""
NO_MODELS: Final[Mapping[str, Model]] = {}


class _Judge(Protocol):
    def __call__(self, operations: Sequence[Operation], /) -> Iterable[Finding | Found]: ...


def guarantees_of(models: Mapping[str, Model]) -> tuple[str, ...]:
    """Every weaker promise that a history may be held to, with those of these models."""
    own = (name for model in models.values() for name in model.weaker)
    return tuple(dict.fromkeys((*GUARANTEES, *own)))


def check(
    operations: Sequence[Operation],
    model: str,
    *,
    guarantee: str = "",
    max_steps: int = MAX_STEPS,
    models: Mapping[str, Model] = NO_MODELS,
) -> CheckResult:
    """Judge operations on objects of one model, each object (`key`) by itself.

    `guarantee`: one of GUARANTEES; empty for the model's own. `models`: what there is beside
    MODELS. Raises ValueError for a name that neither has.
    """
    checker = _checker(model, guarantee, max_steps, models)
    result = CheckResult()
    for mine in _by_key(operations).values():
        key = mine[0].key
        try:
            result.anomalies += [
                Anomaly(model, key, each.text, tuple(each.operations)) for each in checker(mine)
            ]
        except Undecided:
            result.unknown.append(
                f"{about(model, key)}: {max_steps} steps were not enough for {len(mine)} operations"
            )
    return result


def count(operations: Sequence[Operation], model: Model | None) -> dict[str, int | None]:
    """What the model counts, of all objects together; None where of one nobody can tell."""
    total: dict[str, int | None] = {}
    if model is None or model.count is None:
        return total
    for mine in _by_key(operations).values():
        for name, number in model.count(mine).items():
            before = total.get(name, 0)
            total[name] = None if number is None or before is None else before + number
    return total


def _checker(model: str, guarantee: str, max_steps: int, models: Mapping[str, Model]) -> _Judge:
    known, promises = (*MODELS, *models), guarantees_of(models)
    if model not in known:
        raise ValueError(f"no checker is called `{model}`; there are: {', '.join(known)}")
    if guarantee and guarantee not in promises:
        raise ValueError(f"no guarantee `{guarantee}`; there are: {', '.join(promises)}")
    if model in models:
        own = models[model]
        return own.weaker.get(guarantee) or SESSIONS.get(guarantee) or own.check
    if guarantee in SESSIONS:
        return SESSIONS[guarantee]
    match model:
        case "list-append":
            return partial(check_list, max_steps=max_steps)
        case "set":
            return check_set
        case "queue":
            return QUEUES.get(guarantee, check_queue)
        case "bank":
            return check_bank
    return partial(check_object, max_steps=max_steps)


def _by_key(operations: Sequence[Operation]) -> dict[Any, list[Operation]]:
    found: dict[Any, list[Operation]] = {}
    for operation in operations:
        found.setdefault(freeze(operation.key), []).append(operation)
    return found
