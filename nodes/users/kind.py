"""What the kind of users says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from nodes.kind import Demand, Kind, Mistake, TierSeen, Traffic
from nodes.parts import hosts
from nodes.users.config import UsersConfig
from nodes.users.following import WHY
from nodes.users.node import UsersNode

VISITS: Final = "visits"
RESOLVER: Final = "resolver"


def _named(tier: TierSeen) -> UsersConfig:
    """The config with the name that users ask for: what their resolver calls the site."""
    config: UsersConfig = tier.config
    known = hosts.given_out(tier, RESOLVER)
    return replace(config, host=config.host or known[0]) if known else config


def _unknown_host(tier: TierSeen) -> Iterator[Mistake]:
    host = tier.config.host
    yield from hosts.unknown(tier, "host", (host,) if host else (), RESOLVER)


def _demand(config: UsersConfig) -> Demand:
    rate = config.whole_rate()
    people_per_s = config.population_people / config.think_time_s if config.people else 0.0
    changes = rate.least_per_s < rate.peak_per_s
    least_per_s = rate.least_per_s + people_per_s if changes else None
    return Demand(rate.peak_per_s + people_per_s, config.clients, least_per_s)


def _paced(config: UsersConfig, rate_per_s: float) -> UsersConfig:
    return replace(config, rate_per_s=rate_per_s, clients=0, population_people=0, sample_ratio=1.0)


def _sampled(config: UsersConfig) -> float:
    return config.sample_ratio


TRAFFIC: Final = Traffic(
    "user_requests_total",
    "user_failures_total",
    "user_request_seconds",
    "user_requests_in_flight",
)
EVENTS: Final = {
    "site not answering": "Users warmed up for ten seconds, and the site answered none of them.",
    "final read failed": "A read of what users wrote was not answered; it is asked again.",
}
KIND: Final = Kind(
    UsersConfig,
    UsersNode,
    (),
    about="People of a region: they come at a rate, or wait and think; they read, post, "
    "and look for their posts at the end.",
    example="users: {local: {rate: 40/s, clients: 10, visits: lb, resolver: dns}}",
    edges=(VISITS, RESOLVER),
    passes=(VISITS,),
    clients=True,
    outside="users",
    demand=_demand,
    paced=_paced,
    sampled=_sampled,
    mistakes=_unknown_host,
    joined=_named,
    traffic=TRAFFIC,
    follow=WHY,
)
