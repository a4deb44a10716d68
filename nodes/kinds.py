"""The table of kinds: what a tier's `kind:` stands for. One line each; nothing else is here."""

from __future__ import annotations

from typing import Final

from nodes.balancer.node import BalancerConfig, BalancerNode
from nodes.base import DNS_PORT, HTTP_PORT, Kind, StateCheck
from nodes.clients import ClientsConfig, ClientsNode
from nodes.dns import DnsConfig, DnsNode
from nodes.kv.coordinator import CoordinatorConfig, CoordinatorNode
from nodes.kv.router import KvRouterConfig, KvRouterNode
from nodes.kv.shard import OWNED_SLOTS, KvShardConfig, KvShardNode
from nodes.kv.shard import STATE_DIGEST as KV_DIGEST
from nodes.kv.shard import may_lose as kv_may_lose
from nodes.kv.tier import KvConfig
from nodes.kv.tier import expand as expand_kv
from nodes.sql.database import LOG_DIGEST, STATE_DIGEST, DatabaseConfig, DatabaseNode, may_lose
from nodes.users.node import UsersConfig, UsersNode
from nodes.web import WebConfig, WebNode

DATABASE_ROLES: Final = ("primary", "replica", "learner", "witness")

KINDS: Final[dict[str, Kind]] = {
    "balancer": Kind(BalancerConfig, BalancerNode, HTTP_PORT, edges=("balances",)),
    "clients": Kind(ClientsConfig, ClientsNode, edges=("asks",), clients=True),
    "database": Kind(
        DatabaseConfig,
        DatabaseNode,
        peers=True,
        roles=DATABASE_ROLES,
        checks=(StateCheck("replicas", STATE_DIGEST), StateCheck("logs", LOG_DIGEST)),
        may_lose=may_lose,
    ),
    "dns": Kind(DnsConfig, DnsNode, DNS_PORT, edges=("answers", "names")),
    "kv": Kind(KvConfig, KvRouterNode, expand=expand_kv),
    "kv_coordinator": Kind(
        CoordinatorConfig,
        CoordinatorNode,
        edges=("group",),
        peers=True,
        roles=("primary", "replica"),
    ),
    "kv_router": Kind(KvRouterConfig, KvRouterNode, edges=("group",), front=True),
    "kv_shard": Kind(
        KvShardConfig,
        KvShardNode,
        edges=("group",),
        peers=True,
        roles=("primary", "replica"),
        checks=(
            StateCheck("replicas", KV_DIGEST),
            StateCheck("owners", OWNED_SLOTS, across_group=True),
        ),
        may_lose=kv_may_lose,
    ),
    "users": Kind(UsersConfig, UsersNode, edges=("visits", "resolver"), clients=True),
    "web": Kind(WebConfig, WebNode, HTTP_PORT, edges=("uses",), code=("app",)),
}
