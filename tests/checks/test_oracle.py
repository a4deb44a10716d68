"""The checkers against each other and against trying every order, on random histories."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from emu.checks import check
from emu.checks.lists import list_effect
from emu.checks.objects import ABSENT, check_object, effect
from emu.checks.search import ILLEGAL, Model, linearize
from emu.checks.zones import check_zones
from emu.history import FAIL, Operation, Recorder

Simulate = Callable[[Any, str, Any], tuple[Any, Any]]
"""(state, f, value) → (state after, answer)."""


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


def history(
    rng: random.Random,
    simulate: Simulate,
    asks: Callable[[random.Random, int], tuple[str, Any]],
    *,
    clients: int,
    operations: int,
    lies: float = 0.0,
    losses: float = 0.0,
    initial: Any = None,
) -> list[Operation]:
    """What `clients` saw of an object; now and then (`lies`) an answer is that of an old state."""
    recorder = Recorder(lambda: 0.0)
    states = [initial]
    running: dict[int, tuple[Operation, list[Any]]] = {}
    asked = 0
    while asked < operations or running:
        client = rng.randrange(clients)
        if client not in running and asked < operations:
            f, value = asks(rng, asked)
            asked += 1
            running[client] = recorder.invoke(f"{client}.{asked}", f, value), []
        elif client in running:
            operation, answer = running[client]
            if not answer:
                after, seen = simulate(states[-1], operation.f, operation.value)
                if rng.random() < lies:
                    _, seen = simulate(rng.choice(states[-4:]), operation.f, operation.value)
                states.append(after)
                answer.append(seen)
            elif rng.random() < 0.7:
                del running[client]
                if rng.random() < losses:
                    operation.info()
                else:
                    operation.ok(answer[0])
    return recorder.operations


def scrambled(rng: random.Random, *, operations: int) -> list[Operation]:
    """Reads and writes that know nothing of each other, in any order."""
    recorder = Recorder(lambda: 0.0)
    starts = list(range(operations)) * 2
    rng.shuffle(starts)
    running: dict[int, Operation] = {}
    for number in starts:
        if number in running:
            operation = running[number]
            read = operation.f == "read"
            operation.ok(rng.choice([None, *range(0, operations, 2)]) if read else None)
        else:
            f, value = ("write", number) if number % 2 == 0 else ("read", None)
            running[number] = recorder.invoke(str(number), f, value)
    return recorder.operations


def register(state: Any, f: str, value: Any) -> tuple[Any, Any]:
    match f:
        case "write":
            return value, value
        case "cas":
            return (value[1] if state == value[0] else state), [*value, state == value[0]]
    return state, state


def unique_writes(rng: random.Random, number: int) -> tuple[str, Any]:
    return ("write", number) if rng.random() < 0.5 else ("read", None)


def few_values(rng: random.Random, number: int) -> tuple[str, Any]:
    f = rng.choice(("write", "read", "cas"))
    if f == "cas":
        return f, [rng.randrange(3), rng.randrange(3)]
    return f, rng.randrange(3) if f == "write" else None


def listed(state: Any, f: str, value: Any) -> tuple[Any, Any]:
    return ([*state, value], value) if f == "append" else (state, state)


def unique_appends(rng: random.Random, number: int) -> tuple[str, Any]:
    return ("append", number) if rng.random() < 0.5 else ("read", None)


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
    verdict = check(operations, model)
    for anomaly in verdict.anomalies:
        assert len(anomaly.operations) <= 4
        if kind == "register":
            assert not check(anomaly.operations, model).valid
