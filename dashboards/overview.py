"""The first look: do users get answers, which tier is at fault, what is broken now."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series, stat, table

USERS = "emu_user_requests_total"
FAILED = f'{q.CLUSTER},outcome!="ok"'


def _error_ratio(by: str) -> str:
    return q.ratio(q.rate(USERS, by, FAILED), q.rate(USERS, by, q.CLUSTER))


NOW = Row(
    "Users, now",
    [
        stat("Requests", "What users ask for, all regions.",
             Ask(q.rate(USERS, "cluster", q.CLUSTER)), unit="reqps", base="blue"),
        stat("Failed", "Share of users' operations that failed, or whose outcome is unknown.",
             Ask(_error_ratio("cluster")), unit="percentunit",
             thresholds=[(0.001, "yellow"), (0.01, "red")]),
        stat("Latency p99", "From when an operation was due to its answer.",
             Ask(q.quantile(0.99, "emu_user_request_seconds", "cluster", q.CLUSTER)), unit="s",
             thresholds=[(0.25, "yellow"), (1, "red")]),
        stat("Nodes down", "Nodes that do not run, or are paused.",
             Ask(f"count(emu_node_up{{{q.CLUSTER}}} == 0) or vector(0)"),
             thresholds=[(1, "red")]),
        stat("Active faults", "Faults that somebody injected, and that go on.",
             Ask(f"emu_faults_active{{{q.CLUSTER}}}"), thresholds=[(1, "orange")]),
        stat("Trustworthy", "Whether this computer keeps up with what it emulates.",
             Ask(f"emu_trustworthy{{{q.CLUSTER}}}"),
             words={"1": ("yes", "green"), "0": ("no: too busy", "red")}),
    ],
)  # fmt: skip
BY_REGION = Row(
    "Users by region",
    [
        series("Requests", "Operations of users, by their region.",
               [Ask(q.rate(USERS, "region", q.CLUSTER), "{{region}}")], unit="reqps"),
        series("Failed", "Share that failed, or whose outcome is unknown.",
               [Ask(_error_ratio("region"), "{{region}}")], unit="percentunit",
               thresholds=[(0.01, "red")]),
        series("Latency", "From when an operation was due to its answer.",
               [Ask(q.quantile(0.5, "emu_user_request_seconds", "region", q.CLUSTER),
                    "{{region}} p50"),
                Ask(q.quantile(0.99, "emu_user_request_seconds", "region, effect", q.CLUSTER),
                    "{{region}} {{effect}} p99")], unit="s"),
    ],
)  # fmt: skip
RED = Row(
    "Each tier: rate, errors, duration",
    [
        series("Requests", "Requests answered by each tier (or passed on, by a balancer).",
               [Ask(q.rate("emu_requests_total", "tier"), "{{tier}}")], unit="reqps"),
        series("Errors", "Requests that failed on the tier's side.",
               [Ask(q.rate("emu_request_errors_total", "tier"), "{{tier}}")], unit="reqps",
               thresholds=[(1, "red")]),
        series("Duration p99", "From a request's arrival at the tier to its answer.",
               [Ask(q.quantile(0.99, "emu_request_seconds", "tier"), "{{tier}}")], unit="s"),
        series("In hand", "Requests in hand now: they pile up before a tier gives way.",
               [Ask(q.total("emu_requests_in_flight", "tier"), "{{tier}}"),
                Ask(q.total("emu_user_requests_in_flight", "tier"), "{{tier}}")]),
        series("Cpu", "How busy the emulated cores are.",
               [Ask(f"{q.rate('emu_cpu_busy_seconds_total', 'tier')} / "
                    f"{q.total('emu_cpu_cores', 'tier')}", "{{tier}}")],
               unit="percentunit", thresholds=[(0.9, "red")]),
        series("Nodes up", "Nodes of each tier that run.",
               [Ask(q.total("emu_node_up", "tier"), "{{tier}}")]),
    ],
)  # fmt: skip
BROKEN = Row(
    "What is broken now",
    [
        table("Active faults", "Injected faults, and the nodes they met.",
              Ask(f"emu_fault_active{{{q.CLUSTER}}}"), {"kind": "fault", "target": "target"}),
        table("Nodes down", "Nodes that do not run, or are paused.",
              Ask(f"emu_node_up{{{q.CLUSTER}}} == 0"),
              {"node": "node", "tier": "tier", "region": "region"}),
        table("Alerts", "What fires.",
              Ask(f'ALERTS{{{q.CLUSTER},alertstate="firing"}}'),
              {"alertname": "alert", "severity": "severity", "tier": "tier", "node": "node"}),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-overview",
    "emu / Overview",
    "Do users get answers, which tier is at fault, and what is broken now.",
    [NOW, BY_REGION, RED, BROKEN],
)
