"""What a weaker guarantee refuses, no order of the changes could explain: against all orders."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import Any

import pytest

from emu.checks import check
from emu.checks.history import FAIL, Operation, Recorder
from emu.checks.objects import effect
from emu.checks.search import ILLEGAL
from emu.checks.sessions import READS

HISTORIES = int(os.environ.get("EMU_SOAK_HISTORIES", "100000"))
SAMPLE = 1500
SESSIONS = ("read-your-writes", "monotonic-reads", "session")


def asked(rng: random.Random, model: str) -> tuple[str, Any]:
    if model == "list-append":
        return ("append", rng.randrange(4)) if rng.random() < 0.5 else ("read", None)
    f = rng.choice({"register": ("write", "read"), "cas-register": ("write", "read", "cas")}.get(
        model, ("set", "get", "cas", "delete", "incr", "append")))  # fmt: skip
    if f == "cas":
        return f, [rng.choice((None, 0, 1, 2)), rng.randrange(3)]
    values = {"incr": None, "append": "a", "write": rng.randrange(3), "set": rng.randrange(3)}
    return f, values.get(f)


def answered(rng: random.Random, f: str, value: Any, model: str) -> Any:
    if model == "list-append":
        return value if f == "append" else [rng.randrange(4) for _ in range(rng.randrange(4))]
    match f:
        case "cas":
            return [*value, rng.random() < 0.5]
        case "delete":
            return rng.choice((True, False, None))
        case "incr":
            return rng.randrange(4)
        case "read" | "get":
            return rng.choice((None, 0, 1, 2, 3, "1", "1a"))
    return value


def history(rng: random.Random, model: str) -> list[Operation]:
    """A few operations of two or three clients, in any order, with any answers."""
    recorder = Recorder(lambda: 0.0)
    running: dict[int, Operation] = {}
    left = rng.choice((3, 4, 5, 6))
    while left or running:
        client = rng.randrange(3)
        if client not in running:
            if left:
                left -= 1
                running[client] = recorder.invoke(str(client), *asked(rng, model))
        else:
            operation = running.pop(client)
            chance = rng.random()
            if chance < 0.08:
                operation.info()
            elif chance < 0.14:
                operation.fail("refused")
            else:
                operation.ok(answered(rng, operation.f, operation.value, model))
    return recorder.operations


def states_of(order: Sequence[Operation]) -> list[Any] | None:
    """After each change, from none on; None if an answer does not fit."""
    states: list[Any] = [None]
    for operation in order:
        done = effect(operation)
        after = states[-1] if done is None else done.apply(states[-1])
        if after is ILLEGAL:
            return None
        states.append(after)
    return states


def orders(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    """Of the changes: whatever real time allows, with and without those of unknown outcome."""
    changes = [each for each in operations if each.f not in READS and each.outcome != FAIL]
    unknown = [each for each in changes if not each.is_ok]
    for chosen in product((True, False), repeat=len(unknown)):
        left_out = [each for each, take in zip(unknown, chosen, strict=True) if not take]
        for order in permutations(each for each in changes if each not in left_out):
            pairs = (
                (one, order[place]) for place in range(len(order)) for one in order[place + 1 :]
            )
            if all(later.end > earlier.begin for later, earlier in pairs):
                yield order


def is_explained(operations: Sequence[Operation], guarantee: str) -> bool:
    """Whether some order of the changes gives each client what it saw, from replicas that lag."""
    for order in orders(operations):
        states = states_of(order)
        if states is not None and all(
            sees(client, operations, order, states, guarantee)
            for client in dict.fromkeys(each.process for each in operations)
        ):
            return True
    return False


def sees(
    client: Any, operations: Sequence[Operation], order: Any, states: list[Any], guarantee: str
) -> bool:
    """Each of its reads takes the earliest state that it may: those behind stay possible. Nobody
    reads what has not begun."""
    own_writes = guarantee != "monotonic-reads"
    backwards = guarantee == "read-your-writes"
    least = read_least = 0
    mine = [each for each in operations if each.process == client and each.is_ok]
    for operation in sorted(mine, key=lambda each: each.begin):
        if operation.f not in READS:
            if own_writes:
                least = max(least, order.index(operation) + 1)
            continue
        begin = least if backwards else max(least, read_least)
        fits = effect(operation)
        assert fits is not None
        begun = [each.begin < operation.end for each in order]
        place = next(
            (at for at in range(begin, len(states))
             if all(begun[:at]) and fits.apply(states[at]) is not ILLEGAL), None
        )  # fmt: skip
        if place is None:
            return False
        read_least = max(read_least, place)
    return True


def refuses_nothing_sound(model: str, guarantee: str, count: int, seed: int) -> tuple[int, int]:
    rng = random.Random(f"{model}/{guarantee}/{seed}")
    refused = sound = 0
    for _ in range(count):
        operations = history(rng, model)
        valid = not check(operations, model, guarantee=guarantee).anomalies
        explained = is_explained(operations, guarantee)
        assert valid or not explained, [
            (each.process, each.f, each.value, each.outcome, each.result, each.begin, each.end)
            for each in operations
        ]
        refused += not valid
        sound += explained
    return refused, sound


MODELS = ("register", "cas-register", "kv", "list-append")


@pytest.mark.parametrize("guarantee", (*SESSIONS, "monotonic-writes"))
@pytest.mark.parametrize("model", MODELS)
def test_no_history_is_refused_that_some_order_explains(model, guarantee):
    refused, sound = refuses_nothing_sound(model, guarantee, SAMPLE // 4, 0)
    assert sound > 20
    assert refused or guarantee == "monotonic-writes" or model == "kv"


@pytest.mark.soak
@pytest.mark.parametrize("guarantee", (*SESSIONS, "monotonic-writes"))
@pytest.mark.parametrize("model", MODELS)
def test_of_many_histories_none_is_refused_that_some_order_explains(model, guarantee):
    refuses_nothing_sound(model, guarantee, HISTORIES // len(MODELS), 1)
