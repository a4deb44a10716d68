"""What the cache's kinds say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nodes.cache import reach
from nodes.cache.config import CacheConfig, CacheGutterConfig
from nodes.cache.judged import CACHED, MODEL
from nodes.cache.node import CacheNode
from nodes.cache.operations import OPERATIONS
from nodes.cache.workloads import WORKLOADS
from nodes.kind import Fact, Kind, Mark, Mistake, TierSeen
from nodes.parts.stores import DATABASE_KINDS

FILLS_FROM: Final = "fills_from"


def _unfit(tier: TierSeen) -> Iterator[Mistake]:
    """Only a database has a log that tells what is old."""
    reached = tier.reached[FILLS_FROM]
    if reached and not any(each.word in DATABASE_KINDS for each in reached):
        name = tier.config.fills_from
        yield Mistake(FILLS_FROM, f"`{name}` is no database; name a tier of `kind: database`")


EVENTS: Final = {
    "log not followed": "A cache node cannot ask what became old; it asks again.",
    "all forgotten": "A cache node was away for so long that it forgets all: it cannot know what "
    "became old.",
    "cache node away": "A client of a cache does not hear a node: the gutter stands in for it, or "
    "the database.",
    "cache node back": "A cache node answers again, and has forgotten what became old meanwhile.",
    "cache not filled": "What was fetched could not be kept in the cache; its reader has it.",
}
FACTS: Final = (
    Fact(
        "hit_ratio",
        ("ps", "top", "page"),
        text="The share of the reads that it answered from what it holds, since it started.",
    ),
    Fact("entries", ("ps", "page"), text="Values that it holds now."),
    Fact("bytes", ("page",), text="What they take of its `capacity`."),
    Fact(
        "fresh",
        ("ps", "page"),
        text="Whether it hears the database's log: if not, for `max_stale`, it shows nothing.",
    ),
)
WORDS: Final = {
    "gutter": "The few nodes (`kind: cache_gutter`) that stand in for dead ones of a cache; while "
    "all live, they hear only of what is deleted.",
    "lease": "The right to fill a key, which one of those who miss it has; the others wait.",
    "cold": "A cache that holds little yet, so that most reads go on to the database.",
    "flushed": "All that a cache held is thrown away: it is cold again.",
}
MARKS: Final = (
    Mark("cache node away", "cache away", "loses cache node {server}"),
    Mark("cache node back", "", "has cache node {server} back"),
    Mark("all forgotten", "cache flushed", "forgets all that it has"),
)
CACHE: Final = Kind(
    CacheConfig,
    CacheNode,
    about="A cache in front of a database: values in memory, and who may fill them.",
    example="cache: {kind: cache, nodes: 4, capacity: 64MB, eviction: sieve, ttl: 60s, "
    "fills_from: db}",
    edges=(FILLS_FROM,),
    peers=True,
    copies=True,
    stores=True,
    mistakes=_unfit,
    facts=FACTS,
    words=WORDS,
    marks=MARKS,
    operations=OPERATIONS,
    workloads=WORKLOADS,
    models={CACHED: MODEL},
    reaches=reach.ALWAYS,
    varied={
        "capacity_bytes": (2_000, 20_000),
        "eviction": ("lru", "fifo", "sieve", "s3fifo"),
        "lease_time_s": (0.1, 1.0),
        "ttl_s": (0.5, 3.0),
    },
)
GUTTER: Final = Kind(
    CacheGutterConfig,
    CacheNode,
    about="A few nodes that stand in for dead ones of a cache, with values that live shortly.",
    example="gutter: {kind: cache_gutter, ttl: 2s, fills_from: db}",
    edges=(FILLS_FROM,),
    peers=True,
    copies=True,
    stores=True,
    mistakes=_unfit,
    facts=FACTS,
    words=WORDS,
    marks=MARKS,
    operations=OPERATIONS,
)
