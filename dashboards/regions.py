"""Several data centres: which region serves whose users, what that costs, and what DNS says."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.database import ROLES
from dashboards.panels import UP_DOWN, Ask, series, states

USERS = "emu_user_requests_total"
FAILED = f'{q.CLUSTER},outcome!="ok"'
SECONDS = "emu_user_request_seconds"
MACHINES = f'emu_node_up{{{q.CLUSTER},tier!~"users.*"}}'

PEOPLE = Row(
    "Users, by where they are and where they are sent",
    [
        series("From where to where", "Attempts of users, by their region and their server's.",
               [Ask(q.rate("emu_user_routed_total", "region, to_region", q.CLUSTER),
                    "{{region}} → {{to_region}}")], unit="reqps"),
        series("Failed", "Share of operations that failed, or whose outcome is unknown.",
               [Ask(q.ratio(q.rate(USERS, "region", FAILED), q.rate(USERS, "region", q.CLUSTER)),
                    "{{region}}")], unit="percentunit", thresholds=[(0.01, "red")]),
        series("Machines up", "Nodes of each region that run.",
               [Ask(f"sum by (region) ({MACHINES})", "{{region}}")]),
        series("Reads", "What a page costs, by the users' region and population.",
               [Ask(q.quantile(0.5, SECONDS, "region, tier", f'{q.CLUSTER},effect="read"'),
                    "{{region}} {{tier}} p50"),
                Ask(q.quantile(0.99, SECONDS, "region, tier", f'{q.CLUSTER},effect="read"'),
                    "{{region}} {{tier}} p99")], unit="s", width=12),
        series("Writes", "What a post costs: the way to the primary, and to a majority.",
               [Ask(q.quantile(0.5, SECONDS, "region, tier", f'{q.CLUSTER},effect="write"'),
                    "{{region}} {{tier}} p50"),
                Ask(q.quantile(0.99, SECONDS, "region, tier", f'{q.CLUSTER},effect="write"'),
                    "{{region}} {{tier}} p99")], unit="s", width=12),
    ],
)  # fmt: skip
NAMES = Row(
    "DNS and resolvers",
    [
        series("Answers", "Answers with addresses, by the server's region and the region given.",
               [Ask(q.rate("emu_answers_total", "region, to_region", q.CLUSTER),
                    "{{region}} says {{to_region}}")], unit="reqps"),
        series("Addresses given", "Of each region, by server: members that pass its checks.",
               [Ask(q.total("emu_addresses_given", "node, to_region", q.CLUSTER),
                    "{{node}}: {{to_region}}")]),
        states("Checks", "Members, as each DNS server sees them.",
               [Ask(q.most("emu_health", "node, server", q.CLUSTER), "{{node}} → {{server}}")],
               UP_DOWN, width=8),
        series("Resolutions", "Names resolved, from the cache or by asking.",
               [Ask(q.rate("emu_resolutions_total", "tier, result", q.CLUSTER),
                    "{{tier}} {{result}}")], unit="reqps", width=12),
        series("Routed by old addresses", "Requests sent to an address past its time to live.",
               [Ask(q.rate("emu_stale_routed_requests_total", "region, tier", q.CLUSTER),
                    "{{region}} {{tier}}")], unit="reqps", width=12),
    ],
)  # fmt: skip
DATA = Row(
    "Data over distance",
    [
        states("Primaries", "Which members are primary, and where.",
               [Ask(q.most("emu_is_primary", "region, node", q.CLUSTER), "{{region}} {{node}}")],
               ROLES),
        series("Commit", "From execution to commit, by the primary's region.",
               [Ask(q.quantile(0.5, "emu_commit_seconds", "region, tier", q.CLUSTER),
                    "{{region}} {{tier}} p50"),
                Ask(q.quantile(0.99, "emu_commit_seconds", "region, tier", q.CLUSTER),
                    "{{region}} {{tier}} p99")], unit="s", width=12),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-regions",
    "emu / Regions and DNS",
    "Which region serves whose users, what distance costs, and what DNS says.",
    [PEOPLE, NAMES, DATA],
    kinds=["dns"],
)
