"""What was broken, what it did to users, and what the run is expected to keep."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import UP_DOWN, Ask, series, states

ACTIVE = {"1": ("active", "red")}
HELD = {"1": ("held", "green"), "0": ("failed", "red")}

FAULTS = Row(
    "Faults",
    [
        states("Active faults", "From injection to undoing, with the nodes they met.",
               [Ask(f"emu_fault_active{{{q.CLUSTER}}}", "{{kind}} {{target}}")], ACTIVE),
        states("Nodes", "Down: it does not run, or is paused.",
               [Ask(f"emu_node_up{{{q.NODES}}}", "{{node}}")], UP_DOWN),
        series("Injected", "Faults since the start, by kind.",
               [Ask(q.total("emu_faults_total", "kind", q.CLUSTER), "{{kind}}")]),
        series("Promotions", "Primaries promoted since the start (the first of each group, too).",
               [Ask(q.total("emu_promotions_total", "tier", q.CLUSTER), "{{tier}}")]),
        series("Boots", "How often each node was started.",
               [Ask(f"emu_node_generation{{{q.NODES}}}", "{{node}}")]),
    ],
)  # fmt: skip
USERS = Row(
    "What users felt",
    [
        series("Outcomes", "Operations by what came of them; unknown: timed out, or cut off.",
               [Ask(q.rate("emu_user_requests_total", "outcome", q.CLUSTER), "{{outcome}}")],
               unit="reqps", stacked=True),
        series("Why they failed", "Operations that failed, by why.",
               [Ask(q.rate("emu_user_failures_total", "reason", q.CLUSTER), "{{reason}}")],
               unit="reqps"),
        series("Retries", "Attempts after the first: a budget bounds them.",
               [Ask(q.rate("emu_user_retries_total", "tier", q.CLUSTER), "{{tier}}")],
               unit="reqps"),
    ],
)  # fmt: skip
VERDICTS = Row(
    "Verdicts",
    [
        states("Expectations, so far", "The topology's `expect:` lines, judged while it runs.",
               [Ask(f"emu_expectation_held{{{q.CLUSTER}}}", "{{expectation}}")], HELD),
        series("Errors against the objective",
               "Share of failed operations over one and five minutes; 1% is the objective.",
               [Ask(f"cluster:emu_user_errors:ratio_rate1m{{{q.CLUSTER}}}", "1 m"),
                Ask(f"cluster:emu_user_errors:ratio_rate5m{{{q.CLUSTER}}}", "5 m")],
               unit="percentunit", width=12, thresholds=[(0.01, "red")]),
        states("Alerts", "What fires.",
               [Ask(f'ALERTS{{{q.CLUSTER},alertstate="firing"}}',
                    "{{alertname}} {{tier}} {{node}} {{replica}}")],
               {"1": ("firing", "red")}, width=24),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-faults",
    "emu / Faults and verdicts",
    "What was broken, what it did to users, and what the run is expected to keep.",
    [FAULTS, USERS, VERDICTS],
)
