"""The ordinary hit, at once: a GET that asks for nothing special, and a whole response that is
fresh.

Whatever else there may be is desk.py's, which would come to the same for what is answered here.
Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from nodes.cdn.answering import CACHE_STATUS, without_length
from nodes.cdn.edge import Edge
from nodes.cdn.store import Kept
from nodes.wire.hops import WHY
from protocols.caching.keys import key
from protocols.caching.reuse import Stored
from protocols.caching.telling import CacheStatus
from protocols.caching.validating import CONDITIONS
from protocols.http.message import Request, Response

PURGED: Final = "x-emu-purged"
"""Request header to an origin: the last purge of this URL, for a shield that does not know it."""
_SPECIAL: Final = frozenset(
    {"authorization", "cache-control", "pragma", "range", PURGED, WHY, *CONDITIONS}
)
"""Request headers by which an answer may be another one."""
MOST_KEYS: Final = 4096
"""Of which the form is remembered that URLs have."""


class Ready(NamedTuple):
    """What answers the request, and how old that is."""

    request: Request
    kept: Kept
    age_s: float


def ready(edge: Edge, request: Request, now_s: float) -> Ready | None:
    """None: this takes more thought."""
    headers = request.headers
    if request.method != "GET" or request.body or not _SPECIAL.isdisjoint(headers):
        return None
    host, target = headers.get("host", ""), request.target
    where = edge.keys.get((host, target))
    if where is None:
        if len(edge.keys) >= MOST_KEYS:
            edge.keys.clear()
        where = edge.keys[host, target] = key(host, target)
    kept = edge.store.find(where, headers)
    if kept is None or kept.stored.by_validation:
        return None
    age_s = kept.stored.age_s(now_s)
    return Ready(request, kept, age_s) if age_s < kept.stored.freshness.lifetime_s else None


def answer(found: Ready, name: str) -> Response:
    """Made once a second."""
    kept, second = found.kept, int(found.age_s)
    if kept.answer is None or kept.answered_s != second:
        kept.answer, kept.answered_s = _made(kept.stored, found.age_s, name), second
    return kept.answer


def _made(stored: Stored, age_s: float, name: str) -> Response:
    told = CacheStatus(
        name,
        hit=True,
        ttl_s=int(stored.freshness.lifetime_s - age_s),
        detail=f"HIT: {stored.freshness.rule}, age {age_s:.0f}",
    )
    headers = without_length(stored)
    added = (("age", str(round(age_s))), (CACHE_STATUS, told.written()))
    return Response(stored.status, (*headers, *added), stored.body)
