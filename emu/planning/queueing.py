"""Formulas: how busy servers are, and how long work waits for one. Pure.

Utilization law U = X D / (m c); waiting by Erlang C with Allen and Cunneen's correction for what is
less random than M/M/c (Gross and Harris, "Fundamentals of Queueing Theory").
"""

from __future__ import annotations

import math


def erlang_c(servers: int, busy: float) -> float:
    """The share of arrivals that wait, where `busy` servers' worth of work is offered to
    `servers`; 1 where that is too much."""
    if busy >= servers:
        return 1.0
    blocked = 1.0  # Erlang B, by its recurrence: no factorial overflows
    for number in range(1, servers + 1):
        blocked = busy * blocked / (number + busy * blocked)
    share = busy / servers
    return blocked / (1 - share + share * blocked)


def wait_s(servers: int, service_s: float, arrivals_per_s: float, *, varies: float = 0.5) -> float:
    """Mean time in the queue before a server is free; infinite beyond the ceiling.

    `varies`: (Ca² + Cs²) / 2, the squared coefficients of variation of arrivals and service: 1/2
    for Poisson arrivals and a constant service time.
    """
    busy = arrivals_per_s * service_s
    if busy >= servers:
        return math.inf
    return erlang_c(servers, busy) * service_s / (servers - busy) * varies


def machines(busy_cores: float, cores: int, *, at_most: float, spare: int) -> int:
    """How many machines of `cores` carry so much work at that utilization, and `spare` more."""
    return max(1, math.ceil(busy_cores / (at_most * cores) - 1e-9)) + spare
