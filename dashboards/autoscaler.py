"""The autoscalers: what they measure, what they decide, and what keeps them from it."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series

DECISIONS = Row(
    "Decisions",
    [
        series("Members", "How many a tier has, how many its metrics ask for, and how many its "
               "autoscaler decided on, by its windows, policies and limits.",
               [Ask(q.most("emu_autoscaler_current_nodes", "scales"), "{{scales}} there"),
                Ask(q.most("emu_autoscaler_asked_nodes", "scales"), "{{scales}} asked for"),
                Ask(q.most("emu_autoscaler_wanted_nodes", "scales"), "{{scales}} decided")],
               width=12),
        series("Measured against wanted", "Each metric by its target: above 1 more members are "
               "asked for, below 1 fewer; within the tolerance nothing changes.",
               [Ask(q.most("emu_autoscaler_ratio", "scales, metric"), "{{scales}} {{metric}}")],
               unit="percentunit", thresholds=[(1.1, "orange")], width=12),
        series("Scalings", "How often a tier was scaled: up and down in turn is an oscillation.",
               [Ask(q.rate("emu_autoscaler_scalings_total", "scales, direction"),
                    "{{scales}} {{direction}}")], unit="ops"),
        series("Blind", "1 where the last look came to nothing, as too little is known of the "
               "members.", [Ask(q.most("emu_autoscaler_blind", "scales"), "{{scales}}")],
               thresholds=[(1, "orange")]),
        series("Refused", "Scalings that the directory did not do.",
               [Ask(q.rate("emu_autoscaler_refused_total", "scales"), "{{scales}}")], unit="ops",
               thresholds=[(0.01, "red")]),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-autoscaler",
    "emu / Autoscaler",
    "How many members a tier should have, why, and how many it has.",
    [DECISIONS],
    kinds=["autoscaler"],
)
