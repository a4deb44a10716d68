"""What the kinds of DNS servers say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from nodes.base import DNS_PORT
from nodes.dns.config import DnsConfig
from nodes.dns.node import DnsNode
from nodes.dns.resolver import ResolverConfig, ResolverNode
from nodes.dns.steering import DEFAULT_PLACE, places_of
from nodes.kind import Caution, Fact, Kind, Mark, Mistake, Port, TierSeen, Try, unknown_regions
from nodes.parts import hosts
from protocols import dns

ASKS: Final = "asks"
DIG_PORT: Final = 53
"""What dig asks if it is told no port."""


def _dead_ends(tier: TierSeen) -> Iterator[Caution]:
    for target in tier.reached["answers"]:
        if not target.public:
            what = f"`{tier.name}` answers with `{target.name}`, which is private"
            yield Caution(f"{what}; give `{target.name}` `public: true`")


def _unknown_places(tier: TierSeen) -> Iterator[Mistake]:
    """Where a policy sends people, there is nothing; or nobody is where it looks."""
    config: DnsConfig = tier.config
    named = [word for word in config.policies if word in tier.regions]
    for word in named:
        yield Mistake("policies", f"`policies`: `{word}` is a region; give the policy another name")
    known = {*tier.regions, *config.policies}
    parts = ("weights", config.weights), ("order", config.order), ("near", _listed(config.near))
    for option, words in parts:
        yield from unknown_regions(tier, option, [word for word in words if word not in known])
    nested = [word for policy in config.policies.values() for word in policy.targets]
    yield from unknown_regions(tier, "policies", [word for word in nested if word not in known])
    places = {place for region in (*tier.regions, *config.networks) for place in places_of(region)}
    strange = [place for place in config.near if place not in places and place != DEFAULT_PLACE]
    yield from unknown_regions(tier, "near", strange)


def _listed(near: dict[str, list[str]]) -> list[str]:
    return [word for words in near.values() for word in words]


def _dig(config: DnsConfig, address: str, port: int) -> Iterator[Try]:
    at_port = "" if port == DIG_PORT else f" -p {port}"
    yield Try(f"dig @{address}{at_port} www.{config.zone}", "what DNS answers")


def _hosts(config: DnsConfig) -> tuple[str, ...]:
    """What the zone gives out (zone.py), but for single nodes."""
    zone = dns.canonical(config.zone)
    return (f"www.{zone}", zone, *(f"{tier}.{zone}" for tier in (config.answers, *config.names)))


def _with_hosts(tier: TierSeen) -> ResolverConfig:
    """The config with the names that whom it asks gives out."""
    config: ResolverConfig = tier.config
    return replace(config, hosts=config.hosts or hosts.given_out(tier, ASKS))


def _unknown_hosts(tier: TierSeen) -> Iterator[Mistake]:
    yield from hosts.unknown(tier, "hosts", tier.config.hosts, ASKS)


EVENTS: Final = {
    "address withdrawn": "A member fails its checks: its address is no longer given.",
    "address restored": "A member passes its checks: its address is given again.",
    "answer not sent": "The network took no answer to an asker.",
}
DNS: Final = Port("dns", DNS_PORT, ("dns", "rpc"), datagrams=True)
KIND: Final = Kind(
    DnsConfig,
    DnsNode,
    (DNS,),
    about="Authoritative for one zone, over UDP and TCP: gives the addresses of members "
    "that pass its checks.",
    example="dns: {kind: dns, public: true, zone: shop.test, answers: lb, ttl: 5s}",
    edges=("answers", "names"),
    visited=True,
    passes=("answers",),
    mistakes=_unknown_places,
    look=_dig,
    hosts=_hosts,
    facts=(
        Fact("given", ("ps", "page"), text="Addresses that it gives out now."),
        Fact(
            "withheld",
            ("ps", "top", "page"),
            text="Addresses that it does not give out, because their checks fail.",
        ),
    ),
    marks=(
        Mark("address withdrawn", "withdrawn", text="withdraws {server}"),
        Mark("address restored", "restored", text="gives {server} again"),
    ),
    cautions={"public-private": _dead_ends},
)
RESOLVER: Final = Kind(
    ResolverConfig,
    ResolverNode,
    (DNS,),
    about="A caching resolver: asks a dns tier for people, and remembers answers as long as they "
    "hold, and for whom they hold.",
    example="resolvers: {kind: resolver, public: true, asks: dns, per_region: 1}",
    edges=(ASKS,),
    visited=True,
    elsewhere=True,
    mistakes=_unknown_hosts,
    joined=_with_hosts,
    hosts=lambda config: config.hosts,
    facts=(
        Fact(
            "hit_ratio",
            ("ps", "page"),
            text="The share of the questions that it answered from what it remembers.",
        ),
    ),
)
