"""What the autoscaler's kind says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nodes.autoscaler import reach
from nodes.autoscaler.config import AutoscalerConfig
from nodes.autoscaler.node import AutoscalerNode
from nodes.kind import SCALES, Fact, Kind, Mark, Mistake, Scaling, TierSeen
from nodes.parts.stores import QUEUE_FRONT

LAG_OF: Final = "lag_of"


def _unfit(tier: TierSeen) -> Iterator[Mistake]:
    """Only a tier whose members may come and go can be scaled, and only a queue has a lag."""
    scaled, queues = tier.reached[SCALES.field], tier.reached[LAG_OF]
    if len(scaled) > 1:
        names = ", ".join(each.name for each in scaled)
        yield Mistake(SCALES.field, f"`{tier.config.scales}` stands for {names}: name one of them")
    for each in scaled:
        if each.kind.fixed:
            yield Mistake(SCALES.field, f"`{each.name}` cannot be scaled: {each.kind.fixed}")
    if queues and not any(each.word == QUEUE_FRONT for each in queues):
        yield Mistake(
            LAG_OF, f"`{tier.config.lag_of}` is no queue with a front; name a tier of `kind: queue`"
        )


def _scaling(config: AutoscalerConfig) -> Scaling:
    return Scaling(config.scales, config.max_nodes, "max_nodes")


EVENTS: Final = {
    "scaling": "An autoscaler asks for more or fewer members, with the arithmetic that led to it.",
    "scaling not decided": "Too little is known of a tier to scale it, and why.",
    "scaling refused": "The directory did not scale a tier as an autoscaler asked.",
    "member not read": "An autoscaler could not read a member's metrics.",
    "lag not read": "An autoscaler could not ask a queue what waits.",
}
KIND: Final = Kind(
    AutoscalerConfig,
    AutoscalerNode,
    (),
    about="Has more or fewer members of a tier run, by what they measure or what waits in a queue.",
    example="hpa: {kind: autoscaler, scales: web, targets: {cpu: 60%}}",
    edges=(SCALES, LAG_OF),
    scales=_scaling,
    mistakes=_unfit,
    reaches=reach.STATES,
    facts=(
        Fact(
            "scales", ("ps", "top", "page"), text="The tier that it has more or fewer members of."
        ),
        Fact("current", ("page",), text="How many members that tier has."),
        Fact("wanted", ("ps", "top", "page"), text="How many members it wants that tier to have."),
        Fact("why", ("page",), text="What made it want so many."),
    ),
    marks=(Mark("scaling", "scaling", "scales {scales} from {was} to {nodes}"),),
)
