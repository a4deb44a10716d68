"""The lottery's dashboard: `python -m dashboards` draws such boards as JSON for Grafana."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series

BOARD = Board(
    "emu-lottery",
    "emu / Lottery",
    "Numbers that an office has given out.",
    [
        Row(
            "Numbers",
            [
                series(
                    "Next number",
                    "As each member knows it.",
                    [Ask(q.total("emu_lottery_next", "node"), "{{node}}")],
                ),
                series(
                    "Taken",
                    "Numbers taken in a second.",
                    [Ask(q.rate("emu_requests_total", "method"), "{{method}}")],
                    unit="reqps",
                ),
            ],
        )
    ],
    kinds=["lottery:LOTTERY"],
)
