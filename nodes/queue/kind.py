"""What the queue's kinds say of themselves: `queue` stands for the tiers of the other two."""

from __future__ import annotations

from typing import Final

from nodes.kind import Fact, Kind, StateCheck
from nodes.parts.deploying import DEPLOY
from nodes.queue import reach
from nodes.queue.broker import STATE_DIGEST, QueueBrokerConfig, QueueBrokerNode, may_lose
from nodes.queue.front import QueueFrontConfig, QueueFrontNode
from nodes.queue.operations import OPERATIONS
from nodes.queue.tier import QueueConfig, expand
from nodes.queue.workloads import WORKLOADS
from nodes.replica import reach as replicated
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

EVENTS: Final = {
    "topic kept as it is": "The file says other options of a topic than those that it has.",
    "record parked": "A record failed too often, and there is no topic for dead letters.",
    "member put out": "A consumer did not let go of a partition in time: it is no member now.",
    "not decided": "A broker could not commit what it decided; it tries again.",
    "no heartbeat": "A consumer could not say that it lives; it says so again.",
    "no word from other brokers": "How far partitions of other broker groups are is not known now.",
    "record not read": "A broker could not read a record of its own just now; it tries again.",
    "offsets beyond the end": "A partition ends before what a group has read of it, as after a "
    "restore: the group goes on at that end.",
    "not given back": "A front could not give back what its consumer had; its time ends that.",
}
QUEUE: Final = Kind(
    QueueConfig,
    QueueFrontNode,
    about="A message queue as one tier: groups of brokers that keep topics, and a front.",
    example="queue: {kind: queue, public: true, topics: {orders: {partitions: 4}}}",
    stores=True,
    expand=expand,
)
FRONT: Final = Kind(
    QueueFrontConfig,
    QueueFrontNode,
    about="Finds the broker of each partition, for any client (of `kind: queue`).",
    example="queue-front: {kind: queue_front, public: true, queue: queue}",
    edges=("queue",),
    front=True,
    workloads=WORKLOADS,
    operations=OPERATIONS,
)
BROKER: Final = Kind(
    QueueBrokerConfig,
    QueueBrokerNode,
    about="A group of brokers that keeps some partitions of a queue (of `kind: queue`).",
    example="queue-broker-1: {kind: queue_broker, nodes: 3, queue: queue}",
    fixed="a broker group's members are founded with it",
    edges=("queue",),
    peers=True,
    stores=True,
    mistakes=unknown_preferences,
    cautions=CAUTIONS,
    roles=ROLES,
    words=WORDS,
    leader=LEADER,
    reaches=(*replicated.DRIVER, *reach.ALONE),
    reaches_together=(*replicated.TOGETHER, reach.HEIR),
    disks_to_spare=disks_to_spare,
    alarming=ALARMING,
    damaged=DAMAGED,
    facts=(
        *FACTS,
        Fact("records", ("ps", "page"), text="Records that its topics hold."),
        Fact(
            "backlog",
            ("ps", "top", "page"),
            text="Records that its consumers have not come to yet.",
        ),
    ),
    marks=MARKS,
    labels=LABELS,
    checks=(StateCheck("replicas", STATE_DIGEST),),
    may_lose=may_lose,
    workloads=WORKLOADS,
    operations=(*OPERATIONS, DEPLOY, *BACKUPS),
    varied={"snapshot_every_bytes": (2_000, 20_000), "retained_bytes": (1_000, 20_000)},
)
