"""One member of a shard of the KV store: protocols/kv.py over a replicated log, or over memory.

The commands are in parts/kv_commands.py, the log's rules in kv_engine.py, moves in kv_mover.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import trio

from nodes.admin import Admin
from nodes.base import RPC_PORT, Context
from nodes.directory import Directory
from nodes.kv_engine import LoggedEngine, UnloggedEngine, execute
from nodes.parts.kv_commands import KvCommands
from nodes.parts.kv_state import ADOPT, DEFAULT_REQUEST_IDS, KvState
from nodes.wire import Call, Service
from protocols.errors import RpcError
from protocols.replication import VOTER, AckRule, GroupConfig
from protocols.replication_messages import Members
from protocols.slots import SLOTS

FOUND_PAUSE_S: Final = 0.05
SWEEP_PAUSE_S: Final = 0.1
SWEEP_KEYS: Final = 500
"""Keys whose time is over that one sweep drops at most."""


@dataclass(frozen=True, slots=True)
class KvShardConfig:
    """A shard. Without a `group` it is a store of its own that has all the slots."""

    group: str = ""
    """The kv tier it belongs to."""
    durability: Literal["log", "none"] = "log"
    """`none`: one node and its memory, no log; a restart begins empty."""
    ack: str = "quorum"
    """When a write is answered: quorum, async, or a level (off, local, remote_write, on, ...)."""
    detection_timeout_s: float = 1.0
    """Silence after which the replicas elect another primary; also the length of its lease."""
    snapshot_every_bytes: int = 16 << 20
    retained_bytes: int = 64 << 20
    """Log kept for replicas that are away, and for moves."""
    capacity_bytes: int = 1 << 30
    """Keys and values, without Python's overhead; when full, writes are refused."""
    index: str = ""
    """The path of the one field by which documents are found."""
    request_ids: int = DEFAULT_REQUEST_IDS
    """Outcomes that are remembered for retries."""

    def __post_init__(self) -> None:
        AckRule.parse(self.ack)
        if self.capacity_bytes <= 0 or self.request_ids <= 0:
            raise ValueError("`capacity` and `request_ids` must be above 0")


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
        self.engine: LoggedEngine | UnloggedEngine

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        ctx = self.ctx
        async with trio.open_nursery() as nursery:
            await self._open_engine(nursery)
            service = self._service()
            admin = Admin(ctx, service=service, facts=self.facts)
            self._measure()
            listener = await ctx.network.listen(RPC_PORT)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(service.serve, listener)
            nursery.start_soon(self.engine.run)
            nursery.start_soon(self._sweep_forever)
            if not self.config.group:
                await self._found_alone(nursery)
            task_status.started()

    async def _open_engine(self, nursery: trio.Nursery) -> None:
        ctx, config = self.ctx, self.config
        if config.durability == "none":
            self.engine = UnloggedEngine(ctx, self.commands)
            return
        group = GroupConfig(
            name=ctx.name,
            ack=AckRule.parse(config.ack),
            detection_timeout_s=config.detection_timeout_s,
            retained_bytes=config.retained_bytes,
        )
        founders = await self._founders(nursery)
        self.engine = LoggedEngine(
            ctx,
            nursery,
            self.commands,
            group,
            founders,
            snapshot_every_bytes=config.snapshot_every_bytes,
        )
        await self.engine.driver.recover()

    async def _founders(self, nursery: trio.Nursery) -> Members:
        view = await Directory(self.ctx, nursery).follow(self.ctx.tier)
        me = view.named(self.ctx.name)
        if me is not None and not me.founder:
            return ()
        names = [each.name for each in view.members if each.founder] or [self.ctx.name]
        return tuple((name, VOTER) for name in names)

    async def _found_alone(self, nursery: trio.Nursery) -> None:
        """A store of its own takes all the slots, once."""
        if self.config.durability == "none":
            await self.engine.record([(ADOPT, "", [[0, SLOTS - 1]], 1)])
        else:
            nursery.start_soon(self._found_when_primary)

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

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        state = self.state
        return {
            **self.engine.facts(),
            "slots": state.slots_served(),
            "keys": state.keys,
            "bytes": state.bytes,
        }

    def _measure(self) -> None:
        metrics, state = self.ctx.metrics, self.state
        metrics.gauge("slots_owned", "Slots served here.", state.slots_served)
        metrics.gauge("keys", "Keys held here.", lambda: state.keys)
        metrics.gauge("kv_bytes", "Bytes of keys and values held here.", lambda: state.bytes)
