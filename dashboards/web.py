"""The web servers: requests by route, errors by code, queues in front of their cores."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series

REQUESTS = "emu_requests_total"

RED = Row(
    "Rate, errors, duration",
    [
        series("Requests by route", "Requests answered.",
               [Ask(q.rate(REQUESTS, "method"), "{{method}}")], unit="reqps", stacked=True),
        series("Answers by code", "HTTP status, or ok and the error codes of RPC.",
               [Ask(q.rate(REQUESTS, "code"), "{{code}}")], unit="reqps"),
        series("Errors by node", "Requests that failed on the server's side.",
               [Ask(q.rate("emu_request_errors_total", "node"), "{{node}}")], unit="reqps",
               thresholds=[(1, "red")]),
        series("Duration p50", "From a request's arrival to its answer, by route.",
               [Ask(q.quantile(0.5, "emu_request_seconds", "method"), "{{method}}")], unit="s"),
        series("Duration p99", "From a request's arrival to its answer, by route.",
               [Ask(q.quantile(0.99, "emu_request_seconds", "method"), "{{method}}")], unit="s"),
        series("Requests by node", "How evenly the balancer shares them out.",
               [Ask(q.rate(REQUESTS, "node"), "{{node}}")], unit="reqps"),
    ],
)  # fmt: skip
SATURATION = Row(
    "Saturation",
    [
        series("Cpu", "How busy the emulated cores are.",
               [Ask(f"{q.rate('emu_cpu_busy_seconds_total', 'node')} / "
                    f"{q.total('emu_cpu_cores', 'node')}", "{{node}}")], unit="percentunit",
               thresholds=[(0.9, "red")]),
        series("Waiting for a core", "Work in the queue in front of the cores.",
               [Ask(q.total("emu_cpu_queue", "node"), "{{node}}")], thresholds=[(100, "red")]),
        series("Wait for a core p99", "How long work that got a core had waited for it.",
               [Ask(q.quantile(0.99, "emu_cpu_queue_wait_seconds", "node"), "{{node}}")],
               unit="s"),
        series("Dropped", "Work that never got a core, by why: full, expired, cancelled.",
               [Ask(q.rate("emu_cpu_dropped_total", "node, reason"), "{{node}} {{reason}}")],
               unit="reqps", thresholds=[(1, "red")]),
        series("In hand", "Requests in hand now, by protocol.",
               [Ask(q.total("emu_requests_in_flight", "node, protocol"),
                    "{{node}} {{protocol}}")]),
        series("Open connections", "Connections open now.",
               [Ask(q.total("emu_open_connections", "node"), "{{node}}")]),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-web",
    "emu / Web",
    "The web servers: requests by route, errors by code, queues in front of their cores.",
    [RED, SATURATION],
    kinds=["web"],
)
