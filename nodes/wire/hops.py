"""How one request is followed: what each node on its way decided, why, and how long that took.

A request that asks for it (header `x-emu-why`) is answered with its hops. Each one's time is its
own: with the way to it, without those that it asked in turn; so all times add up to the whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from nodes.base import DIRECTORY_HOST
from nodes.parts.jsons import dumps

WHY: Final = "x-emu-why"
"""Request header: tell the way. Response header: the way, as JSON."""
ASKED: Final = ("x-emu-why", "1")
MOST_HOPS: Final = 64
MOST_CHARS: Final = 200
MOST_BYTES: Final = 16384
"""Of the header."""


class Hop(NamedTuple):
    """What one node did. `time_s` is its own."""

    node: str
    tier: str
    decision: str
    why: str
    time_s: float


class Hops:
    """Of one request, at one node, which may ask others for it."""

    __slots__ = ("_began_s", "_covered_s", "_inner", "_rpc", "decision", "why")

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self._covered_s = began_s
        """Until then, others have been given the time."""
        self._inner: list[Hop] = []
        self._rpc: dict[str, int] = {}
        """Who was asked by RPC → the place of its hop."""
        self.decision = ""
        self.why = ""

    def say(self, decision: str, why: str) -> None:
        """What this node decided."""
        self.decision, self.why = decision[:MOST_CHARS], why[:MOST_CHARS]

    def _share_s(self, began_s: float, ended_s: float) -> float:
        """What of a question's time is its own: of those at a time the first has it."""
        share_s = max(0.0, ended_s - max(began_s, self._covered_s))
        self._covered_s = max(self._covered_s, ended_s)
        return share_s

    def asked(self, node: str, began_s: float, ended_s: float, said: str) -> None:
        """A node answered over HTTP, and `said` what was on the way behind it."""
        share_s = self._share_s(began_s, ended_s)
        hops = decoded(said)
        left_s = max(0.0, share_s - sum(hop.time_s for hop in hops))
        if hops and hops[0].node == node:
            hops[0] = hops[0]._replace(time_s=hops[0].time_s + left_s)
        elif hops:
            passed = Hop(node, tier_of(node), f"passed to {hops[0].node}", "byte for byte", left_s)
            hops.insert(0, passed)
        else:
            hops = [Hop(node, tier_of(node), "answered", "", left_s)]
        self._inner += hops[: MOST_HOPS - len(self._inner)]

    def called(self, node: str, method: str, began_s: float, ended_s: float, failed: str) -> None:
        """A node answered a call; several to one node are one hop."""
        share_s = self._share_s(began_s, ended_s)
        if node == DIRECTORY_HOST:
            return
        word = f"{method}: {failed}" if failed else method
        place = self._rpc.get(node)
        if place is None:
            if len(self._inner) < MOST_HOPS:
                self._rpc[node] = len(self._inner)
                self._inner.append(Hop(node, tier_of(node), word, "asked once", share_s))
            return
        hop = self._inner[place]
        words = hop.decision if word in hop.decision.split(", ") else f"{hop.decision}, {word}"
        count = 2 if hop.why == "asked once" else int(hop.why.split()[1]) + 1
        self._inner[place] = Hop(
            hop.node, hop.tier, words[:MOST_CHARS], f"asked {count} times", hop.time_s + share_s
        )

    def ended(self, node: str, tier: str, ended_s: float) -> list[Hop]:
        """This node's hop, and those behind it."""
        inner_s = sum(hop.time_s for hop in self._inner)
        own_s = max(0.0, ended_s - self._began_s - inner_s)
        return [Hop(node, tier, self.decision, self.why, own_s), *self._inner]


def tier_of(node: str) -> str:
    """`web-2` is of `web`."""
    return node.rpartition("-")[0] or node


def encoded(hops: Sequence[Hop]) -> str:
    """As a header's value: ASCII, on one line."""
    while True:
        text = dumps([[*hop[:4], round(hop.time_s, 6)] for hop in hops], separators=(",", ":"))
        if len(text) <= MOST_BYTES:
            return text
        hops = hops[: len(hops) // 2]


def decoded(text: str) -> list[Hop]:
    """What a header tells; nothing where it tells none."""
    if not text or len(text) > MOST_BYTES:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(found, list):
        return []
    return [hop for each in found[:MOST_HOPS] if (hop := _hop(each)) is not None]


def _hop(value: Any) -> Hop | None:
    match value:
        case [str(node), str(tier), str(decision), str(why), int() | float() as time_s]:
            return Hop(node, tier, decision, why, float(time_s))
    return None
