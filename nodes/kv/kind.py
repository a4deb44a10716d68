"""What the KV store's kinds say of themselves: `kv` stands for the tiers of the other three."""

from __future__ import annotations

from typing import Final

from nodes.kind import Fact, Kind, StateCheck
from nodes.kv import reach
from nodes.kv.coordinator import CoordinatorConfig, CoordinatorNode
from nodes.kv.resharding import RESHARD
from nodes.kv.router import KvRouterConfig, KvRouterNode
from nodes.kv.shard import (
    OWNED_SLOTS,
    STATE_DIGEST,
    KvShardConfig,
    KvShardNode,
    may_lose,
    votes_with,
)
from nodes.kv.tier import KvConfig, expand
from nodes.kv.workloads import WORKLOADS
from nodes.parts.deploying import DEPLOY
from nodes.replica.backing_up import OPERATIONS as BACKUPS
from nodes.replica.kind import (
    ALARMING,
    CAUTIONS,
    DAMAGED,
    FACTS,
    LEADER,
    MARKS,
    ROLES,
    WORDS,
    disks_to_spare,
    unknown_preferences,
)
from nodes.replica.labels import LABELS
from nodes.replica.reach import TOGETHER

MOVE_POINTS: Final = (
    "move.begun", "move.import-begun", "move.snapshot-sent", "move.copied", "move.source-fenced",
    "move.target-drained", "move.map-published", "move.target-adopted", "move.source-released",
    "move.aborting", "move.source-resumed",
)  # fmt: skip
"""Where a move of slots between shards is weakest: both of them and the coordinators know it."""
EVENTS: Final = {
    "slot map founded": "The store's first map of slots is there.",
    "reshard begun": "Slots are about to move to more or fewer shards.",
    "reshard ended": "Every move is done, or what was under way was undone.",
    "coordinator waits": "The leading coordinator cannot go on with its moves yet.",
    "shard not founded yet": "A new shard has not taken its first map of slots yet.",
    "map not refreshed": "A client could not fetch the map of slots; it goes on with the old one.",
    "hot key": "A key takes a fifth or more of a shard's requests.",
    "hot key over": "A key that was named as hot has not been it for ten seconds.",
    "rejoined empty": "A shard without a log came back with nothing: its slots are empty.",
    "not rejoined yet": "A shard without a log asks the coordinators what it owns.",
    "shard answers again": "A shard that was silent answers questions to several shards again.",
    "shard does not answer in time": "A question to several shards goes on without this one.",
    "import lost": "Both ends of a move forgot the keys of its slots, which begin empty.",
    "target not reached": "The coordinator cannot ask the target of a move; it tries again.",
    "target not told": "The coordinator cannot tell the target of a move; it tries again.",
    "move.begun": "A move of slots from one shard to another begins.",
    "move.import dropped": "The target of a move has forgotten what it copied.",
    "move.import begun": "The target of a move has opened its place for the slots.",
    "move.snapshot sent": "The source of a move has sent all keys of the slots.",
    "move.copied": "The target of a move has all but what changes just now.",
    "move.source fenced": "The source refuses writes to the slots: the pause begins.",
    "move.target drained": "The target has every change of the slots.",
    "move.map published": "The map of slots names the target as the owner.",
    "move.target adopted": "The target serves the slots: the pause ends.",
    "move.source released": "The source has forgotten the slots.",
    "move.source resumed": "The source serves the slots again, as the move was undone.",
    "move.aborting": "A move is being undone.",
    "move.aborted": "A move was undone.",
    "move.cancelled": "A move was given up before it began.",
    "move.done": "A move is over.",
    "move.pull failed": "The target could not fetch from the source; it tries again.",
}
STORE: Final = Kind(
    KvConfig,
    KvRouterNode,
    about="A sharded key-value store as one tier: its shards, coordinators and routers.",
    example="kv: {kind: kv, public: true, shards: 2, replicas: 1, coordinators: 3}",
    stores=True,
    expand=expand,
)
COORDINATOR: Final = Kind(
    CoordinatorConfig,
    CoordinatorNode,
    about="Keeps the map of slots of a store, and moves slots between its shards (of `kind: kv`).",
    example="kv-coordinator: {kind: kv_coordinator, nodes: 3, group: kv, shards: 2}",
    fixed="a store's coordinators are a group of voters that is founded with it",
    edges=("group",),
    peers=True,
    stores=True,
    cautions=CAUTIONS,
    roles=ROLES,
    words=WORDS,
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
    operations=(DEPLOY, *BACKUPS),
)
ROUTER: Final = Kind(
    KvRouterConfig,
    KvRouterNode,
    about="Finds the shard of each key, for clients that know no slots (of `kind: kv`).",
    example="kv-router: {kind: kv_router, public: true, group: kv}",
    edges=("group",),
    front=True,
    workloads=WORKLOADS,
)
SHARD: Final = Kind(
    KvShardConfig,
    KvShardNode,
    about="A primary and its replicas, with the keys of some slots; without a `group` of all.",
    example="cache: {kind: kv_shard, nodes: 3, ack: quorum}",
    fixed="a shard's members are founded with it; `reshard` changes how many shards there are",
    edges=("group",),
    peers=True,
    stores=True,
    mistakes=unknown_preferences,
    cautions=CAUTIONS,
    roles=ROLES,
    words=WORDS,
    leader=LEADER,
    votes_with=votes_with,
    reaches=reach.SHARD,
    reaches_together=TOGETHER,
    varied={"snapshot_every_bytes": (500, 2_000, 20_000), "retained_bytes": (1_000, 20_000)},
    disks_to_spare=disks_to_spare,
    alarming=ALARMING,
    damaged=DAMAGED,
    facts=(
        *FACTS,
        Fact("slots", ("ps", "page"), text="How many of the 16384 slots of keys the shard owns."),
    ),
    marks=MARKS,
    labels=LABELS,
    checks=(
        StateCheck("replicas", STATE_DIGEST),
        StateCheck("owners", OWNED_SLOTS, across_group=True),
    ),
    may_lose=may_lose,
    operations=(RESHARD, DEPLOY, *BACKUPS),
    workloads=WORKLOADS,
)
