"""One member of a broker group: protocols/queue/words.py over a replicated log.

What is decided is in desk.py and its neighbours, what a record of the log does in state.py; here
is who asks, and how long an answer waits.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgpack
import trio
import xxhash

from nodes.base import RPC_PORT, Context
from nodes.parts.deploying import HAND_OVER
from nodes.queue.desk import Decisions, Desk, Home, Request
from nodes.queue.elsewhere import Elsewhere
from nodes.queue.grouping import Grouping
from nodes.queue.handlers import Handlers
from nodes.queue.machine import QueueMachine
from nodes.queue.office import Office
from nodes.queue.overseer import Overseer
from nodes.queue.publishing import RESERVED_BYTES, Publishing
from nodes.queue.reading import Reading
from nodes.queue.series import Series
from nodes.queue.topics import TopicOptions, with_dead_letters
from nodes.queue.working import Working
from nodes.replica.backup import BackupSource
from nodes.replica.driver import ReplicaDriver
from nodes.replica.group_commit import Gathering
from nodes.replica.handing_over import HandingOver
from nodes.replica.kind import failover_delay_s
from nodes.replica.series import measure
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from protocols.queue.placement import MAX_BROKER_GROUPS, broker_tier
from protocols.replication.messages import VOTER
from protocols.replication.replica import AckRule, GroupConfig

STATE_DIGEST: Final = "state_digest"
Acks = Literal["none", "leader", "quorum"]
LEVELS: Final[dict[tuple[str, bool], str]] = {
    ("none", False): "off",
    ("leader", False): "local",
    ("quorum", False): "quorum",
    ("none", True): "off",
    ("leader", True): "off",
    ("quorum", True): "remote_write",
}
"""(acks, whether it is synced only now and then) → when the log lets an answer go."""


def ack_rule(acks: str, sync_interval_s: float) -> AckRule:
    return AckRule.parse(LEVELS[acks, sync_interval_s > 0])


@dataclass(frozen=True, slots=True)
class QueueBrokerConfig:
    """A broker. Without a `queue` it is one of its own, and has all the partitions."""

    queue: str = ""
    """The queue tier it belongs to: `queue: queue`."""
    number: int = 1
    """Which of the queue's broker groups its tier is."""
    brokers: int = 1
    """How many broker groups the queue has."""
    topics: dict[str, TopicOptions] = field(default_factory=dict)
    """What is there from the beginning, `topics: {orders: {partitions: 4}}`; clients may declare
    others."""
    acks: Acks = "quorum"
    """Who must have a record before its publisher hears so: nobody, this broker, a majority."""
    sync_interval_s: float = 0.0
    """Above 0: the log is synced once in so long, and a publisher hears of its record when it is
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
        if not 1 <= self.number <= self.brokers <= MAX_BROKER_GROUPS:
            raise ValueError(f"`brokers` is from 1 to {MAX_BROKER_GROUPS}, and `number` up to it")
        with_dead_letters(self.topics)


def may_lose(config: QueueBrokerConfig, members: int) -> str:
    """Why this setting may lose what it has acknowledged, or ""."""
    if config.sync_interval_s > 0:
        return "`sync_interval` answers before a record is on any disk"
    if ack_rule(config.acks, 0.0).survives_failover(members):
        return ""
    return f"`acks: {config.acks}` answers before a majority has the record"


class QueueBrokerNode:
    """One member of one broker group."""

    def __init__(self, ctx: Context, config: QueueBrokerConfig) -> None:
        self.ctx = ctx
        self.config = config
        tiers = [broker_tier(config.queue, number + 1) for number in range(config.brokers)]
        home = Home(config.number - 1, tuple(tiers) if config.queue else (ctx.tier,))
        self.machine = QueueMachine(home.has, ctx.disk)
        clock = ctx.clock
        self.desk = Desk(
            self.machine.state,
            home,
            lambda: int(clock.wall_s() * 1000),
            clock.monotonic_s,
            ctx.reached,
        )
        self.driver: ReplicaDriver
        self.series: Series

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        ctx = self.ctx
        async with trio.open_nursery() as nursery:
            view = await Directory(ctx, nursery).follow(ctx.tier)
            names = [each.name for each in view.members if each.founder] or [ctx.name]
            self.driver = ReplicaDriver(
                ctx,
                nursery,
                self.machine,
                self._group(),
                tuple((name, VOTER) for name in names),
                snapshot_every_bytes=self.config.snapshot_every_bytes,
            )
            self.driver.files.sync_interval_s = self.config.sync_interval_s
            await self.driver.recover()
            handlers, overseer, office, gathering, elsewhere = self._assemble(nursery)
            self.driver.on_role = office.role_changed
            measure(ctx, self.driver)
            service = Service(ctx)
            self.driver.add_methods(service)
            handlers.add_to(service)
            service.add("role", lambda call: self.facts(), cost_s=0.0)
            admin = Admin(ctx, service=service, facts=self.facts)
            admin.add(STATE_DIGEST, self._digest)
            BackupSource(self.driver).add_methods(admin)
            admin.add(HAND_OVER, HandingOver(self.driver).hand_over)
            listener = await ctx.network.listen(RPC_PORT)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(service.serve, listener)
            loops: list[Callable[[], Any]] = [
                self.driver.run, gathering.run, overseer.run, overseer.sweep, overseer.bury,
                self.series.run, elsewhere.run,
            ]  # fmt: skip
            for loop in loops:
                nursery.start_soon(loop)
            task_status.started()

    def _group(self) -> GroupConfig:
        config = self.config
        return GroupConfig(
            name=self.ctx.name,
            group=self.ctx.tier,
            ack=ack_rule(config.acks, config.sync_interval_s),
            syncs_late=config.sync_interval_s > 0,
            detection_timeout_s=config.detection_timeout_s,
            failover_delay_s=failover_delay_s(
                config.prefers, self.ctx.region, config.detection_timeout_s
            ),
            retained_bytes=config.retained_bytes,
        )

    def _assemble(
        self, nursery: trio.Nursery
    ) -> tuple[Handlers, Overseer, Office, Gathering[Request], Elsewhere]:
        """Everything that stands on the log, with one desk between them."""
        ctx, desk, driver = self.ctx, self.desk, self.driver
        reading = Reading(ctx, desk, driver, self.machine.backlog, self._safe_lsn)
        publishing = Publishing(desk, self._has_room)
        grouping = Grouping(desk)
        working = Working(desk, publishing, reading.end_of)
        self.series = Series(
            ctx, desk, publishing, grouping, working, reading, lambda: driver.is_primary
        )
        office = Office(ctx.clock, driver, desk, grouping, working, reading)
        decisions = Decisions(desk, office.enter, office.wake, self.series)
        gathering = Gathering(ctx, driver, decisions)
        topics = with_dead_letters(self.config.topics)
        overseer = Overseer(
            ctx, driver, gathering, desk, office, publishing, grouping, working, reading, topics
        )
        handlers = Handlers(ctx, driver, gathering, desk, publishing, grouping, working, reading)
        elsewhere = Elsewhere(ctx, nursery, driver, gathering, desk, grouping)
        return handlers, overseer, office, gathering, elsewhere

    def _has_room(self, size_bytes: int) -> bool:
        """For that in every member's log (they may share a real disk) and in its segments."""
        copies = len(self.driver.core.members) + 1
        try:
            self.driver.files.check_room(RESERVED_BYTES + copies * size_bytes)
        except OSError as error:
            return error.errno != errno.ENOSPC
        return True

    def _safe_lsn(self) -> int:
        """The last record that no failover can lose, as far as this setting has such."""
        core = self.driver.core
        return core.visible_lsn if self.config.sync_interval_s > 0 else core.quorum_lsn

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        state = self.machine.state
        return {
            **self.driver.facts(),
            "topics": len(state.topics),
            "records": sum(each.end - each.start for each in state.partition_list()),
            "bytes": sum(each.size_bytes for each in state.partition_list()),
            "lost": sum(each.lost for each in state.topics.values()),
            "backlog": sum(self.series.lags().values()),
        }

    def _digest(self, call: Call) -> dict[str, str]:
        """For comparing replicas."""
        told = self.machine.state.to_wire()
        found = {name: _digest(each) for name, each in told.items() if name != "topics"}
        for name, topic in told["topics"]:
            found[f"topic {name}"] = _digest(topic)
        return found


def _digest(value: Any) -> str:
    return xxhash.xxh3_64_hexdigest(msgpack.packb(value))
