"""True sets, queues and banks never look wrong, however answers get lost; planted faults do."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from emu.checks import check
from emu.checks.history import Operation, Recorder
from tests.checks.random_histories import history

SEEDS = st.integers(0, 2**32)
LOSSES = st.sampled_from([0.0, 0.2])
ACCOUNTS = ("x", "y", "z")


def a_set(state: Any, f: str, value: Any) -> tuple[Any, Any]:
    return ([*state, value], value) if f == "add" else (state, state)


def asks_set(rng: random.Random, number: int) -> tuple[str, Any]:
    return ("add", number) if rng.random() < 0.7 else ("read", None)


def a_queue(state: Any, f: str, value: Any) -> tuple[Any, Any]:
    if f == "enqueue":
        return [*state, value], value
    return state[1:], state[0] if state else None


def asks_queue(rng: random.Random, number: int) -> tuple[str, Any]:
    return ("enqueue", number) if rng.random() < 0.5 else ("dequeue", None)


def a_bank(state: Any, f: str, value: Any) -> tuple[Any, Any]:
    if f == "balances":
        return state, state
    amount = min(value["amount"], state[value["from"]])
    after = dict(state)
    after[value["from"]] -= amount
    after[value["to"]] += amount
    return after, value


def asks_bank(rng: random.Random, number: int) -> tuple[str, Any]:
    if rng.random() < 0.4:
        return "balances", None
    source, target = rng.sample(ACCOUNTS, 2)
    return "transfer", {"from": source, "to": target, "amount": rng.randrange(9)}


def finally_(operations: list[Operation], *more: tuple[str, Any, Any]) -> list[Operation]:
    """The history, and then these (f, value, answer) one after the other."""
    recorder = Recorder(lambda: 0.0)
    recorder.operations = list(operations)
    recorder._next_index = 10_000
    for f, value, answer in more:
        recorder.invoke("final", f, value).ok(answer)
    return recorder.operations


def a_run(kind: str, seed: int, losses: float) -> list[Operation]:
    simulate, asks, initial = {
        "set": (a_set, asks_set, []),
        "queue": (a_queue, asks_queue, []),
        "bank": (a_bank, asks_bank, dict.fromkeys(ACCOUNTS, 10)),
    }[kind]
    return history(
        random.Random(seed), simulate, asks, clients=4, operations=40, losses=losses,
        initial=initial,
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(SEEDS, LOSSES, st.sampled_from(["set", "queue", "bank"]))
def test_a_true_object_is_never_found_wrong(seed, losses, kind):
    assert check(a_run(kind, seed, losses), kind).anomalies == []


def acknowledged(operations: list[Operation], f: str) -> list[Any]:
    return [each.value for each in operations if each.f == f and each.is_ok]


@settings(max_examples=50, deadline=None)
@given(SEEDS, LOSSES)
def test_one_lost_element_of_a_set_is_named(seed, losses):
    operations = a_run("set", seed, losses)
    added = acknowledged(operations, "add")
    lost = random.Random(seed).choice(added)
    left = [each for each in added if each != lost]
    found = check(finally_(operations, ("read", None, left)), "set").anomalies
    assert [each.text.split(" ")[0] for each in found if "was lost" in each.text] == [str(lost)]


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_one_lost_element_of_a_queue_is_named(seed):
    operations = a_run("queue", seed, 0.0)
    taken = {each.result for each in operations if each.f == "dequeue"}
    left = [each for each in acknowledged(operations, "enqueue") if each not in taken]
    if not left:
        return
    lost = random.Random(seed).choice(left)
    rest = [("dequeue", None, each) for each in left if each != lost]
    assert check(finally_(operations, *rest, ("dequeue", None, None)), "queue").valid is False
    found = check(finally_(operations, *rest, ("dequeue", None, None)), "queue").anomalies
    assert [each.text.split(" ")[0] for each in found] == [str(lost)]


@settings(max_examples=50, deadline=None)
@given(SEEDS, LOSSES)
def test_money_that_is_made_is_found(seed, losses):
    operations = a_run("bank", seed, losses)
    seen = finally_(
        operations,
        ("balances", None, dict.fromkeys(ACCOUNTS, 10)),
        ("balances", None, {**dict.fromkeys(ACCOUNTS, 10), "x": 11}),
    )
    found = check(seen, "bank").anomalies
    assert len(found) == 1 and "a total of 31; it was 30" in found[0].text
