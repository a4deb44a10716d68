"""What the kind of users says of itself."""

from __future__ import annotations

from typing import Final

from nodes.kind import Demand, Kind, Traffic
from nodes.users.node import UsersConfig, UsersNode

VISITS: Final = "visits"


def _demand(config: UsersConfig) -> Demand:
    return Demand(config.rate_per_s, config.clients)


TRAFFIC: Final = Traffic(
    "user_requests_total",
    "user_failures_total",
    "user_request_seconds",
    "user_requests_in_flight",
)
KIND: Final = Kind(
    UsersConfig,
    UsersNode,
    (),
    edges=(VISITS, "resolver"),
    passes=(VISITS,),
    clients=True,
    outside="users",
    demand=_demand,
    traffic=(TRAFFIC,),
)
