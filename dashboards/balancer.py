"""The way in: DNS answers, the balancers' connections, queues, checks and refusals."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.board import Board, Row
from dashboards.panels import UP_DOWN, Ask, series, states

PER_SERVER = "node, server"
SERVER = "{{node}} → {{server}}"
DNS = f'{q.CLUSTER},method=~"udp|tcp"'

REQUESTS = Row(
    "Requests, as turns of connections: the client speaks, then the server",
    [
        series("Passed on", "Requests, by what came of them; unavailable: no server took them.",
               [Ask(q.rate("emu_requests_total", "node, code"), "{{node}} {{code}}")],
               unit="reqps"),
        series("To the first byte", "From when a client spoke to the first bytes of the answer.",
               [Ask(q.quantile(0.5, "emu_request_seconds", "node"), "{{node}} p50"),
                Ask(q.quantile(0.99, "emu_request_seconds", "node"), "{{node}} p99")], unit="s"),
        series("In hand", "Requests that wait for their answer.",
               [Ask(q.total("emu_requests_in_flight", "node"), "{{node}}")]),
    ],
)  # fmt: skip
CONNECTIONS = Row(
    "Connections",
    [
        series("Taken", "Connections accepted.",
               [Ask(q.rate("emu_connections_total", "node"), "{{node}}")], unit="cps"),
        series("Open", "Connections open now; their limit is `max_connections`.",
               [Ask(q.total("emu_open_connections", "node"), "{{node}}")]),
        series("Refused", "Connections that got no server, by why; and those over the limit.",
               [Ask(q.rate("emu_refused_total", "node, reason"), "{{node}} {{reason}}"),
                Ask(q.rate("emu_connections_refused_total", "node"), "{{node}} over the limit")],
               unit="cps", thresholds=[(1, "red")]),
        series("Bytes", "Forwarded: in to servers, out to clients.",
               [Ask(q.rate("emu_bytes_total", "node, direction"), "{{node}} {{direction}}")],
               unit="Bps"),
        series("Retries", "Repeated attempts to connect, and connections that went elsewhere.",
               [Ask(q.rate("emu_retries_total", "node"), "{{node}} retries"),
                Ask(q.rate("emu_redispatches_total", "node"), "{{node}} redispatches")],
               unit="cps"),
        series("Waiting for a server", "Connections in the queue, for any server or a certain one.",
               [Ask(q.total("emu_current_queue", PER_SERVER), SERVER)],
               thresholds=[(100, "red")]),
    ],
)  # fmt: skip
SERVERS = Row(
    "Servers, as the balancers see them",
    [
        states("Up", "Whether a server passes its checks.",
               [Ask(q.most("emu_server_up", PER_SERVER), SERVER)], UP_DOWN),
        series("Sessions", "Connections that each server has.",
               [Ask(q.total("emu_current_sessions", PER_SERVER), SERVER)], width=12),
        series("Failed connections", "Attempts to connect that a server refused or left hanging.",
               [Ask(q.rate("emu_connection_errors_total", PER_SERVER), SERVER)], unit="cps",
               width=12),
        series("Failed checks", "Active checks that failed.",
               [Ask(q.rate("emu_check_failures_total", PER_SERVER), SERVER)], unit="cps",
               width=12),
    ],
)  # fmt: skip
NAMES = Row(
    "DNS",
    [
        series("Queries", "Messages received, by transport and the answer's code.",
               [Ask(q.rate("emu_requests_total", "method, code", DNS), "{{method}} {{code}}")],
               unit="reqps"),
        series("Answers", "Answers with addresses, by the region that was given.",
               [Ask(q.rate("emu_answers_total", "policy, to_region", q.CLUSTER),
                    "{{policy}} → {{to_region}}")], unit="reqps"),
        states("Addresses given", "Members that pass the DNS servers' checks.",
               [Ask(q.most("emu_health", PER_SERVER, q.CLUSTER), SERVER)], UP_DOWN, width=8),
        series("Resolutions", "What the users' resolvers answer from their cache, or ask for.",
               [Ask(q.rate("emu_resolutions_total", "result", q.CLUSTER), "{{result}}")],
               unit="reqps", width=12),
        series("Routed by old addresses", "Requests sent to an address past its time to live.",
               [Ask(q.rate("emu_stale_routed_requests_total", "tier", q.CLUSTER), "{{tier}}")],
               unit="reqps", width=12),
    ],
)  # fmt: skip
BOARD = Board(
    "emu-balancer",
    "emu / Balancer and DNS",
    "The way in: DNS answers, requests, connections, queues, checks, refusals.",
    [REQUESTS, CONNECTIONS, SERVERS, NAMES],
    kinds=["balancer"],
)
