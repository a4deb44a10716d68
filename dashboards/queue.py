"""The message queue: what comes and goes, who is behind, what failed for good."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.database import ROLES
from dashboards.panels import Ask, series, states

GROUPS = Row(
    "Groups",
    [
        series("Lag", "Records that are there, and not read or done by a group.",
               [Ask(q.total("emu_consumer_lag", "topic, group"), "{{group}} of {{topic}}")]),
        series("Oldest", "The age of the oldest record that a group has not done.",
               [Ask(q.most("emu_oldest_unacked_seconds", "topic, group"),
                    "{{group}} of {{topic}}")], unit="s", thresholds=[(30, "red")]),
        series("With workers", "Records that are with workers of a group now.",
               [Ask(q.total("emu_records_in_flight", "topic, group"), "{{group}} of {{topic}}")]),
        series("Rebalances", "Changes of who reads what in consumer groups.",
               [Ask(q.rate("emu_rebalances_total", "tier"), "{{tier}}")], unit="ops"),
    ],
)  # fmt: skip
RECORDS = Row(
    "Records",
    [
        series("Published and delivered", "Records that came, and records that were handed out.",
               [Ask(q.rate("emu_published_total", "cluster"), "published"),
                Ask(q.rate("emu_delivered_total", "cluster"), "delivered")], unit="ops"),
        series("Failed", "Handed out again, moved to the dead letters.",
               [Ask(q.rate("emu_redelivered_total", "cluster"), "again"),
                Ask(q.rate("emu_dead_lettered_total", "cluster"), "dead letters")], unit="ops"),
        series("Parked", "Records that failed for good, and that nobody takes.",
               [Ask(q.most("emu_records_parked", "tier"), "{{tier}}")], thresholds=[(1, "red")]),
        series("Dropped and lost", "Records that went by age or to make room, and those of them "
               "that a group had not read or done.",
               [Ask(q.rate("emu_records_dropped_total", "tier"), "{{tier}}, a second"),
                Ask(q.most("emu_records_lost", "tier"), "{{tier}}, lost in all")]),
        series("Backlog", "Records kept by each broker.",
               [Ask(q.total("emu_queue_records", "node"), "{{node}}")]),
        series("Backlog, bytes", "Bytes of records kept by each broker.",
               [Ask(q.total("emu_queue_bytes", "node"), "{{node}}")], unit="decbytes"),
    ],
)  # fmt: skip
BROKERS = Row(
    "Brokers",
    [
        states("Roles", "Who leads its group. A gap is a node that does not answer.",
               [Ask(q.most("emu_is_primary", "node"), "{{node}}")], ROLES),
        series("Replication lag", "The age of the oldest record that a replica has not on disk.",
               [Ask(q.most("emu_replication_lag_seconds", "replica"), "{{replica}}")], unit="s",
               thresholds=[(5, "red")]),
        series("Commit", "From a request's decision until it is as durable as the queue says.",
               [Ask(q.quantile(0.5, "emu_commit_seconds", "tier"), "{{tier}} p50"),
                Ask(q.quantile(0.99, "emu_commit_seconds", "tier"), "{{tier}} p99")], unit="s"),
        series("Requests", "By method.",
               [Ask(q.rate("emu_requests_total", "method"), "{{method}}")], unit="reqps"),
        series("Answers other than ok", "By code.",
               [Ask(q.rate("emu_requests_total", "code", f'{q.NODES},code!="ok"'), "{{code}}")],
               unit="reqps"),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-queue",
    "emu / Message queue",
    "What comes and goes, who is behind, what failed for good.",
    [GROUPS, RECORDS, BROKERS],
    kinds=["queue_broker", "queue_front"],
)
