"""The edges of a CDN: what they answer themselves, what they keep, and how their origin does."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import Ask, series

_ALL = q.rate("emu_cdn_requests_total", "tier, region")
_OURS = 'result=~"hit|stale|revalidated",' + q.NODES
REQUESTS = Row(
    "Requests",
    [
        series("By what was done", "Requests by what the edge did for them: hit and stale are from "
               "the store, revalidated after the origin said that it holds, expired, miss and "
               "bypass are the origin's.",
               [Ask(q.rate("emu_cdn_requests_total", "result"), "{{result}}")], unit="ops"),
        series("Hit ratio by region", "The share of requests that needed no body from the origin.",
               [Ask(q.ratio(q.rate("emu_cdn_requests_total", "tier, region", _OURS), _ALL),
                    "{{tier}} {{region}}")], unit="percentunit"),
        series("Waited for another's answer", "Requests that waited for what another one had asked "
               "the origin: without that each would have gone there.",
               [Ask(q.rate("emu_cdn_collapsed_total", "node"), "{{node}}")], unit="ops"),
        series("Failed", "Requests for which nothing was stored when the origin failed.",
               [Ask(q.rate("emu_cdn_requests_total", "node", 'result="failed",' + q.NODES),
                    "{{node}}")], unit="ops", thresholds=[(1, "red")]),
    ],
)  # fmt: skip
ORIGIN = Row(
    "Origin",
    [
        series("Asked", "Requests to the origin, by what came: an answer, a failure, or none "
               "because it is left alone.",
               [Ask(q.rate("emu_cdn_origin_requests_total", "outcome"), "{{outcome}}")],
               unit="ops"),
        series("Time", "How long the origin took for the head of its answer.",
               [Ask(q.quantile(0.5, "emu_cdn_origin_seconds", "tier, region"),
                    "{{tier}} {{region}} p50"),
                Ask(q.quantile(0.99, "emu_cdn_origin_seconds", "tier, region"),
                    "{{tier}} {{region}} p99")], unit="s"),
        series("Up", "1 while the origin is asked, 0 while it is left alone after failures.",
               [Ask(q.total("emu_cdn_origin_up", "node"), "{{node}}")], width=8),
    ],
)  # fmt: skip
STORE = Row(
    "Store",
    [
        series("Bytes", "What is kept, and how much there is room for.",
               [Ask(q.total("emu_cdn_object_bytes", "node"), "{{node}}"),
                Ask(q.total("emu_cdn_capacity_bytes", "node"), "{{node}} room")], unit="decbytes"),
        series("Objects", "How many objects are kept.",
               [Ask(q.total("emu_cdn_objects", "node"), "{{node}}")]),
        series("Gone", "Objects that left for want of room, and that were purged.",
               [Ask(q.rate("emu_cdn_evicted_total", "node"), "{{node}} evicted"),
                Ask(q.rate("emu_cdn_purged_total", "node"), "{{node}} purged")], unit="ops"),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-cdn",
    "emu / CDN",
    "What edges answer themselves, what they keep, and how their origin does.",
    [REQUESTS, ORIGIN, STORE],
    kinds=["cdn"],
)
