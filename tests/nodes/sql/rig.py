"""SQL states for tests, and one transaction at a time on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import count
from typing import Any, Final, NamedTuple

from nodes.sql.copy import Scratch
from nodes.sql.state import SqlState, Transaction

NAMES: Final = count()


class Done(NamedTuple):
    results: list[dict[str, Any]]
    record: bytes | None
    repeated_lsn: int | None


def state(now_s: float = 1e9, scratch: Scratch = nullcontext) -> SqlState:
    name = f"test-{next(NAMES)}"
    return SqlState(name, lambda: now_s, random.Random(1), scratch=scratch)


def with_table() -> SqlState:
    made = state()
    executed(made, ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, n INTEGER)"], 1)
    return made


def executed(made: SqlState, statements: Sequence[Any], lsn: int, request_id: str = "") -> Done:
    """Raises what it is refused with."""
    (outcome,), record = made.execute([Transaction(statements, request_id)], lsn)
    if outcome.refusal is not None:
        raise outcome.refusal
    return Done(outcome.results, record, outcome.repeated_lsn)
