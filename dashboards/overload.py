"""Overload: what is done for nobody, what is tried again, and what keeps it within bounds."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series

ALL = f'{q.CLUSTER},tier=~"$tier"'
GOOD = f'{ALL},outcome="ok"'

GOODPUT = Row(
    "Goodput beside throughput",
    [
        series("Goodput and throughput", "Operations that users got in time, beside the attempts "
               "that they made: in a retry storm the second is high, and the first is not.",
               [Ask(q.rate("emu_user_requests_total", "tier", GOOD), "{{tier}} good"),
                Ask(f"{q.rate('emu_user_requests_total', 'tier', ALL)} + "
                    f"{q.rate('emu_user_retries_total', 'tier', ALL)}", "{{tier}} attempts")],
               unit="reqps", width=12),
        series("Work in vain", "Part of the cores' time that was spent for somebody who had left.",
               [Ask(f"{q.rate('emu_cpu_wasted_seconds_total', 'tier')} / "
                    f"{q.total('emu_cpu_cores', 'tier')}", "{{tier}}")], unit="percentunit",
               thresholds=[(0.1, "orange"), (0.5, "red")], width=12),
        series("Dropped", "Work that never got a core, by why: full, limit, expired, cancelled.",
               [Ask(q.rate("emu_cpu_dropped_total", "tier, reason"), "{{tier}} {{reason}}")],
               unit="reqps"),
        series("Shed", "Work refused because more urgent work waited, by its urgency: 0 is the "
               "most urgent, 7 the least.",
               [Ask(q.rate("emu_cpu_shed_total", "tier, urgency"), "{{tier}} urgency {{urgency}}")],
               unit="reqps"),
        series("Limits", "Work that is let in at a time, where that finds itself.",
               [Ask(q.total("emu_cpu_limit", "node"), "{{node}}")]),
        series("Refused urgency", "The most urgent work that a node refuses just now, in part at "
               "least; 8: none.",
               [Ask(q.total("emu_cpu_shed_from", "node"), "{{node}}")]),
        series("Waiting for a core", "Work in the queue in front of the cores.",
               [Ask(q.total("emu_cpu_queue", "node"), "{{node}}")]),
    ],
)  # fmt: skip
RETRIES = Row(
    "Retries",
    [
        series("Retries", "Attempts after the first, and those that the budget did not allow.",
               [Ask(q.rate("emu_user_retries_total", "tier"), "{{tier}} made"),
                Ask(q.rate("emu_user_retries_refused_total", "tier"), "{{tier}} refused")],
               unit="reqps"),
        series("Budget", "Retries that are allowed now: successes save up for them.",
               [Ask(q.total("emu_retry_budget_tokens", "tier"), "{{tier}}")]),
        series("Breakers", "0: closed, calls go through; 1: half-open, one may try; 2: open.",
               [Ask(q.most("emu_breaker_state", "node"), "{{node}}")],
               thresholds=[(1, "orange"), (2, "red")]),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-overload",
    "emu / Overload",
    "What is done in vain, what is tried again, and what keeps it within bounds.",
    [GOODPUT, RETRIES],
)
