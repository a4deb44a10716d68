"""Traces made by hand: who sent which bytes to whom, when, and when they arrived."""

from __future__ import annotations

from typing import Any

import dns.message

from emu.machine.trace import Trace, TraceEvent
from nodes.base import DNS_PORT, HTTP_PORT, RPC_PORT
from protocols import rpc
from protocols.http import message as http
from protocols.http.client import ClientConnection
from protocols.http.connection import ServerConnection
from protocols.http.message import Response

LATENCY_S = 0.001
TIERS = {"db-1": "db", "db-2": "db", "web-1": "web", "users-1": "users"}
CONNECTION = rpc.Connection()


def request(msgid: int, method: str, *params: Any, trace: int | None = None) -> bytes:
    metadata: dict[str, Any] = {rpc.REMAINING_MS: 1000}
    if trace is not None:
        metadata[rpc.TRACE] = trace
    return CONNECTION.send_request(msgid, method, [*params, metadata])


def answer(msgid: int, result: Any = None, error: Any = None) -> bytes:
    return CONNECTION.send_response(msgid, error, result)


def http_request(method: str, path: str, body: bytes = b"", trace: int | None = None) -> bytes:
    headers = [("host", "example.test")]
    if trace is not None:
        headers.append((http.TRACE, f"{trace:x}"))
    return ClientConnection().send_request(method, path, headers, body)


def http_response(status: int, body: bytes = b"") -> bytes:
    connection = ServerConnection(http.Limits())
    connection.receive_data(http_request("GET", "/"))
    assert connection.next_request() is not None
    return connection.send_response(Response(status, (), body))


class Wire:
    """What was sent, in order; each call takes `LATENCY_S` unless it says otherwise."""

    def __init__(self) -> None:
        self.trace = Trace(keep=1000)
        self.time_s = 0.0

    def send(
        self, source: str, target: str, data: bytes, *, port: int = RPC_PORT, lost: bool = False,
        number: int = 1, pieces: int = 1,
    ) -> None:  # fmt: skip
        """Let the bytes leave now and arrive, in so many pieces, before anything else happens."""
        route = f"{source}>{target}:{port}/{number}".encode()
        self.trace.sent(self.time_s, route, data)
        self.time_s += LATENCY_S
        if lost:
            return
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            self.trace.message(self.time_s, route, data[start : start + size])
            self.time_s += LATENCY_S

    def visit(self, trace: int, *, code: str = "", lost: bool = False) -> None:
        """A user asks the web server, which asks the database; it may refuse or never answer."""
        here = {"port": HTTP_PORT, "number": 7}
        self.send("users-1", "web-1", http_request("GET", "/u/ada", trace=trace), **here)
        number = trace if lost else 1  # what a connection has lost never comes, nor what follows
        self.send("web-1", "db-1", request(trace, "get", "ada", trace=trace), number=number)
        if lost:
            self.send("db-1", "web-1", answer(trace, "Ada"), number=number, lost=True)
            return
        error = [code, "not now"] if code else None
        self.send("db-1", "web-1", answer(trace, None if code else "Ada", error))
        self.send("web-1", "users-1", http_response(503 if code else 200, b"hi"), **here)

    def ask_dns(self, name: str) -> None:
        query = dns.message.make_query(name, "A", id=5)
        response = dns.message.make_response(query)
        route = f"users-1|dns-1:{DNS_PORT}/40000".encode()
        self.trace.message(self.time_s + LATENCY_S, route, query.to_wire(), self.time_s)
        route = f"dns-1|users-1:40000/{DNS_PORT}".encode()
        self.trace.message(self.time_s + LATENCY_S, route, response.to_wire(), self.time_s)

    def note(self, kind: str, node: str, detail: str = "") -> None:
        self.trace.note(self.time_s, kind, node, "", detail)
        self.time_s += LATENCY_S

    @property
    def events(self) -> list[TraceEvent]:
        return self.trace.looked_at()
