"""What the queue's kinds say of themselves: `queue` stands for the tiers of the other two."""

from __future__ import annotations

from typing import Final

from nodes.kind import Fact, Kind, StateCheck
from nodes.queue.broker import STATE_DIGEST, QueueBrokerConfig, QueueBrokerNode, may_lose
from nodes.queue.front import QueueFrontConfig, QueueFrontNode
from nodes.queue.operations import OPERATIONS
from nodes.queue.tier import QueueConfig, expand
from nodes.queue.workloads import WORKLOADS
from nodes.replica import reach
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

QUEUE: Final = Kind(QueueConfig, QueueFrontNode, stores=True, expand=expand)
FRONT: Final = Kind(
    QueueFrontConfig,
    QueueFrontNode,
    edges=("queue",),
    front=True,
    workloads=WORKLOADS,
    operations=OPERATIONS,
)
BROKER: Final = Kind(
    QueueBrokerConfig,
    QueueBrokerNode,
    fixed="a broker group's members are founded with it",
    peers=True,
    stores=True,
    cautions=CAUTIONS,
    roles=ROLES,
    leader=LEADER,
    reaches=reach.DRIVER,
    reaches_together=reach.TOGETHER,
    disks_to_spare=disks_to_spare,
    alarming=ALARMING,
    damaged=DAMAGED,
    facts=(*FACTS, Fact("records", ("ps", "page")), Fact("backlog", ("ps", "top", "page"))),
    marks=MARKS,
    labels=LABELS,
    checks=(StateCheck("replicas", STATE_DIGEST),),
    may_lose=may_lose,
    workloads=WORKLOADS,
    operations=OPERATIONS,
    varied={"snapshot_every_bytes": (2_000, 20_000), "retained_bytes": (1_000, 20_000)},
)
