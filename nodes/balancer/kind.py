"""What the balancer's kind says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from nodes.balancer import reach
from nodes.balancer.config import BalancerConfig
from nodes.balancer.node import BalancerNode
from nodes.kind import HTTP, Caution, Fact, Kind, Mark, Mistake, TierSeen

BALANCES: Final = "balances"
_NUMBER: Final = re.compile("[1-9][0-9]*")


def _ways_around(tier: TierSeen) -> Iterator[Caution]:
    for target in tier.reached[BALANCES]:
        if target.public:
            what = f"`{target.name}` is public, so clients can go around `{tier.name}`"
            yield Caution(f"{what}; remove `public: true`", target)


def _useless_weights(tier: TierSeen) -> Iterator[Mistake]:
    """Of what will never be a server; or all of them are given nothing."""
    weights, tiers = tier.config.weights, tier.reached[BALANCES]
    for name in weights:
        of_tier, _, number = name.rpartition("-")
        if of_tier not in [each.name for each in tiers] or not _NUMBER.fullmatch(number):
            there = ", ".join(f"{each.name}-1" for each in tiers)
            what = f"`weights`: `{name[:60]}` will never be a server here"
            yield Mistake("weights", f"{what}; write {there} and so on")
    servers = [f"{each.name}-{number + 1}" for each in tiers for number in range(each.nodes)]
    if servers and all(weights.get(each) == 0 for each in servers):
        what = f"`weights` of 0 leave no server of `{tier.config.balances}` for anybody"
        yield Mistake("weights", f"{what}; give one of them more")


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
    mistakes=_useless_weights,
    facts=(
        Fact("sessions", ("ps", "top", "page"), text="Connections of clients that are open now."),
        Fact(
            "refused",
            ("top", "page"),
            text="Connections that it refused: no server was up, or too many waited.",
        ),
    ),
    cautions={"public-private": _ways_around},
    reaches=reach.STATES,
    varied={"max_queue": (1, 16), "queue_timeout_s": (0.5,)},
    marks=(
        Mark("server down", text="marks {server} down"),
        Mark("server up", text="marks {server} up"),
    ),
)
