"""Random histories: what clients would see of a true object, of one that lies, or of nonsense."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from emu.checks.history import Operation, Recorder

Simulate = Callable[[Any, str, Any], tuple[Any, Any]]
"""(state, f, value) → (state after, answer)."""


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


def queued(state: Any, f: str, value: Any) -> tuple[Any, Any]:
    if f == "enqueue":
        return [*state, value], value
    return state[1:], state[0] if state else None


def puts_and_takes(rng: random.Random, number: int) -> tuple[str, Any]:
    return ("enqueue", number) if rng.random() < 0.5 else ("dequeue", None)
