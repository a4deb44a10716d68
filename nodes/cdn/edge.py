"""An edge's decisions: which stored response answers, what an origin's answer makes of the store,
what a purge takes away. Pure and synchronous: it is told the time, and moves no byte.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from nodes.cdn.asked import EMU, Asked
from nodes.cdn.config import MOST_DOUBLINGS, CdnConfig
from nodes.cdn.missed import Missed
from nodes.cdn.purges import Purge, Purges
from nodes.cdn.store import Kept, Store
from nodes.parts.eviction import eviction_named
from nodes.wire.http_server import http_date
from protocols.caching import freshness, policy, ranges, reuse, storing, validating
from protocols.caching.fields import Headers, combined, first, members
from protocols.caching.keys import Key, invalidated
from protocols.caching.policy import Policy
from protocols.caching.reuse import Decision, Stored
from protocols.caching.selecting import selecting
from protocols.caching.telling import Forward

MOST_TAGS: Final = 64
"""What has more is not kept."""
MOST_LATE: Final = 4096
"""URLs with tags that were purged behind us; the oldest is forgotten then."""
PURGED_MEANWHILE: Final = "purged while it was on its way"


class Look(NamedTuple):
    """What is stored for a request, and what to do about it."""

    kept: Kept | None
    decision: Decision | None
    forward: Forward
    """Why the origin has to be asked, if it has to be."""
    why: str


class Came(NamedTuple):
    """The head of an origin's answer, and when it was asked for and came."""

    status: int
    headers: Headers
    delay_s: float
    now_s: float
    wall_s: float
    purges: int
    """How many purges there were when it was asked for."""


class Judged(NamedTuple):
    """What it says of its being stored; `why` not, if it may not be."""

    policy: Policy
    freshness: freshness.Freshness
    why: str


class Edge:
    """`name` is the edge's own in `Cache-Status`."""

    def __init__(self, name: str, config: CdnConfig) -> None:
        self.name = name
        self.config = config
        eviction = eviction_named(config.eviction, config.capacity_bytes)
        self.store = Store(eviction, config.max_variants)
        self.purges = Purges()
        self.keys: dict[tuple[str, str], Key] = {}
        """Host and target as they come → their one form."""
        self._missed = Missed(config.hit_for_miss_s)
        self._late: OrderedDict[Key, Purge] = OrderedDict()
        """URLs → the purge of a tag of theirs that a shield has to be told with each request."""

    # --- a request ---------------------------------------------------------------------------

    def look(self, asked: Asked, now_s: float) -> Look:
        if asked.bypass:
            return Look(None, None, "bypass", asked.bypass)
        kept = self.store.find(asked.key, asked.headers, asked.wanted)
        if kept is None:
            return self._nothing(asked, now_s)
        stored = kept.stored
        if "authorization" in asked.headers and not storing.is_shared(stored.policy):
            return Look(None, None, "request", "Authorization, and what is stored is not for that")
        decision = reuse.decide(stored, asked.policy, now_s)
        forward: Forward = "request" if decision.why.startswith("the request") else "stale"
        return Look(kept, decision, forward, decision.why)

    def _nothing(self, asked: Asked, now_s: float) -> Look:
        if self._missed.covers(asked, now_s):
            return Look(None, None, "bypass", "what came last may not be stored")
        variants = self.store.of_url(asked.key)
        if not variants:
            return Look(None, None, "uri-miss", "nothing is stored")
        names = ", ".join(dict.fromkeys(name for each in variants for name, _ in each.selecting))
        return Look(None, None, "vary-miss", f"other variants are stored, by {names}")

    def flight_key(self, asked: Asked) -> tuple[object, ...]:
        """Requests with the same one may be answered by one answer of the origin."""
        variants = self.store.of_url(asked.key)
        chosen = selecting([("vary", ", ".join(name for name, _ in variants[0].selecting))],
                           asked.headers) if variants and variants[0].selecting else ()  # fmt: skip
        return (asked.key, chosen, asked.headers.get("range"))

    def conditions(self, kept: Kept | None) -> list[tuple[str, str]]:
        """What asks the origin whether that still holds."""
        if kept is None or kept.stored.part is not None:
            return []
        return validating.conditions([kept.stored.headers])

    # --- the origin's answer -----------------------------------------------------------------

    def judge(self, asked: Asked, came: Came) -> Judged:
        """By its head alone."""
        told = policy.of_response(came.headers)
        fresh = freshness.lifetime(came.status, came.headers, told, came.wall_s)
        why = (
            asked.bypass
            or storing.why_not(
                "GET", asked.headers, asked.policy, came.status, came.headers, told, fresh
            )
            or _too_many(tags_of(came.headers))
        )
        return Judged(told, fresh, why)

    def take(
        self, asked: Asked, came: Came, judged: Judged, body: bytes
    ) -> tuple[Stored | None, str]:
        """Keep it: what is stored now, or why nothing is."""
        headers = came.headers
        chosen = selecting(headers, asked.headers)
        assert chosen is not None and not judged.why
        part = None
        if came.status == storing.PARTIAL:
            part = ranges.part(headers, len(body))
            if part is None:
                return None, "a 206 whose body is not what its Content-Range says"
        age_s = freshness.initial_age_s(headers, came.delay_s, came.wall_s)
        kept_headers = _kept(headers, judged.policy)
        if first(kept_headers, "date") is None:
            kept_headers.append(("date", http_date(came.wall_s)))
        stored = Stored(
            came.status, kept_headers, body, judged.policy, judged.freshness, age_s, came.now_s,
            chosen, part, tags_of(headers),
        )  # fmt: skip
        if self.purges.since(came.purges, asked.key, stored.tags):
            return None, PURGED_MEANWHILE
        self.store.add(asked.key, stored)
        return stored, ""

    def pass_by(self, asked: Asked, came: Came) -> None:
        """It may not be stored, so that nobody need wait for what comes next."""
        if not asked.bypass:
            self._missed.add(asked, came.headers, came.now_s)

    def confirm(self, asked: Asked, kept: Kept, came: Came) -> tuple[Stored | None, str]:
        """A 304 came: what is stored, with its new fields, and why that is not for others. None: it
        is about something else, or what it is about was purged meanwhile."""
        stored = kept.stored
        if not self.store.has(kept) or not validating.confirms(came.headers, stored.headers):
            return None, ""
        merged = validating.updated(stored.headers, came.headers)
        told = policy.of_response(merged)
        fresh = freshness.lifetime(stored.status, merged, told, came.wall_s)
        ages = [pair for pair in came.headers if pair[0] in ("age", "date")]
        age_s = freshness.initial_age_s(ages, came.delay_s, came.wall_s)
        headers, tags, chosen = (
            _kept(merged, told),
            tags_of(merged),
            selecting(merged, asked.headers),
        )
        if self.purges.since(came.purges, kept.key, (*stored.tags, *tags)):
            return None, ""
        renewed = reuse.renewed(stored, headers, told, fresh, age_s, came.now_s, chosen or (), tags)
        why = storing.why_not(
            "GET", asked.headers, Policy(), stored.status, merged, told, fresh
        ) or _too_many(tags)
        if why:
            self.store.drop(kept)
        elif "no-store" in asked.policy:
            why = "the request says no-store"
        else:
            self.store.renew(kept, renewed)
        return renewed, why

    def invalidate(self, asked: Asked, status: int, headers: Headers) -> list[Key]:
        """After a request that may have changed something; status 0: nobody knows."""
        keys = list(invalidated(asked.key, asked.method, status or 200, headers))
        for key in keys:
            self.store.drop_url(key)
        return keys

    def stale_if_error(self, asked: Asked, kept: Kept | None, now_s: float) -> str:
        """Why what is stored may be served though it is stale, as the origin fails; or ""."""
        if kept is None or not self.store.has(kept):
            return ""
        return reuse.stale_if_error(kept.stored, asked.policy, now_s, self.config.grace_s)

    def rest(self, kept: Kept, now_s: float) -> None:
        """The origin failed about it: it is left alone for a while, twice as long each time."""
        pause_s = self.config.backoff_s * 2**kept.doublings
        kept.doublings = min(kept.doublings + 1, MOST_DOUBLINGS)
        kept.rests_until_s = now_s + pause_s

    def resting(self, asked: Asked, look: Look, now_s: float) -> str:
        """Why a stale object is served without asking the origin, which failed just now; or ""."""
        kept = look.kept
        if kept is None or now_s >= kept.rests_until_s:
            return ""
        allowed = self.stale_if_error(asked, kept, now_s)
        left_s = kept.rests_until_s - now_s
        return f"{allowed}; the origin failed, asked again in {left_s:.1f} s" if allowed else ""

    def purge(self, purge: Purge) -> int:
        """How many objects are gone."""
        self.purges.add(purge)
        self._missed.clear()
        if purge.kind == "tag":
            return self.store.drop_tag(purge.value)
        if purge.kind == "url" and purge.place.host:
            return self.store.drop_url(purge.place)
        return self.store.drop_where(lambda key: purge.touches(key, ()))

    def purge_to_tell(self, asked: Asked) -> Purge | None:
        """What a shield must know of before it answers this, if there is something."""
        if self.config.is_outside:
            return None
        return self.purges.newer(self._late.get(asked.key), self.purges.last(asked.key))

    def came_from_before(self, asked: Asked, came: Came) -> bool:
        """Whether a cache on the way has answered with an object whose tag was purged here, and was
        not told yet: ask again, and tell it."""
        headers = came.headers
        if first(headers, "age") is None or self.config.is_outside:
            return False
        purge = self.purges.last(asked.key, tags_of(headers))
        if purge is None or purge.kind != "tag" or self._late.get(asked.key) == purge:
            return False
        self._late[asked.key] = purge
        if len(self._late) > MOST_LATE:
            self._late.popitem(last=False)
        return True


def _kept(headers: Headers, told: Policy) -> list[tuple[str, str]]:
    """What of them is stored."""
    kept = storing.kept_headers(headers, told)
    return [pair for pair in kept if not pair[0].startswith(EMU)]


def tags_of(headers: Headers) -> tuple[str, ...]:
    """What an object is purged by beside its URL: `Cache-Tag: a, b` or `Surrogate-Key: a b`."""
    tags = members(combined(headers, "cache-tag") or "")
    tags += (combined(headers, "surrogate-key") or "").replace(",", " ").split()
    return tuple(dict.fromkeys(tags))


def _too_many(tags: Sequence[str]) -> str:
    """Why it is not kept: a purge by a tag that is not remembered would miss it."""
    return f"{len(tags)} tags, more than {MOST_TAGS}" if len(tags) > MOST_TAGS else ""


def listed(objects: Sequence[Kept], now_s: float) -> list[list[object]]:
    """For people: URL, status, bytes, age, what is left, tags."""
    return [
        [str(each.key), each.stored.status, len(each.stored.body),
         round(each.stored.age_s(now_s), 3), round(each.stored.left_s(now_s), 3),
         list(each.stored.tags)]
        for each in objects
    ]  # fmt: skip
