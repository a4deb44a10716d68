"""Bugs of a CDN's edges, as somebody might have written them.

Each is a function whose docstring says what is wrong; `emu sim`'s own load, faults and verdict must
find it under tests/sim/planted/cdn.yaml. How they are hunted is test_cdn_planted.py's.
"""

from __future__ import annotations

from typing import Any

from nodes.cdn import desk, edge, journal, purges, store
from nodes.cdn.store import Kept, Store
from protocols.caching import ranges, reuse, storing
from protocols.caching.reuse import Decision, Stored
from tests.planting import Bug, Swap, listed

BUGS: list[Bug] = []
bug = listed(BUGS, Bug)


# --- whose it is ---------------------------------------------------------------------------------


@bug
def _vary_ignored(swap: Swap) -> None:
    """what Vary names is not looked at"""
    swap.setattr(store, "matches", lambda chosen, request: True)


@bug
def _authorization_shared(swap: Swap) -> None:
    """the answer to one user's credentials is given to another"""
    swap.setattr(storing, "is_shared", lambda policy: True)


@bug
def _part_for_the_whole(swap: Swap) -> None:
    """a 206 is kept as the whole"""
    swap.setattr(storing, "PARTIAL", 999)


@bug
def _range_too_short(swap: Swap) -> None:
    """a range is cut without its last byte"""
    sound = ranges.Wanted.within

    def within(self: Any, length: int) -> tuple[int, int] | None:
        span = sound(self, length)
        return span and (span[0], span[1] - 1)

    swap.setattr(ranges.Wanted, "within", within)


# --- how old it is -------------------------------------------------------------------------------


@bug
def _never_stale(swap: Swap) -> None:
    """what was fresh stays fresh"""
    swap.setattr(Stored, "left_s", lambda self, now_s: 1.0)


@bug
def _stale_without_end(swap: Swap) -> None:
    """an origin that fails lets stale objects be served for ever"""
    swap.setattr(reuse, "stale_if_error", lambda *_: "stale-if-error")


@bug
def _revalidated_without_end(swap: Swap) -> None:
    """stale-while-revalidate has no end, and nobody revalidates"""

    def decide(stored: Stored, request: Any, now_s: float) -> Decision:
        return Decision("hit", "stale-while-revalidate")

    swap.setattr(reuse, "decide", decide)


@bug
def _confirmed_unasked(swap: Swap) -> None:
    """an answer of another version counts as a confirmation"""
    sound = edge.Edge.take

    def take(self: Any, asked: Any, came: Any, judged: Any, body: bytes) -> Any:
        kept = self.store.find(asked.key, asked.headers)
        if kept is not None and kept.stored.part is None:
            body = kept.stored.body
        return sound(self, asked, came, judged, body)

    swap.setattr(edge.Edge, "take", take)


# --- what was purged -----------------------------------------------------------------------------


@bug
def _purge_forgotten(swap: Swap) -> None:
    """a restarted edge has forgotten what it purged, and its shield has not heard of it"""

    async def load(self: Any) -> list[Any]:
        return []

    swap.setattr(journal.Journal, "load", load)


@bug
def _purged_on_its_way(swap: Swap) -> None:
    """an answer that was on its way when its URL was purged is kept"""
    swap.setattr(edge.Purges, "since", lambda self, place, where, tags: False)


@bug
def _revived(swap: Swap) -> None:
    """a 304 revives a purged object"""

    def has(self: Any, kept: Kept) -> bool:
        if self._kept.get(kept.place) is None:
            self.add(kept.key, kept.stored)
        return True

    swap.setattr(edge.Purges, "since", lambda self, place, where, tags: False)
    swap.setattr(Store, "has", has)


@bug
def _shield_not_told(swap: Swap) -> None:
    """a shield is not told of a purge that missed it"""
    swap.setattr(edge.Edge, "purge_to_tell", lambda self, asked: None)


@bug
def _shield_not_suspected(swap: Swap) -> None:
    """what a shield has is believed, though its tag was purged"""
    swap.setattr(edge.Edge, "came_from_before", lambda self, asked, came: False)


@bug
def _one_variant_purged(swap: Swap) -> None:
    """a purge takes one variant, and leaves the others"""

    def drop_url(self: Any, key: Any) -> int:
        gone = list(self._urls.get(key, ()))[:1]
        for kept in gone:
            self.drop(kept)
        return len(gone)

    swap.setattr(Store, "drop_url", drop_url)


@bug
def _tags_forgotten(swap: Swap) -> None:
    """a purge by tag finds nothing"""
    swap.setattr(Store, "drop_tag", lambda self, tag: 0)


# --- whom an answer is for -----------------------------------------------------------------------


@bug
def _waited_for_another_language(swap: Swap) -> None:
    """who waited for another's answer is given it, whatever it is chosen by"""
    sound = desk.Desk._shared

    def shared(self: Any, request: Any, wanted: Any, flight: Any, look: Any) -> Any:
        if flight.stored is None or flight.is_failure:
            return sound(self, request, wanted, flight, look)
        return self._from_flight(request, flight, look, collapsed=True)

    swap.setattr(desk.Desk, "_shared", shared)


@bug
def _part_of_a_part(swap: Swap) -> None:
    """a part answers for a range of which it has a piece"""

    def covers(part: ranges.Part, wanted: ranges.Wanted) -> bool:
        span = wanted.within(part.length or part.end)
        return span is not None and part.first <= span[0] < part.end

    swap.setattr(ranges, "covers", covers)
    swap.setattr(store, "covers", covers)


@bug
def _first_purge_told(swap: Swap) -> None:
    """a shield is told of the first purge of a URL, not of the last"""

    def last(self: Any, where: Any, tags: Any = ()) -> Any:
        known = (purge for _, purge in self._kept.values())
        return next((purge for purge in known if purge.touches(where, tags)), None)

    swap.setattr(purges.Purges, "last", last)
