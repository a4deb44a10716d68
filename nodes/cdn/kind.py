"""What the edge's kind says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nodes.cdn import reach
from nodes.cdn.config import CdnConfig
from nodes.cdn.judged import MODEL, PAGES
from nodes.cdn.node import CdnNode
from nodes.cdn.operations import OPERATIONS
from nodes.cdn.workloads import WORKLOADS
from nodes.kind import HTTP, Caution, Edge, Fact, Kind, Mark, TierSeen
from protocols.control import PURGE

ORIGIN: Final = "origin"


def _ways_around(tier: TierSeen) -> Iterator[Caution]:
    for target in tier.reached[ORIGIN]:
        if target.public and tier.public and "dns" not in target.word:
            what = f"`{target.name}` is public, so clients can go around `{tier.name}`"
            yield Caution(f"{what}; remove `public: true`", target)


EVENTS: Final = {
    "purged": "Objects were thrown away, and that is on the disk.",
    "shield not told": "A shield did not answer about a purge: it hears of it by requests.",
    "origin left alone": "The origin failed too often: it is not asked for a while.",
    "origin answers again": "The origin works again after it was left alone.",
}
KIND: Final = Kind(
    CdnConfig,
    CdnNode,
    (HTTP,),
    about="An edge of a CDN: an HTTP cache before an origin, in the region of its users.",
    example="edge: {kind: cdn, public: true, per_region: 1, origin: lb}",
    edges=(Edge(ORIGIN, (PURGE,), outside=True),),
    passes=(ORIGIN,),
    visited=True,
    facts=(
        Fact("hits", ("ps", "top", "page"), text="The share of answers that took no origin."),
        Fact("objects", ("ps", "page"), text="Answers of the origin that it keeps now."),
    ),
    words={
        "shield": "A tier of edges between the others and the origin, which it alone asks.",
        "purge": "What is kept of a page is thrown away before its time, at every edge.",
        "stale": "Kept for longer than it is fresh, and shown where the origin fails, or is asked "
        "meanwhile.",
        "origin": "Where an edge gets what it does not keep: the tier behind it.",
    },
    cautions={"public-private": _ways_around},
    marks=(
        Mark("origin left alone", word="origin", text="leaves its origin alone"),
        Mark("origin answers again", text="asks its origin again"),
        Mark("purged", text="purges {what} {value}"),
    ),
    operations=OPERATIONS,
    workloads=WORKLOADS,
    models={PAGES: MODEL},
    reaches=reach.STATES,
    varied={"capacity_bytes": (4_000, 40_000), "eviction": ("lru", "fifo", "sieve", "s3fifo"),
            "hit_for_miss_s": (0.5,), "max_variants": (2,)},
)  # fmt: skip
