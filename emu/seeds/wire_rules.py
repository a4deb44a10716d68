"""Rules that whoever speaks on a stream must keep; a simulation can read along.

What was sent first arrives first, whatever it is. Of MessagePack-RPC: a request's msgid is free, an
answer answers a request, and nobody grants others more time than it was given itself. Nothing here
knows a tier or a method.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from protocols import rpc

MAX_PROBLEMS: Final = 20
MAX_GRANTS: Final = 20_000
"""Requests whose time limit is remembered; the oldest are forgotten first."""
RPC_ARRAY: Final = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
"""First bytes of a connection that speaks MessagePack-RPC."""

Grants = OrderedDict[tuple[str, int], float]
"""(node, trace) → the most that a request with this trace has given the node, in ms."""


class WireRules:
    """Takes what was delivered on every stream, in order; `problems` says what was wrong."""

    def __init__(self) -> None:
        self.problems: dict[str, None] = {}
        self._ways: dict[bytes, _Way | None] = {}
        self._connections: dict[tuple[str, ...], _Connection] = {}
        self._grants: Grants = OrderedDict()

    def take(self, route: bytes, data: bytes | memoryview) -> None:
        """`route`: b"source>target:port/number"."""
        way = self._ways.get(route)
        if way is None:
            if route in self._ways:
                return  # it speaks something else
            way = self._ways[route] = self._begin(route, data)
            if way is None:
                return
        try:
            messages = way.parser.receive_data(data)
        except rpc.RemoteProtocolError as error:
            self._problem(way, f"sent what is no MessagePack-RPC: {error}")
            self._ways[route] = None
            return
        for message in messages:
            problem = self._judge(way, message)
            if problem:
                self._problem(way, problem)

    def overtaken(self, route: bytes) -> None:
        """Whatever it speaks."""
        way = route.decode().replace(">", " → ")
        self._keep(f"{way}: bytes arrived that were not those that were sent next")

    def _begin(self, route: bytes, data: bytes | memoryview) -> _Way | None:
        if data[0] not in RPC_ARRAY:
            return None
        ends, _, number = route.decode().partition(":")
        source, _, target = ends.partition(">")
        key = (*sorted((source, target)), number)
        connection = self._connections.setdefault(key, _Connection())
        return _Way(source, target, connection)

    def _problem(self, way: _Way, text: str) -> None:
        self._keep(f"{way.source} → {way.target}: {text}")

    def _keep(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems[problem] = None

    def _judge(self, way: _Way, message: rpc.Message) -> str:
        match message[0]:
            case rpc.REQUEST:
                return way.connection.asked(message) or self._check_time(way, message)
            case rpc.RESPONSE:
                return way.connection.answered(message)
        return ""

    def _check_time(self, way: _Way, message: rpc.Message) -> str:
        _, _, method, params = message
        if not way.connection.knows_metadata or method == rpc.HELLO:
            return ""
        metadata: dict[str, Any] = params[-1] if params and type(params[-1]) is dict else {}
        left_ms, trace = metadata.get(rpc.REMAINING_MS), metadata.get(rpc.TRACE)
        if left_ms is None:
            return f"{method} does not say how much time is left"
        if trace is None:
            return ""
        own_ms = self._grants.get((way.source, trace))
        if own_ms is not None and left_ms > own_ms:
            return f"{method} may take {left_ms:g} ms, and its cause had {own_ms:g} ms"
        place = way.target, trace
        self._grants[place] = max(left_ms, self._grants.get(place, 0.0))
        if len(self._grants) > MAX_GRANTS:
            self._grants.popitem(last=False)
        return ""


class _Connection:
    """Both directions of one connection: what was asked on it and not answered yet."""

    __slots__ = ("knows_metadata", "unanswered")

    def __init__(self) -> None:
        self.knows_metadata = False
        self.unanswered: dict[int, str] = {}

    def asked(self, message: rpc.Message) -> str:
        _, msgid, method, _ = message
        other = self.unanswered.get(msgid)
        self.unanswered[msgid] = method
        self.knows_metadata = self.knows_metadata or method == rpc.HELLO
        if other is not None:
            return f"{method} has msgid {msgid}, under which {other} is not answered yet"
        return ""

    def answered(self, message: rpc.Message) -> str:
        msgid = message[1]
        if self.unanswered.pop(msgid, None) is None:
            return f"an answer with msgid {msgid}, under which nothing is asked"
        return ""


class _Way:
    """One direction of a connection."""

    __slots__ = ("connection", "parser", "source", "target")

    def __init__(self, source: str, target: str, connection: _Connection) -> None:
        self.source = source
        self.target = target
        self.connection = connection
        self.parser = rpc.Connection()
