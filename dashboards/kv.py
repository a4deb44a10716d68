"""The sharded key-value store: who owns how many slots, what moves, what clients see."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.database import ROLES
from dashboards.panels import Ask, series, states

CLIENTS = "emu_client_operations_total"

CLIENTS_ROW = Row(
    "Clients",
    [
        series("Operations", "What clients did, by what came of it.",
               [Ask(q.rate(CLIENTS, "outcome", q.CLUSTER), "{{outcome}}"),
                Ask(q.rate("emu_client_failures_total", "cluster", q.CLUSTER), "not ok")],
               unit="ops"),
        series("By operation", "What clients did.",
               [Ask(q.rate(CLIENTS, "operation", q.CLUSTER), "{{operation}}")], unit="ops"),
        series("Duration", "From an operation's start to its end, redirects and retries included.",
               [Ask(q.quantile(0.5, "emu_client_operation_seconds", "cluster", q.CLUSTER), "p50"),
                Ask(q.quantile(0.99, "emu_client_operation_seconds", "cluster", q.CLUSTER),
                    "p99")], unit="s"),
    ],
)  # fmt: skip
SHARDS = Row(
    "Shards",
    [
        states("Roles", "Who is primary of its shard. A gap is a node that does not answer.",
               [Ask(q.most("emu_is_primary", "node"), "{{node}}")], ROLES),
        series("Slots owned", "Of the primaries together: all 16384, always.",
               [Ask(f"{q.total('emu_slots_owned', 'node')} and on (node) emu_is_primary == 1",
                    "{{node}}")], width=12, stacked=True),
        series("Keys", "Keys held by each node.",
               [Ask(q.total("emu_keys", "node"), "{{node}}")]),
        series("Bytes", "Bytes of keys and values held by each node.",
               [Ask(q.total("emu_kv_bytes", "node"), "{{node}}")], unit="decbytes"),
        series("Lag", "The age of the oldest record that a replica has not on its disk.",
               [Ask(q.most("emu_replication_lag_seconds", "replica"), "{{replica}}")], unit="s",
               thresholds=[(5, "red")]),
    ],
)  # fmt: skip
REQUESTS = Row(
    "Requests",
    [
        series("By node", "How evenly the shards are loaded: a hot key shows here.",
               [Ask(q.rate("emu_requests_total", "node"), "{{node}}")], unit="reqps"),
        series("Answers other than ok", "By code; moved and ask send a client elsewhere.",
               [Ask(q.rate("emu_requests_total", "code", f'{q.NODES},code!="ok"'), "{{code}}")],
               unit="reqps"),
        series("Duration p99", "From a request's arrival to its answer, by command.",
               [Ask(q.quantile(0.99, "emu_request_seconds", "method"), "{{method}}")], unit="s"),
    ],
)  # fmt: skip
MOVES = Row(
    "Moves and hot keys",
    [
        series("Moves", "Moves of slots that a node takes part in now.",
               [Ask(q.most("emu_slot_migrations_active", "node"), "{{node}}")]),
        series("Keys moved", "Keys copied by moves.",
               [Ask(q.rate("emu_keys_moved_total", "node"), "{{node}}")], unit="ops"),
        series("Write pause p99", "How long a move refused writes to its slots.",
               [Ask(q.quantile(0.99, "emu_write_pause_seconds", "node"), "{{node}}")], unit="s"),
        series("Redirects", "Redirects that clients followed, by type, and maps fetched for them.",
               [Ask(q.rate("emu_redirects_total", "type"), "{{type}}"),
                Ask(q.rate("emu_map_refreshes_total", "cluster"), "maps")], unit="ops"),
        series("Map version", "Of each coordinator: it only grows.",
               [Ask(q.most("emu_map_version", "node"), "{{node}}")]),
        series("Hottest key", "The share of a node's requests that are about one key.",
               [Ask(q.most("emu_hot_key_ratio", "node"), "{{node}}")], unit="percentunit"),
        series("Near cache", "Reads that a router answered by itself.",
               [Ask(q.rate("emu_near_cache_hits_total", "node"), "{{node}}")], unit="ops"),
    ],
)  # fmt: skip
ACROSS = Row(
    "Across shards",
    [
        series("Questions to several shards", "mget, find and join, and the requests they became.",
               [Ask(q.rate("emu_scatters_total", "command"), "{{command}}"),
                Ask(q.rate("emu_scatter_requests_total", "command"), "{{command}}, requests")],
               unit="ops"),
        series("Partial results", "Questions that some shard did not answer in time.",
               [Ask(q.rate("emu_partial_results_total", "command"), "{{command}}")], unit="ops"),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-kv",
    "emu / Sharded KV",
    "Who owns how many slots, what moves, what clients see.",
    [CLIENTS_ROW, SHARDS, MOVES, ACROSS, REQUESTS],
    kinds=["kv_shard", "kv_coordinator", "kv_router"],
)
