"""The cache: what its readers find, what it keeps, and what still reaches the database."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series

READS = "emu_cache_requests_total"
FOUND = f'{q.NODES},result=~"hit|negative_hit|stale"'

READERS = Row(
    "Readers",
    [
        series("Reads", "Keys that were asked for, by what was found.",
               [Ask(q.rate(READS, "result"), "{{result}}")], unit="ops", stacked=True),
        series("Hit ratio", "The share of reads that found a value.",
               [Ask(q.ratio(q.rate(READS, "node", FOUND), q.rate(READS, "node")), "{{node}}")],
               unit="percentunit"),
        series("Fetched from the database", "What readers loaded there for want of a value here; "
               "reads that no cache node answered; reads asked of the gutter.",
               [Ask(q.rate("emu_cache_loads_total", "cluster", q.CLUSTER), "fetched"),
                Ask(q.rate("emu_cache_unanswered_total", "cluster", q.CLUSTER), "not answered"),
                Ask(q.rate("emu_cache_gutter_reads_total", "cluster", q.CLUSTER), "gutter")],
               unit="ops"),
        series("Waits", "Readers that waited for another's fill, and those that got what was "
               "deleted or expired a moment ago.",
               [Ask(q.rate("emu_lease_waits_total", "node"), "{{node}} waited"),
                Ask(q.rate("emu_stale_served_total", "node"), "{{node}} stale")], unit="ops",
               width=12),
        series("Leases", "Keys that somebody fills now.",
               [Ask(q.total("emu_cache_leases", "node"), "{{node}}")], width=12),
    ],
)  # fmt: skip
VALUES = Row(
    "Values",
    [
        series("Bytes", "Bytes of values kept, and how many may be.",
               [Ask(q.total("emu_cache_bytes", "node"), "{{node}}"),
                Ask(q.most("emu_cache_capacity_bytes", "tier"), "{{tier}} at most")],
               unit="decbytes"),
        series("Entries", "Values kept.", [Ask(q.total("emu_cache_entries", "node"), "{{node}}")]),
        series("Set", "Values that were set, and fills refused, because their key was deleted "
               "meanwhile.",
               [Ask(q.rate("emu_cache_fills_total", "node"), "{{node}} set"),
                Ask(q.rate("emu_cache_refused_fills_total", "node"), "{{node}} refused")],
               unit="ops"),
        series("Gone", "Values that left: to make room, by their time, by a delete.",
               [Ask(q.rate("emu_evicted_total", "node"), "{{node}} evicted"),
                Ask(q.rate("emu_expired_total", "node"), "{{node}} expired"),
                Ask(q.rate("emu_cache_deletes_total", "node"), "{{node}} deleted")], unit="ops",
               width=12),
        series("Fetched early", "Values that a reader fetched anew before their time was over.",
               [Ask(q.rate("emu_early_refreshes_total", "node"), "{{node}}")], unit="ops",
               width=12),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-cache",
    "emu / Cache",
    "What readers find in the cache, what it keeps, and what still reaches the database.",
    [READERS, VALUES],
    kinds=["cache", "cache_gutter"],
)
