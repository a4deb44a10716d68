"""One member of a shard of the KV store: protocols/kv/ over a replicated log, or over memory.

The commands are in keys.py and commands.py, the log's rules in engine.py, moves in mover.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgpack
import trio
import xxhash

from nodes.base import RPC_PORT, Context
from nodes.kv.commands import KvCommands
from nodes.kv.documents import check_index
from nodes.kv.engine import LoggedEngine, UnloggedEngine, execute
from nodes.kv.hot_keys import HotKeys
from nodes.kv.mover import Mover
from nodes.kv.state import ADOPT, DEFAULT_REQUEST_IDS, KvState
from nodes.parts.deploying import HAND_OVER
from nodes.parts.timing import take_steps
from nodes.replica.backup import BackupSource
from nodes.replica.client import GroupClient, GroupClients
from nodes.replica.handing_over import HandingOver
from nodes.replica.kind import expect_detection, failover_delay_s
from nodes.replica.witness import founders_with_witness
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from protocols.errors import RpcError
from protocols.hashing.slots import SLOTS
from protocols.kv import coordinator as map_words
from protocols.kv.coordinator import coordinator_tier
from protocols.replication.messages import Members
from protocols.replication.replica import AckRule, GroupConfig
from protocols.stepping import Steps

STATE_DIGEST: Final = "state_digest"
OWNED_SLOTS: Final = "owned_slots"
DIGEST_SLOTS: Final = 256
"""Slots that one digest covers."""
DIGEST_STEP_KEYS: Final = 1000
"""Looked at at once: about a millisecond of a laptop's core."""
FOUND_PAUSE_S: Final = 0.05
REJOIN_TIMEOUT_S: Final = 2.0
REJOIN_PAUSE_S: Final = 0.25
SWEEP_PAUSE_S: Final = 0.1
HOT_SHARE: Final = 0.2
"""A key with this part of a shard's requests is named."""
HOT_PAUSE_S: Final = 0.5
HOT_OVER_S: Final = 10.0
"""A key is no longer hot when it was not for so long."""
SWEEP_KEYS: Final = 500
"""Keys whose time is over that one sweep drops at most."""


@dataclass(frozen=True, slots=True)
class KvShardConfig:
    """A shard. Without a `group` it is a store of its own that has all the slots."""

    group: str = ""
    """The kv tier it belongs to: `group: kv`."""
    witness: bool = False
    """Whether a coordinator of the group is the third voter of a shard with two replicas."""
    durability: Literal["log", "none"] = "log"
    """`none`: one node and its memory, no log; a restart begins empty."""
    ack: str = "quorum"
    """When a write is answered: quorum, async, or a level (off, local, remote_write, on, ...)."""
    sync_interval_s: float = 0.0
    """Above 0: the log is synced once in so long, not as soon as it is written: a power cut takes
    what was written since. Needs an `ack` that waits for no sync: off or remote_write."""
    detection_timeout_s: float = 1.0
    """Silence after which the replicas elect another primary; also the length of its lease."""
    prefers: tuple[str, ...] = ()
    """Regions whose members stand first when a primary is gone, the best first:
    `prefers: [us-east, eu-west]`."""
    snapshot_every_bytes: int = 16 << 20
    """A snapshot is taken when the log has grown by so much since the last one."""
    retained_bytes: int = 64 << 20
    """Log kept for replicas that are away, and for moves."""
    capacity_bytes: int = 1 << 30
    """Keys and values, without Python's overhead; when full, writes are refused."""
    index: str = ""
    """The path of the one field by which documents are found: `index: author`."""
    request_ids: int = DEFAULT_REQUEST_IDS
    """Outcomes that are remembered for retries."""

    def __post_init__(self) -> None:
        AckRule.parse(self.ack).check_interval(self.sync_interval_s)
        expect_detection(self.detection_timeout_s)
        check_index(self.index)
        if self.capacity_bytes <= 0 or self.request_ids <= 0:
            raise ValueError("`capacity` and `request_ids` must be above 0")


def may_lose(config: KvShardConfig, members: int) -> str:
    """Why this setting may lose what it has acknowledged, or ""."""
    if config.durability == "none":
        return "`durability: none` keeps everything in one node's memory"
    if config.sync_interval_s > 0:
        return "`sync_interval` answers before a record is on any disk"
    if AckRule.parse(config.ack).survives_failover(members + config.witness):
        return ""
    return f"`ack: {config.ack}` answers before a majority has the record"


def votes_with(config: KvShardConfig) -> tuple[str, ...]:
    """The tier that its witness is a member of."""
    return (coordinator_tier(config.group),) if config.witness else ()


class KvShardNode:
    """One member of one shard."""

    def __init__(self, ctx: Context, config: KvShardConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.state = KvState(index=config.index, request_ids=config.request_ids)
        self.commands = KvCommands(
            self.state,
            lambda: int(ctx.clock.wall_s() * 1000),
            capacity_bytes=config.capacity_bytes,
        )
        self.hot = HotKeys(ctx.rng("hot-keys"))
        self.commands.sample = self.hot.sample
        self.commands.reached = ctx.reached
        self._named_hot: dict[str, float] = {}
        """Key → when it was seen hot last."""
        self.engine: LoggedEngine | UnloggedEngine
        self.mover: Mover | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        ctx = self.ctx
        async with trio.open_nursery() as nursery:
            directory = Directory(ctx, nursery)
            await self._open_engine(nursery, directory)
            if self.config.group:
                clients = GroupClients(ctx, nursery, directory)
                self.mover = Mover(ctx, nursery, self.engine, clients)
                self.commands.elsewhere = self.mover.elsewhere
            service = self._service()
            admin = Admin(ctx, service=service, facts=self.facts)
            admin.add(STATE_DIGEST, self._digest)
            if isinstance(self.engine, LoggedEngine):
                BackupSource(self.engine.driver).add_methods(admin)
                admin.add(HAND_OVER, HandingOver(self.engine.driver).hand_over)
            admin.add(OWNED_SLOTS, self._owned_slots)
            self._measure()
            listener = await ctx.network.listen(RPC_PORT)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(service.serve, listener)
            nursery.start_soon(self.engine.run)
            nursery.start_soon(self._sweep_forever)
            nursery.start_soon(self._watch_hot_keys_forever)
            if self.mover is None:
                await self._found_alone(nursery)
            elif self.config.durability == "none":
                coordinators = clients.of(coordinator_tier(self.config.group))
                nursery.start_soon(self._rejoin, self.mover, coordinators)
            task_status.started()

    async def _open_engine(self, nursery: trio.Nursery, directory: Directory) -> None:
        ctx, config = self.ctx, self.config
        if config.durability == "none":
            self.engine = UnloggedEngine(ctx, self.commands)
            return
        group = GroupConfig(
            name=ctx.name,
            group=ctx.tier,
            ack=AckRule.parse(config.ack),
            syncs_late=config.sync_interval_s > 0,
            detection_timeout_s=config.detection_timeout_s,
            failover_delay_s=failover_delay_s(
                config.prefers, ctx.region, config.detection_timeout_s
            ),
            retained_bytes=config.retained_bytes,
        )
        founders = await self._founders(directory)
        self.engine = LoggedEngine(
            ctx,
            nursery,
            self.commands,
            group,
            founders,
            snapshot_every_bytes=config.snapshot_every_bytes,
            sync_interval_s=config.sync_interval_s,
        )
        await self.engine.driver.recover()

    async def _founders(self, directory: Directory) -> Members:
        ctx, config = self.ctx, self.config
        view = await directory.follow(ctx.tier)
        me = view.named(ctx.name)
        if me is not None and not me.founder:
            return ()
        names = [each.name for each in view.members if each.founder] or [ctx.name]
        coordinators: list[str] = []
        if config.witness:
            found = await directory.follow(coordinator_tier(config.group))
            coordinators = [each.name for each in found.members if each.founder]
        return founders_with_witness(names, ctx.tier, coordinators)

    async def _found_alone(self, nursery: trio.Nursery) -> None:
        """A store of its own takes all the slots, once."""
        if self.config.durability == "none":
            await self.engine.record([(ADOPT, "", [[0, SLOTS - 1]], 1)])
        else:
            nursery.start_soon(self._found_when_primary)

    async def _rejoin(self, mover: Mover, coordinators: GroupClient) -> None:
        """Whatever this shard had is lost, but not that its slots are its own. Until that is clear
        nothing may move away: it could come back with a late answer."""
        mover.may_give = False
        while not mover.may_give:
            try:
                owned = await coordinators.ask(
                    map_words.REJOIN, self.ctx.tier, timeout_s=REJOIN_TIMEOUT_S
                )
            except RpcError as error:
                self.ctx.log.debug("not rejoined yet", why=str(error))
                await self.ctx.clock.sleep(REJOIN_PAUSE_S)
                continue
            if not self.state.founded and owned:
                self.ctx.log.warning("rejoined empty", slots=sum(b - a + 1 for a, b, _ in owned))
            await self.engine.record(
                [(ADOPT, "", [[first, last]], epoch) for first, last, epoch in owned]
            )
            mover.may_give = True
            mover.wake()

    async def _found_when_primary(self) -> None:
        while not self.state.founded:
            try:
                await self.engine.record([(ADOPT, "", [[0, SLOTS - 1]], 1)])
            except RpcError:
                await self.ctx.clock.sleep(FOUND_PAUSE_S)

    def _service(self) -> Service:
        service = Service(self.ctx)
        service.batch = self.engine
        if isinstance(self.engine, LoggedEngine):
            self.engine.driver.add_methods(service)
        for name, fused in self.engine.fused.items():
            service.add(name, self._handler(name))
            service.fuse(name, fused)
        service.add("role", lambda call: self.facts(), cost_s=0.0)
        if self.mover is not None:
            self.mover.add_methods(service)
        return service

    def _handler(self, name: str) -> Any:
        async def handle(call: Call, *params: Any) -> Any:
            return await execute(self.engine, self.ctx, name, list(params), call.epoch)

        return handle

    async def _sweep_forever(self) -> None:
        """The primary drops what nobody asks for any more and whose time is over."""
        clock = self.ctx.clock
        while True:
            await clock.sleep(SWEEP_PAUSE_S)
            if self.engine.is_primary and self.state.due:
                self.engine.begin(clock.monotonic_s())
                if self.commands.no_writes is None:
                    self.commands.drop_due(SWEEP_KEYS)
                self.engine.end()

    async def _watch_hot_keys_forever(self) -> None:
        """Name each key that takes a large share of the load, when it begins and when it has ended
        for a while: one that comes and goes is told of once."""
        clock = self.ctx.clock
        while True:
            now_s = clock.monotonic_s()
            self.hot.turn(now_s)
            hot = {each.key: each.share for each in self.hot.top() if each.share >= HOT_SHARE}
            for key, share in hot.items():
                if key not in self._named_hot:
                    self.ctx.log.warning("hot key", key=key, share=round(share, 3))
                self._named_hot[key] = now_s
            for key, seen_s in list(self._named_hot.items()):
                if now_s - seen_s >= HOT_OVER_S:
                    del self._named_hot[key]
                    self.ctx.log.info("hot key over", key=key)
            await clock.sleep(HOT_PAUSE_S)

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        state = self.state
        return {
            **self.engine.facts(),
            "slots": state.slots_served(),
            "keys": state.keys,
            "bytes": state.bytes,
            "hot_keys": [[each.key, round(each.share, 3)] for each in self.hot.top()],
        }

    async def _digest(self, call: Call) -> dict[str, str]:
        """What is served here, slots by the hundred, for comparing replicas."""
        return await take_steps(self.ctx.clock, self._digests(), 0.0)

    def _digests(self) -> Steps[dict[str, str]]:
        found, looked_at = {}, 0
        for first in range(0, SLOTS, DIGEST_SLOTS):
            content = self.state.content(range(first, first + DIGEST_SLOTS))
            found[str(first)] = xxhash.xxh3_64_hexdigest(msgpack.packb(content))
            looked_at += len(content)
            if looked_at >= DIGEST_STEP_KEYS:
                looked_at = 0
                yield
        return found

    def _owned_slots(self, call: Call) -> list[list[int]]:
        """[slot, epoch] of what this node would serve as the primary."""
        if not self.engine.is_primary:
            return []
        epochs = self.state.epochs
        return [[slot, epochs[slot]] for slot, data in enumerate(self.state.serving)
                if data is not None]  # fmt: skip

    def _measure(self) -> None:
        metrics, state = self.ctx.metrics, self.state
        metrics.gauge(
            "hot_key_ratio", "Share of the requests here that are about one key.",
            lambda: self.hot.ratio,
        )  # fmt: skip
        metrics.gauge("slots_owned", "Slots served here.", state.slots_served)
        metrics.gauge("keys", "Keys held here.", lambda: state.keys)
        metrics.gauge("kv_bytes", "Bytes of keys and values held here.", lambda: state.bytes)
