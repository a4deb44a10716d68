"""What the KV store's kinds say of themselves: `kv` stands for the tiers of the other three."""

from __future__ import annotations

from typing import Final

from nodes.kind import Fact, Kind, StateCheck
from nodes.kv import reach
from nodes.kv.coordinator import CoordinatorConfig, CoordinatorNode
from nodes.kv.resharding import RESHARD
from nodes.kv.router import KvRouterConfig, KvRouterNode
from nodes.kv.shard import OWNED_SLOTS, STATE_DIGEST, KvShardConfig, KvShardNode, may_lose
from nodes.kv.tier import KvConfig, expand
from nodes.kv.workloads import WORKLOADS
from nodes.replica.kind import (
    ALARMING,
    CAUTIONS,
    DAMAGED,
    FACTS,
    LEADER,
    MARKS,
    ROLES,
    disks_to_spare,
)
from nodes.replica.labels import LABELS
from nodes.replica.reach import TOGETHER

MOVE_POINTS: Final = (
    "move.begun", "move.import-begun", "move.snapshot-sent", "move.copied", "move.source-fenced",
    "move.target-drained", "move.map-published", "move.target-adopted", "move.source-released",
    "move.aborting", "move.source-resumed",
)  # fmt: skip
"""Where a move of slots between shards is weakest: both of them and the coordinators know it."""
STORE: Final = Kind(KvConfig, KvRouterNode, stores=True, expand=expand)
COORDINATOR: Final = Kind(
    CoordinatorConfig,
    CoordinatorNode,
    fixed="a store's coordinators are a group of voters that is founded with it",
    edges=("group",),
    peers=True,
    stores=True,
    cautions=CAUTIONS,
    roles=ROLES,
    leader=LEADER,
    reaches=reach.COORDINATOR,
    reaches_together=TOGETHER,
    varied={"slots_per_move": (16, 4096), "move_rate_per_s": (5.0, 50.0), "max_pause_s": (0.2,)},
    weak_after=MOVE_POINTS,
    disks_to_spare=disks_to_spare,
    alarming=ALARMING,
    damaged=DAMAGED,
    facts=FACTS,
    marks=MARKS,
    labels=LABELS,
)
ROUTER: Final = Kind(
    KvRouterConfig, KvRouterNode, edges=("group",), front=True, workloads=WORKLOADS
)
SHARD: Final = Kind(
    KvShardConfig,
    KvShardNode,
    fixed="a shard's members are founded with it; `reshard` changes how many shards there are",
    edges=("group",),
    peers=True,
    stores=True,
    cautions=CAUTIONS,
    roles=ROLES,
    leader=LEADER,
    reaches=reach.SHARD,
    reaches_together=TOGETHER,
    varied={"snapshot_every_bytes": (500, 2_000, 20_000), "retained_bytes": (1_000, 20_000)},
    disks_to_spare=disks_to_spare,
    alarming=ALARMING,
    damaged=DAMAGED,
    facts=(*FACTS, Fact("slots", ("ps", "page"))),
    marks=MARKS,
    labels=LABELS,
    checks=(
        StateCheck("replicas", STATE_DIGEST),
        StateCheck("owners", OWNED_SLOTS, across_group=True),
    ),
    may_lose=may_lose,
    operations=(RESHARD,),
    workloads=WORKLOADS,
)
