"""`kind: kv`, the sharded store as one tier of the file: which tiers it stands for.

Each shard is a tier of its own (`kv-shard-1` with its replicas), beside coordinators and routers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from nodes.kv.documents import check_index
from nodes.kv.state import DEFAULT_REQUEST_IDS
from nodes.replica.kind import expect_detection
from protocols.kv.coordinator import MAX_SHARDS, coordinator_tier, router_tier, shard_tier
from protocols.replication.replica import AckRule

COMMON: Final = ("regions", "cpu", "disk", "clock", "restart")
OF_SHARDS: Final = (
    "durability", "ack", "sync_interval", "detection_timeout", "prefers", "snapshot_every",
    "retained", "capacity", "index", "request_ids",
)  # fmt: skip
OF_COORDINATORS: Final = (
    "partitioner", "detection_timeout", "slots_per_move", "move_rate", "max_pause", "stall",
)  # fmt: skip
OF_ROUTERS: Final = ("shard_timeout", "max_lag", "near_cache", "copies", "counters")


@dataclass(frozen=True, slots=True)
class KvConfig:
    """A sharded key-value store: shards of a primary and replicas, coordinators, routers."""

    shards: int = 1
    """How many the store is founded with; then `reshard` changes it."""
    replicas: int = 1
    """Copies of each shard beside its primary; with one, a coordinator is the third voter."""
    partitioner: Literal["slots", "modulo", "ring", "maglev"] = "slots"
    """How keys are shared out: fixed slots that move one by one, or (to compare) `key % n`, a ring,
    Maglev."""
    coordinators: int = 3
    """Nodes that keep the map of slots, and vote in shards of two: an odd number."""
    routers: int = 1
    """For clients that know nothing of slots; the site's own servers need none."""
    durability: Literal["log", "none"] = "log"
    """`none`: one node a shard and its memory, no log; a restart begins empty."""
    ack: str = "quorum"
    """When a write is answered: quorum, async, or a level (off, local, remote_write, on, ...)."""
    sync_interval_s: float = 0.0
    """Above 0: logs are synced once in so long; with an `ack` of off or remote_write only."""
    detection_timeout_s: float = 1.0
    """Silence after which the replicas elect another primary; also the length of its lease."""
    prefers: tuple[str, ...] = ()
    """Regions whose members stand first when a primary is gone, the best first:
    `prefers: [us-east, eu-west]`."""
    snapshot_every_bytes: int = 16 << 20
    """Each member takes a snapshot when its log has grown by so much since the last one."""
    retained_bytes: int = 64 << 20
    """Log kept for replicas that are away, and for moves."""
    capacity_bytes: int = 1 << 30
    """Of each shard; when full, writes are refused."""
    index: str = ""
    """The path of the one field by which documents are found: `index: author`."""
    request_ids: int = DEFAULT_REQUEST_IDS
    """Outcomes that each shard remembers for retries."""
    slots_per_move: int = 512
    """The most slots that are fenced at a time."""
    move_rate_per_s: float = 0.0
    """Keys a second that a move copies at most; 0 for no limit."""
    max_pause_s: float = 2.0
    """A move that has not drained by then is undone, and tried again later."""
    stall_s: float = 10.0
    """A copy without progress for so long is given up."""

    shard_timeout_s: float = 0.0
    """Routers: above 0, how long a question to several shards waits for one of them."""
    max_lag_s: float = 0.0
    """Routers: above 0, replicas answer reads of single keys too, at most so far behind."""
    near_cache_s: float = 0.0
    """Routers: above 0, what was read is answered again without asking, for so long."""
    copies: dict[str, int] = field(default_factory=dict)
    """Routers: hot keys of which so many copies are kept, each in a slot of its own:
    `copies: {user-1: 4}`."""
    counters: dict[str, int] = field(default_factory=dict)
    """Routers: hot counters that are kept in so many parts, and read as their sum:
    `counters: {visits: 8}`."""

    def __post_init__(self) -> None:
        AckRule.parse(self.ack).check_interval(self.sync_interval_s)
        expect_detection(self.detection_timeout_s)
        check_index(self.index)
        if not 1 <= self.shards <= MAX_SHARDS:
            raise ValueError(f"`shards` is from 1 to {MAX_SHARDS}")
        if self.coordinators < 1 or self.replicas < 0 or self.routers < 0:
            raise ValueError("`coordinators` must be above 0, `replicas` and `routers` not below")
        if self.durability == "none" and self.replicas:
            raise ValueError("`durability: none` keeps one copy only; add `replicas: 0`")


DEFAULTS: Final = KvConfig()


def expand(name: str, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tiers of the kv tier `name`, by the options of its file: `cpu` is that of the shards.
    Raises ValueError."""
    for key in ("nodes", "per_region"):
        if key in options:
            raise ValueError(f"`{key}` does not fit a kv tier; say `shards` and `replicas`")
    replicas = options.get("replicas", DEFAULTS.replicas)
    shards = options.get("shards", DEFAULTS.shards)
    common = {key: options[key] for key in COMMON if key in options}
    without_cpu = {key: each for key, each in common.items() if key != "cpu"}
    made: dict[str, dict[str, Any]] = {}
    for number in range(1, shards + 1):
        made[shard_tier(name, number)] = {
            "kind": "kv_shard",
            "group": name,
            "nodes": 1 + replicas,
            "witness": replicas == 1,
            **common,
            **{key: options[key] for key in OF_SHARDS if key in options},
        }
    made[coordinator_tier(name)] = {
        "kind": "kv_coordinator",
        "group": name,
        "shards": shards,
        "nodes": options.get("coordinators", DEFAULTS.coordinators),
        **without_cpu,
        **{key: options[key] for key in OF_COORDINATORS if key in options},
    }
    routers = options.get("routers", DEFAULTS.routers)
    if routers:
        made[router_tier(name)] = {
            "kind": "kv_router",
            "group": name,
            "nodes": routers,
            "public": options.get("public", False),
            **without_cpu,
            **{key: options[key] for key in OF_ROUTERS if key in options},
        }
    return made
