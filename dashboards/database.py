"""The replicated database: who is primary, how far the replicas are behind, what commits cost."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series, states

ROLES = {"1": ("primary", "purple"), "0": ("replica", "blue")}

REPLICATION = Row(
    "Replication",
    [
        states("Roles", "Who is primary. A gap is a node that does not answer.",
               [Ask(q.most("emu_is_primary", "node"), "{{node}}")], ROLES),
        series("Lag", "The age of the oldest record that a replica has not on its disk.",
               [Ask(q.most("emu_replication_lag_seconds", "replica"), "{{replica}}")], unit="s",
               width=12, thresholds=[(5, "red")]),
        series("Lag in bytes", "Bytes of log that a replica has not on its disk.",
               [Ask(q.most("emu_replication_lag_bytes", "replica"), "{{replica}}")],
               unit="decbytes"),
        series("Silence", "Time since a replica was last heard of by the primary.",
               [Ask(q.most("emu_replica_silence_seconds", "replica"), "{{replica}}")], unit="s"),
        series("Epoch", "A new epoch is a new primary.",
               [Ask(q.most("emu_epoch", "node"), "{{node}}")]),
        series("Positions", "Log positions: the node's own log, its disk, its state; committed.",
               [Ask(q.most("emu_last_lsn", "node"), "{{node}} log"),
                Ask(q.most("emu_last_flushed_lsn", "node"), "{{node}} flushed"),
                Ask(q.most("emu_last_replayed_lsn", "node"), "{{node}} replayed"),
                Ask(q.most("emu_committed_lsn", "node"), "{{node}} committed")]),
        series("Replicas' positions",
               "What the primary has sent, and heard to be flushed or replayed.",
               [Ask(q.most("emu_last_sent_lsn", "replica"), "{{replica}} sent"),
                Ask(q.most("emu_replica_flushed_lsn", "replica"), "{{replica}} flushed"),
                Ask(q.most("emu_replica_replayed_lsn", "replica"), "{{replica}} replayed")]),
        series("Failovers and divergence",
               "Times a node became primary in place of another; records cut at a rejoin; messages"
               " of another group.",
               [Ask(q.total("emu_failovers_total", "node"), "{{node}} failovers"),
                Ask(q.total("emu_divergent_records_total", "node"), "{{node}} divergent records"),
                Ask(q.total("emu_foreign_messages_total", "node"), "{{node}} foreign messages")],
               thresholds=[(1, "orange")]),
    ],
)  # fmt: skip
COMMITS = Row(
    "Transactions",
    [
        series("Requests", "Requests answered, by method.",
               [Ask(q.rate("emu_requests_total", "method"), "{{method}}")], unit="reqps"),
        series("Errors", "Answers other than ok, by code.",
               [Ask(q.rate("emu_requests_total", "code", f'{q.NODES},code!="ok"'), "{{code}}"),
                Ask(q.rate("emu_request_errors_total", "tier"), "{{tier}}: the server's fault")],
               unit="reqps", thresholds=[(1, "red")]),
        series("Commits", "Transactions acknowledged, and refused.",
               [Ask(q.rate("emu_commits_total", "node"), "{{node}} commits"),
                Ask(q.rate("emu_transactions_refused_total", "node"), "{{node}} refused")],
               unit="ops"),
        series("Commit time", "From execution to the acknowledgement that `ack:` asks for.",
               [Ask(q.quantile(0.5, "emu_commit_seconds", "tier"), "{{tier}} p50"),
                Ask(q.quantile(0.99, "emu_commit_seconds", "tier"), "{{tier}} p99")], unit="s"),
        series("Duration p99", "From a request's arrival to its answer, by method.",
               [Ask(q.quantile(0.99, "emu_request_seconds", "method"), "{{method}}")], unit="s"),
        series("Cpu", "How busy the emulated cores are; nothing where none are declared.",
               [Ask(f"{q.rate('emu_cpu_busy_seconds_total', 'node')} / "
                    f"{q.total('emu_cpu_cores', 'node')}", "{{node}}")], unit="percentunit"),
    ],
)  # fmt: skip
DISKS = Row(
    "Disks",
    [
        series("Sync", "How long a sync took its callers.",
               [Ask(q.quantile(0.5, "emu_disk_sync_seconds", "node"), "{{node}} p50"),
                Ask(q.quantile(0.99, "emu_disk_sync_seconds", "node"), "{{node}} p99")], unit="s"),
        series("Written and read", "Bytes appended to files, and read from them.",
               [Ask(q.rate("emu_disk_written_bytes_total", "node"), "{{node}} written"),
                Ask(q.rate("emu_disk_read_bytes_total", "node"), "{{node}} read")], unit="Bps"),
        series("Used and free", "Size of all files, and room for more.",
               [Ask(q.total("emu_disk_used_bytes", "node"), "{{node}} used"),
                Ask(q.total("emu_disk_free_bytes", "node"), "{{node}} free")], unit="decbytes"),
        series("Failed", "Calls that the disk failed: an error, or no space.",
               [Ask(q.rate("emu_disk_errors_total", "node"), "{{node}}")], unit="ops",
               thresholds=[(1, "red")]),
        series("Full", "Replicas whose disk is full: with too many, writes are refused.",
               [Ask(q.most("emu_replica_lacks_room", "replica"), "{{replica}}")],
               thresholds=[(1, "red")]),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-database",
    "emu / Database",
    "Who is primary, how far the replicas are behind, what commits cost.",
    [REPLICATION, COMMITS, DISKS],
    kinds=["database"],
)
