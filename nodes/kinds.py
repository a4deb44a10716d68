"""The table of kinds: what a tier's `kind:` stands for. One line each; nothing else is here."""

from __future__ import annotations

from typing import Final

from nodes.balancer import BalancerConfig, BalancerNode
from nodes.base import DNS_PORT, HTTP_PORT, Kind, StateCheck
from nodes.clients import ClientsConfig, ClientsNode
from nodes.database import STATE_DIGEST, DatabaseConfig, DatabaseNode, may_lose
from nodes.dns import DnsConfig, DnsNode
from nodes.kv_shard import KvShardConfig, KvShardNode
from nodes.users import UsersConfig, UsersNode
from nodes.web import WebConfig, WebNode

DATABASE_ROLES: Final = ("primary", "follower", "candidate", "learner")

KINDS: Final[dict[str, Kind]] = {
    "balancer": Kind(BalancerConfig, BalancerNode, HTTP_PORT, edges=("balances",)),
    "clients": Kind(ClientsConfig, ClientsNode, edges=("asks",), clients=True),
    "database": Kind(
        DatabaseConfig,
        DatabaseNode,
        peers=True,
        roles=DATABASE_ROLES,
        checks=(StateCheck("replicas", STATE_DIGEST),),
        may_lose=may_lose,
    ),
    "dns": Kind(DnsConfig, DnsNode, DNS_PORT, edges=("answers", "names")),
    "kv_shard": Kind(
        KvShardConfig, KvShardNode, edges=("group",), peers=True, roles=("primary", "replica")
    ),
    "users": Kind(UsersConfig, UsersNode, edges=("visits", "resolver"), clients=True),
    "web": Kind(WebConfig, WebNode, HTTP_PORT, edges=("uses",), code=("app",)),
}
