"""The checkers against each other and against trying every order, on random histories."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from emu.checks import check
from emu.checks.history import FAIL, Operation
from emu.checks.lists import list_effect
from emu.checks.objects import ABSENT, check_object, effect
from emu.checks.search import ILLEGAL, Effect, Model, linearize
from emu.checks.zones import check_zones
from tests.checks.random_histories import (
    few_values,
    history,
    listed,
    puts_and_takes,
    queued,
    register,
    scrambled,
    unique_appends,
    unique_writes,
)


def in_some_order(operations: Sequence[Operation], model: Model, initial: Any) -> bool:
    """Whether any order of what happened (and of some of what may have) explains everything."""
    known = [each for each in operations if each.is_ok]
    maybe = [each for each in operations if each.outcome not in ("ok", FAIL)]
    for chosen in range(1 << len(maybe)):
        some = [each for place, each in enumerate(maybe) if chosen >> place & 1]
        if any(fits(order, model, initial) for order in permutations([*known, *some])):
            return True
    return False


def fits(order: Sequence[Operation], model: Model, state: Any) -> bool:
    for place, operation in enumerate(order):
        if any(later.end < operation.begin for later in order[place + 1 :]):
            return False
        change = model(operation)
        state = state if change is None else change.apply(state)
        if state is ILLEGAL:
            return False
    return True


SEEDS = st.integers(0, 2**32)


@settings(max_examples=300, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.3]))
def test_zones_search_and_every_order_agree_on_registers(seed, lies, losses):
    operations = history(
        random.Random(seed), register, unique_writes,
        clients=3, operations=6, lies=lies, losses=losses,
    )  # fmt: skip
    wanted = in_some_order(operations, effect, ABSENT)
    assert (not list(check_zones(operations))) is wanted
    assert (linearize(operations, effect, ABSENT) is None) is wanted


@settings(max_examples=300, deadline=None)
@given(SEEDS, st.integers(2, 7))
def test_zones_search_and_every_order_agree_on_nonsense(seed, size):
    operations = scrambled(random.Random(seed), operations=size)
    wanted = in_some_order(operations, effect, ABSENT)
    assert (not list(check_zones(operations))) is wanted
    assert (linearize(operations, effect, ABSENT) is None) is wanted


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.3]))
def test_search_and_every_order_agree_on_compare_and_set(seed, lies, losses):
    operations = history(
        random.Random(seed), register, few_values,
        clients=3, operations=6, lies=lies, losses=losses,
    )  # fmt: skip
    wanted = in_some_order(operations, effect, ABSENT)
    assert (not list(check_object(operations))) is wanted


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.3]))
def test_slots_search_and_every_order_agree_on_lists(seed, lies, losses):
    operations = history(
        random.Random(seed), listed, unique_appends,
        clients=3, operations=6, lies=lies, losses=losses, initial=[],
    )  # fmt: skip
    wanted = in_some_order(operations, list_effect, ())
    assert (check(operations, "list-append").valid is True) is wanted
    assert (linearize(operations, list_effect, ()) is None) is wanted


def queue_effect(operation: Operation) -> Effect | None:
    def put(state: Any) -> Any:
        return (*state, operation.value)

    def take(state: Any) -> Any:
        if not operation.is_ok:
            return state[1:]
        first = state[0] if state else None
        return state[1:] if operation.result == first else ILLEGAL

    return Effect(put if operation.f == "enqueue" else take)


@settings(max_examples=500, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.3, 1.0]))
def test_the_queue_checker_and_every_order_agree(seed, lies):
    operations = history(
        random.Random(seed), queued, puts_and_takes,
        clients=3, operations=6, lies=lies, initial=[],
    )  # fmt: skip
    wanted = in_some_order(operations, queue_effect, ())
    assert (check(operations, "queue").valid is True) is wanted


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.3]))
def test_what_the_queue_checker_refuses_no_order_explains(seed, lies):
    operations = history(
        random.Random(seed), queued, puts_and_takes,
        clients=3, operations=6, lies=lies, losses=0.3, initial=[],
    )  # fmt: skip
    if in_some_order(operations, queue_effect, ()):
        assert check(operations, "queue").valid is True


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.02]), st.sampled_from([0.0, 0.1]))
def test_zones_and_search_agree_on_longer_histories(seed, lies, losses):
    operations = history(
        random.Random(seed), register, unique_writes,
        clients=4, operations=60, lies=lies, losses=losses,
    )  # fmt: skip
    assert (not list(check_zones(operations))) is (linearize(operations, effect, ABSENT) is None)


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.sampled_from(["register", "list"]))
def test_what_an_anomaly_shows_is_wrong_by_itself(seed, kind):
    """The operations that are named are enough: no others are needed to see that it cannot be."""
    simulate, asks, initial, model = {
        "register": (register, unique_writes, None, "register"),
        "list": (listed, unique_appends, [], "list-append"),
    }[kind]
    operations = history(
        random.Random(seed), simulate, asks, clients=4, operations=40, lies=0.2, initial=initial
    )
    result = check(operations, model)
    for anomaly in result.anomalies:
        assert len(anomaly.operations) <= 4
        if kind == "register":
            assert not check(anomaly.operations, model).valid
