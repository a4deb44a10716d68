"""What the balancer's kind says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nodes.balancer import reach
from nodes.balancer.config import BalancerConfig
from nodes.balancer.node import BalancerNode
from nodes.kind import HTTP, Caution, Fact, Kind, Mark, TierSeen

BALANCES: Final = "balances"


def _ways_around(tier: TierSeen) -> Iterator[Caution]:
    for target in tier.reached[BALANCES]:
        if target.public:
            what = f"`{target.name}` is public, so clients can go around `{tier.name}`"
            yield Caution(f"{what}; remove `public: true`", target)


EVENTS: Final = {
    "balancer draining": "The balancer is about to end: it takes no new connections.",
}
KIND: Final = Kind(
    BalancerConfig,
    BalancerNode,
    (HTTP,),
    about="Takes connections, checks servers, and gives each connection to one that is "
    "well (TCP, byte for byte).",
    example="lb: {kind: balancer, public: true, balances: web, check: http}",
    edges=(BALANCES,),
    passes=(BALANCES,),
    visited=True,
    facts=(Fact("sessions", ("ps", "top", "page")), Fact("refused", ("top", "page"))),
    cautions={"public-private": _ways_around},
    reaches=reach.STATES,
    varied={"max_queue": (1, 16), "queue_timeout_s": (0.5,)},
    marks=(
        Mark("server down", text="marks {server} down"),
        Mark("server up", text="marks {server} up"),
    ),
)
