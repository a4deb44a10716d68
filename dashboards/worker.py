"""The workers: what they do, what of it failed, and what waits for a hand."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series

JOBS = Row(
    "Jobs",
    [
        series("Ended", "Jobs that left a worker's hands, by what came of them.",
               [Ask(q.rate("emu_jobs_total", "topic, outcome"), "{{topic}} {{outcome}}")],
               unit="ops"),
        series("Failed", "Jobs that failed, or were another's when they were done.",
               [Ask(q.rate("emu_job_failures_total", "node"), "{{node}}")], unit="ops",
               thresholds=[(1, "red")]),
        series("Duration", "How long a job took.",
               [Ask(q.quantile(0.5, "emu_job_seconds", "topic"), "{{topic}} p50"),
                Ask(q.quantile(0.99, "emu_job_seconds", "topic"), "{{topic}} p99")], unit="s"),
        series("In hand", "Jobs that are worked on now, and those that wait here for a hand.",
               [Ask(q.total("emu_jobs_in_hand", "node"), "{{node}} in hand"),
                Ask(q.total("emu_jobs_waiting", "node"), "{{node}} waiting")], width=12),
        series("Cpu", "How busy the emulated cores are; nothing where none are declared.",
               [Ask(f"{q.rate('emu_cpu_busy_seconds_total', 'node')} / "
                    f"{q.total('emu_cpu_cores', 'node')}", "{{node}}")], unit="percentunit",
               width=12),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-worker",
    "emu / Workers",
    "What workers do, what of it failed, and what waits for a hand.",
    [JOBS],
    kinds=["worker"],
)
