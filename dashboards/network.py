"""The emulated network, and the emulator itself: whether its times may be believed."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series, stat

WAY = "source, target"
ENDS = "{{source}} → {{target}}"
LAG = "emu_loop_lag_seconds"

LINKS = Row(
    "Links, by the tiers at their ends",
    [
        series("Bytes", "Bytes sent over links that have a shape or a fault.",
               [Ask(q.rate("emu_link_bytes_total", WAY, q.CLUSTER), ENDS)], unit="Bps", width=12),
        series("Latency", "One-way latency, without jitter: the slowest link.",
               [Ask(q.most("emu_link_latency_seconds", WAY, q.CLUSTER), ENDS)], unit="s",
               width=12),
        series("Queue", "How long a byte waits for bandwidth: the fullest link.",
               [Ask(q.most("emu_link_queue_seconds", WAY, q.CLUSTER), ENDS)], unit="s",
               thresholds=[(0.5, "red")]),
        series("Lost", "Chunks of streams that were sent again, and datagrams that never arrived.",
               [Ask(q.rate("emu_link_retransmissions_total", WAY, q.CLUSTER),
                    f"{ENDS} retransmitted"),
                Ask(q.rate("emu_link_lost_datagrams_total", WAY, q.CLUSTER), f"{ENDS} lost")],
               unit="pps"),
        series("Cut", "Links that a partition, or a machine without power, cuts now.",
               [Ask(q.total("emu_link_cuts", WAY, q.CLUSTER), ENDS)], thresholds=[(1, "red")]),
    ],
)  # fmt: skip
LOOP = Row(
    "The emulator's loop",
    [
        stat("Trustworthy", "Whether this computer keeps up with what it emulates.",
             Ask(f"emu_trustworthy{{{q.CLUSTER}}}"),
             words={"1": ("yes", "green"), "0": ("no: too busy", "red")}),
        stat("Running for", "Time since the run began.",
             Ask(f"emu_run_seconds{{{q.CLUSTER}}}"), unit="s", base="blue"),
        stat("Cpu of this computer", "Cores that the emulator uses; it has one loop.",
             Ask(q.rate("process_cpu_seconds_total", "cluster", q.CLUSTER)), unit="none",
             thresholds=[(0.7, "yellow"), (0.9, "red")]),
        stat("Memory", "Of the emulator, with all its nodes.",
             Ask(f"process_resident_memory_bytes{{{q.CLUSTER}}}"), unit="decbytes",
             base="blue"),
        stat("Tasks", "Tasks of the loop, of all nodes together.",
             Ask(f"emu_process_tasks{{{q.CLUSTER}}}"), base="blue"),
        stat("Nodes", "Nodes of the cluster.", Ask(f"count(emu_node_info{{{q.CLUSTER}}})"),
             base="blue"),
        series("Lag", "How late the loop came to a timer that was due: latencies are off by this.",
               [Ask(q.quantile(0.5, LAG, "cluster", q.CLUSTER), "p50"),
                Ask(q.quantile(0.99, LAG, "cluster", q.CLUSTER), "p99")], unit="s",
               thresholds=[(0.005, "red")]),
        series("Withheld", "Share of the time in which other programs kept the loop from running.",
               [Ask(f"rate(emu_host_withheld_seconds_total{{{q.CLUSTER}}}[$__rate_interval]) / "
                    f"rate(emu_host_seconds_total{{{q.CLUSTER}}}[$__rate_interval])", "withheld")],
               unit="percentunit", thresholds=[(0.05, "red")]),
        series("Who holds it", "Time in steps of more than 5 ms, by whose step it was.",
               [Ask(q.rate("emu_loop_held_seconds_total", "holder", q.CLUSTER), "{{holder}}")],
               unit="percentunit"),
        series("Garbage collection", "Share of the time in which everything stood still for it.",
               [Ask(f"rate(emu_gc_pause_seconds_sum{{{q.CLUSTER}}}[$__rate_interval])", "paused")],
               unit="percentunit"),
        series("Events", "Events of the run, by level.",
               [Ask(q.rate("emu_events_total", "level", q.CLUSTER), "{{level}}")], unit="ops",
               width=12),
        series("Scrapes", "How long Prometheus waited for each page.",
               [Ask(f"scrape_duration_seconds{{{q.CLUSTER}}}", "{{instance}}")], unit="s",
               width=12),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-network",
    "emu / Network and emulator",
    "The emulated links, and whether the emulator's times may be believed.",
    [LINKS, LOOP],
)
