"""A register that is judged piece by piece is judged as the whole is."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from emu.checks.history import NEVER, Operation
from emu.checks.objects import ABSENT, effect
from emu.checks.search import linearize
from emu.checks.windows import LongObject
from tests.checks.histories import did, info, invoke, recorded, saw
from tests.checks.random_histories import few_values, history, register, unique_writes

SEEDS = st.integers(0, 2**32)


def in_pieces(rng: random.Random, operations: list[Operation]) -> tuple[list[Any], int]:
    """What was found, and how many operations were kept at most."""
    judge, kept, most = LongObject(), [], 0
    found: list[Any] = []
    for number, operation in enumerate(operations, start=1):
        kept.append(operation)
        now = operations[number].begin if number < len(operations) else NEVER
        if rng.random() < 0.4:
            some, kept = judge.take(kept, lambda each, now=now: _ended_by(each, now))
            found += some
        most = max(most, len(kept))
    found += judge.end(kept)
    assert judge.operations == len(operations)
    return found, most


def _ended_by(operation: Operation, now: int) -> bool:
    return operation.completed is not None and operation.completed < now


@settings(max_examples=60, deadline=None)
@given(
    SEEDS,
    st.sampled_from([few_values, unique_writes]),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from([0.0, 0.2]),
)
def test_pieces_are_judged_as_the_whole(seed, asks, lies, losses):
    rng = random.Random(seed)
    operations = history(rng, register, asks, clients=3, operations=30, lies=lies, losses=losses)
    whole = linearize(operations, effect, ABSENT)
    assert bool(in_pieces(rng, operations)[0]) == (whole is not None)


def test_a_few_operations_are_kept_of_many():
    operations = history(random.Random(4), register, unique_writes, clients=2, operations=600)
    found, most = in_pieces(random.Random(4), operations)
    assert not found and most < 60


def test_what_may_still_happen_is_carried_on():
    late = [invoke("a", "write", 7), info("a"), *[did("b", "write", n) for n in range(9)]]
    assert not in_pieces(random.Random(1), recorded(*late, saw("b", "read", 7)).operations)[0]
    twice = [saw("b", "read", 7), did("b", "write", 9), saw("b", "read", 7)]
    (finding,) = in_pieces(random.Random(1), recorded(*late, *twice).operations)[0]
    assert finding.text.startswith("read → 7 by b at 26 s cannot be: in every order that fits all")
