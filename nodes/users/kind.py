"""What the kind of users says of itself."""

from __future__ import annotations

from typing import Final

from nodes.kind import Demand, Kind
from nodes.users.node import UsersConfig, UsersNode

VISITS: Final = "visits"


def _demand(config: UsersConfig) -> Demand:
    return Demand(config.rate_per_s, config.clients)


KIND: Final = Kind(
    UsersConfig,
    UsersNode,
    (),
    edges=(VISITS, "resolver"),
    passes=(VISITS,),
    clients=True,
    outside="users",
    demand=_demand,
)
