"""Who is refused where too much is asked: the least urgent, and no more of them than must be."""

from __future__ import annotations

from collections import Counter, deque
from random import Random

import pytest

from nodes.base import NO_RANK
from nodes.parts.shedding import MIDDLE, NOBODY, Shedder, rank_of

COST_S = 0.01
WAIT_S = 0.02


def asked_of(
    per_s: float, seconds: float, *, traces: bool = True, seed: int = 1
) -> tuple[Counter[str], Counter[int], list[float], Shedder]:
    """A server of 100/s, asked at random for urgency 1, 3 and 6 alike: what came of them, who was
    refused in the last half, and what the others waited for."""
    rng, shedder = Random(seed), Shedder(WAIT_S)
    now_s, free_s = 0.0, 0.0
    queue: deque[tuple[float, int]] = deque()
    outcomes, refused, waits = Counter[str](), Counter[int](), list[float]()
    while now_s < seconds:
        now_s += rng.expovariate(per_s)
        while queue and free_s <= now_s:
            came_s, rank = queue.popleft()
            start_s = max(free_s, came_s)
            if shedder.keeps(rank):
                shedder.began(start_s - came_s)
                waits.append(start_s - came_s)
                free_s = start_s + COST_S
                outcomes["served"] += 1
            else:
                outcomes["dropped"] += 1
        urgency = rng.choice((1, 3, 6))
        rank = rank_of(urgency, rng.getrandbits(52) if traces else None)
        if shedder.admits(rank, now_s):
            queue.append((now_s, rank))
        elif now_s > seconds / 2:
            refused[urgency] += 1
    return outcomes, refused, waits[len(waits) // 2 :], shedder


@pytest.mark.parametrize("traces", [True, False])
def test_twice_too_much_costs_the_less_urgent_half(traces: bool) -> None:
    outcomes, refused, waits, _ = asked_of(200.0, 60.0, traces=traces)
    assert outcomes["served"] > 0.8 * 100 * 60, "as busy as one core is whose work waits so short"
    assert refused[1] < 60, "of 2,000: of the most urgent hardly any"
    assert refused[6] > 1800, "of the least urgent hardly any is left"
    assert 500 < refused[3] < 1500, "half of those between"
    assert sum(waits) / len(waits) < 3 * WAIT_S


def test_who_is_as_urgent_is_refused_by_its_trace_at_every_server_alike() -> None:
    ranks = [rank_of(MIDDLE, trace) for trace in range(1000)]
    assert ranks == [rank_of(MIDDLE, trace) for trace in range(1000)]
    assert len(set(ranks)) == 128
    assert max(rank_of(2, trace) for trace in range(1000)) < min(ranks)


def test_with_room_for_all_nobody_is_refused() -> None:
    outcomes, refused, _, shedder = asked_of(60.0, 30.0)
    assert outcomes["dropped"] + sum(refused.values()) < 0.01 * outcomes["served"]
    assert shedder.level == NOBODY and shedder.refused_urgency == 8


def test_when_the_storm_is_over_all_are_let_in_again() -> None:
    shedder, rng = Shedder(WAIT_S), Random(3)
    for number in range(400):
        shedder.admits(rank_of(number % 8, rng.getrandbits(52)), number / 200)
        if number % 4 == 0:
            shedder.began(1.0)
    assert shedder.refused_urgency < 3
    for number in range(1000):
        if shedder.admits(rank_of(number % 8, rng.getrandbits(52)), 2.0 + number / 200):
            shedder.began(0.0)
    assert shedder.level == NOBODY


def test_a_server_that_hangs_tells_nothing_of_what_it_can_do() -> None:
    shedder = Shedder(WAIT_S)
    for number in range(1000):
        assert shedder.admits(rank_of(7, number), number / 100)


def test_work_in_nobodys_name_is_as_urgent_as_most() -> None:
    assert rank_of(MIDDLE, None) == NO_RANK
