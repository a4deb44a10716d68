"""What the KV store's kinds say of themselves: `kv` stands for the tiers of the other three."""

from __future__ import annotations

from typing import Final

from nodes.kind import Kind, StateCheck
from nodes.kv.coordinator import CoordinatorConfig, CoordinatorNode
from nodes.kv.router import KvRouterConfig, KvRouterNode
from nodes.kv.shard import OWNED_SLOTS, STATE_DIGEST, KvShardConfig, KvShardNode, may_lose
from nodes.kv.tier import KvConfig, expand

ROLES: Final = ("primary", "replica")

STORE: Final = Kind(KvConfig, KvRouterNode, expand=expand)
COORDINATOR: Final = Kind(
    CoordinatorConfig, CoordinatorNode, edges=("group",), peers=True, roles=ROLES
)
ROUTER: Final = Kind(KvRouterConfig, KvRouterNode, edges=("group",), front=True)
SHARD: Final = Kind(
    KvShardConfig,
    KvShardNode,
    edges=("group",),
    peers=True,
    roles=ROLES,
    checks=(
        StateCheck("replicas", STATE_DIGEST),
        StateCheck("owners", OWNED_SLOTS, across_group=True),
    ),
    may_lose=may_lose,
)
