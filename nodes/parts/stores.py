"""Which kinds of tier are stores, for those who ask one; and what is not to be expected of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nodes.kind import Mistake, TierSeen

DATABASE_KINDS: Final = ("database",)
KV_KINDS: Final = ("kv_shard", "kv_coordinator", "kv_router")
QUEUE_FRONT: Final = "queue_front"
QUEUE_KINDS: Final = ("queue_broker", QUEUE_FRONT)
CACHE_KINDS: Final = ("cache",)
GUTTER_KINDS: Final = ("cache_gutter",)


def first_store(tier: TierSeen, edge: str) -> str:
    """The kind of the first store named there: it has the site's people and posts. "": none is."""
    stores = (*DATABASE_KINDS, *KV_KINDS)
    return next((each.word for each in tier.reached[edge] if each.word in stores), "")


def misread(tier: TierSeen) -> Iterator[Mistake]:
    """A word that only a database understands must not seem to work on another store."""
    words = [each.word for named in tier.reached.values() for each in named]
    databases = any(word in DATABASE_KINDS for word in words)
    if tier.config.reads == "replicas" and not databases and any(w in KV_KINDS for w in words):
        yield Mistake(
            "reads",
            "`reads: replicas` is for a database; give the kv tier `max_lag: 1s`, and its "
            "routers read single keys from replicas",
        )
