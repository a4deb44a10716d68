"""`kind: queue`, the message queue as one tier of the file: which tiers it stands for.

Each broker group is a tier of its own (`queue-broker-1` with its members), beside the front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nodes.queue.broker import Acks
from nodes.queue.topics import TopicOptions, with_dead_letters
from nodes.replica.kind import expect_detection
from protocols.queue.placement import MAX_BROKER_GROUPS, broker_tier, front_tier

COMMON: Final = ("regions", "cpu", "disk", "clock", "restart")
OF_BROKERS: Final = (
    "topics", "acks", "sync_interval", "detection_timeout", "prefers", "snapshot_every", "retained",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """A message queue: groups of brokers that keep topics, and a front for any client."""

    brokers: int = 1
    """Groups; partitions are spread over them."""
    replicas: int = 2
    """Copies of each group's log beside its primary's."""
    fronts: int = 1
    """For clients that know nothing of partitions; the site's own servers need none."""
    topics: dict[str, TopicOptions] = field(default_factory=dict)
    """What is there from the beginning, `topics: {orders: {partitions: 4}}`; clients may declare
    others."""
    acks: Acks = "quorum"
    """Who must have a record before its publisher hears so: nobody, its broker, a majority."""
    sync_interval_s: float = 0.0
    """Above 0: logs are synced once in so long, and a publisher hears of its record when it is
    written, not when it is on the disk: a power cut takes what was written since."""
    detection_timeout_s: float = 1.0
    """Silence after which the replicas elect another primary; also the length of its lease."""
    prefers: tuple[str, ...] = ()
    """Regions whose members stand first when a primary is gone, the best first:
    `prefers: [us-east, eu-west]`."""
    snapshot_every_bytes: int = 16 << 20
    """A snapshot is taken when the log has grown by so much since the last one."""
    retained_bytes: int = 64 << 20
    """Log kept for replicas that are away."""

    def __post_init__(self) -> None:
        if not 1 <= self.brokers <= MAX_BROKER_GROUPS:
            raise ValueError(f"`brokers` is from 1 to {MAX_BROKER_GROUPS}")
        if self.replicas < 0 or self.fronts < 0:
            raise ValueError("`replicas` and `fronts` are not below 0")
        expect_detection(self.detection_timeout_s)
        with_dead_letters(self.topics)


DEFAULTS: Final = QueueConfig()


def expand(name: str, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tiers of the queue tier `name`, by the options of its file: `cpu` is that of the
    brokers. Raises ValueError."""
    for key in ("nodes", "per_region"):
        if key in options:
            raise ValueError(f"`{key}` does not fit a queue tier; say `brokers` and `replicas`")
    common = {key: options[key] for key in COMMON if key in options}
    brokers = options.get("brokers", DEFAULTS.brokers)
    made: dict[str, dict[str, Any]] = {}
    for number in range(1, brokers + 1):
        made[broker_tier(name, number)] = {
            "kind": "queue_broker",
            "queue": name,
            "number": number,
            "brokers": brokers,
            "nodes": 1 + options.get("replicas", DEFAULTS.replicas),
            **common,
            **{key: options[key] for key in OF_BROKERS if key in options},
        }
    fronts = options.get("fronts", DEFAULTS.fronts)
    if fronts:
        made[front_tier(name)] = {
            "kind": "queue_front",
            "queue": name,
            "nodes": fronts,
            "public": options.get("public", False),
            **{key: each for key, each in common.items() if key != "cpu"},
        }
    return made
