"""The coordinators of a kv tier: a replicated slot map, and the moves that change it.

One of them leads; any of them gives the map. What records mean is in coordination.py, how a
move is driven in move_runner.py. A coordinator is also the witness of shards of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgpack
import trio

from nodes.base import RPC_PORT, Context
from nodes.kv.coordination import (
    ADOPTED,
    CANCEL,
    ENDED,
    PLAN,
    Coordination,
    Move,
    found_fact,
    moves_between,
)
from nodes.kv.move_runner import MoveRunner
from nodes.parts.deploying import HAND_OVER
from nodes.parts.timing import move_on_after
from nodes.replica import series as replica_series
from nodes.replica.backup import BackupSource
from nodes.replica.client import GroupClients
from nodes.replica.driver import ReplicaDriver
from nodes.replica.handing_over import HandingOver
from nodes.replica.kind import expect_detection
from nodes.replica.witness import Witnesses
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from protocols.errors import RpcError
from protocols.hashing.partitioning import (
    PARTITIONERS,
    assign,
    assigning,
    moved_slots,
    ranges_to_wire,
    shares,
)
from protocols.hashing.slots import SLOTS
from protocols.kv import coordinator as words
from protocols.kv import words as kv
from protocols.kv.coordinator import MAX_SHARDS, shard_tier
from protocols.replication.replica import VOTER, AckRule, GroupConfig

PAUSE_S: Final = 0.05
STEP_PAUSE_S: Final = 0.001
"""Between steps of a computation: what others send each other meanwhile takes several turns."""
ASK_S: Final = 2.0
RETURNING_S: Final = 1.0
"""For so long after a shard asked for its slots, no other move begins that it has a part in."""
MAX_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class CoordinatorConfig:
    """The coordinators of one kv tier."""

    group: str
    """The kv tier: `group: kv`."""
    shards: int = 1
    """How many shards the map is founded with."""
    partitioner: Literal["slots", "modulo", "ring", "maglev"] = "slots"
    """How keys are shared out over the shards."""
    detection_timeout_s: float = 1.0
    """Silence after which the coordinators elect another leader."""
    slots_per_move: int = 512
    """The most slots that are fenced at a time."""
    move_rate_per_s: float = 0.0
    """Keys a second that a move copies at most; 0 for no limit."""
    max_pause_s: float = 2.0
    """A move that has not drained by then is undone, and tried again later."""
    stall_s: float = 10.0
    """A copy without progress for so long is given up."""
    witness: bool = True
    """Whether they are witnesses for shards of two."""

    def __post_init__(self) -> None:
        expect_detection(self.detection_timeout_s)
        if min(self.max_pause_s, self.stall_s) <= 0:
            raise ValueError("`max_pause` and `stall` must be above 0")
        if not 1 <= self.shards <= MAX_SHARDS:
            raise ValueError(f"`shards` is from 1 to {MAX_SHARDS}")
        if not 1 <= self.slots_per_move <= SLOTS:
            raise ValueError(f"`slots_per_move` is from 1 to {SLOTS}")


class CoordinatorNode:
    """One coordinator."""

    def __init__(self, ctx: Context, config: CoordinatorConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.state = Coordination()
        self._packer = msgpack.Packer(autoreset=True)
        self._applied = trio.Event()
        self._role = trio.Event()
        self._wanted = trio.Event()
        self._asked_s: dict[str, float] = {}
        """When a restarted shard without a log was last told to wait until its moves have ended."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        ctx, config = self.ctx, self.config
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            directory = self._directory = Directory(ctx, nursery)
            view = await directory.follow(ctx.tier)
            me = view.named(ctx.name)
            founding = me is None or me.founder
            names = [each.name for each in view.members if each.founder] or [ctx.name]
            group = GroupConfig(
                name=ctx.name,
                group=ctx.tier,
                ack=AckRule.parse("quorum"),
                detection_timeout_s=config.detection_timeout_s,
            )
            founders = tuple((name, VOTER) for name in names) if founding else ()
            self.driver = ReplicaDriver(ctx, nursery, self.state, group, founders)
            self.driver.on_role = lambda role: self._wake_role()
            await self.driver.recover()
            self.clients = GroupClients(ctx, nursery, directory)
            self.witnesses = Witnesses(ctx, nursery, directory, config.detection_timeout_s)
            service = self._service()
            admin = Admin(ctx, service=service, facts=self.facts)
            for name in (words.PLAN, words.RESHARD, words.CANCEL, words.PROGRESS):
                admin.add(name, service.methods[name].handler)
            BackupSource(self.driver).add_methods(admin)
            admin.add(HAND_OVER, HandingOver(self.driver).hand_over)
            self._measure()
            listener = await ctx.network.listen(RPC_PORT)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(service.serve, listener)
            nursery.start_soon(self.driver.run)
            nursery.start_soon(self._lead_forever)
            if config.witness:
                nursery.start_soon(self._witness_forever)
            task_status.started()

    def _service(self) -> Service:
        service = Service(self.ctx, charge_cpu=False)
        self.driver.add_methods(service)
        self.witnesses.route(service, self.driver)
        service.add(words.MAP, self._map, waits=True)
        service.add(words.PLAN, self._plan)
        service.add(words.RESHARD, self._reshard)
        service.add(words.CANCEL, self._cancel)
        service.add(words.PROGRESS, self._progress)
        service.add(words.REJOIN, self._rejoin)
        return service

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        state = self.state
        return {
            **self.driver.facts(),
            "map_version": state.version,
            "shards": list(state.shards),
            "plan": state.plan,
        }

    def _measure(self) -> None:
        metrics, state, driver = self.ctx.metrics, self.state, self.driver
        replica_series.measure(self.ctx, driver)
        metrics.gauge("map_version", "Version of the slot map.", lambda: state.version)
        metrics.gauge(
            "slot_migrations_active",
            "Moves that this node takes part in now.",
            lambda: float(len(state.active()) if driver.is_primary else 0),
        )

    # --- the log -------------------------------------------------------------------------

    async def record(self, facts: list[list[Any]]) -> None:
        """Make these facts so; return once they are committed. Raises RpcError."""
        driver = self.driver
        driver.check_can_write()
        for fact in facts:
            self.state.apply_fact(fact)
        try:
            lsn = driver.propose(self._packer.pack(facts))
        except RpcError:
            driver.rebuild()
            raise
        await driver.acknowledged(lsn)

    def _wake_role(self) -> None:
        role, self._role = self._role, trio.Event()
        role.set()

    # --- leading -------------------------------------------------------------------------

    async def _lead_forever(self) -> None:
        """Whenever this node is primary: what the primary does, until it is no longer."""
        while True:
            role = self._role
            if self.driver.is_primary:
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._lead_until_over, scope)
                        await role.wait()
                        scope.cancel()
            else:
                await role.wait()

    async def _lead_until_over(self, scope: trio.CancelScope) -> None:
        while True:
            try:
                await self._lead()
            except RpcError as error:  # not ready yet, or our time is over
                self.ctx.log.debug("coordinator waits", why=str(error))
                await self.ctx.clock.sleep(PAUSE_S)

    async def _lead(self) -> None:
        self.driver.check_can_write()
        await self.driver.acknowledged(self.driver.state_lsn)
        if not self.state.version:
            await self._found()
        for shard, adopted in list(self.state.adopted.items()):
            if not adopted:
                await self._give_first_slots(shard)
        runner = MoveRunner(
            self.ctx,
            self.state,
            self,
            self.clients,
            max_pause_s=self.config.max_pause_s,
            stall_s=self.config.stall_s,
            is_returning=self._is_returning,
        )
        while True:
            self._wanted = trio.Event()
            while self.state.plan:
                move = next(iter(self.state.active()), None) or self.state.next_queued()
                if move is None:
                    outcome = self.state.outcome()
                    await self.record([[ENDED, outcome]])
                    self.ctx.log.info("reshard ended", outcome=outcome)
                else:
                    await runner.run(move)
            await self._wanted.wait()

    async def _found(self) -> None:
        config = self.config
        shards = [shard_tier(config.group, number) for number in range(1, config.shards + 1)]
        owners = assign(config.partitioner, shards)
        await self.record([found_fact(config.partitioner, shards, owners)])
        self.ctx.log.info("slot map founded", shards=len(shards), partitioner=config.partitioner)

    async def _give_first_slots(self, shard: str) -> None:
        """Until the shard has its slots: it takes them once in its life."""
        ranges = ranges_to_wire(self.state.map.ranges_of(shard))
        while True:
            try:
                await self.clients.of(shard).ask(kv.FOUND, ranges, 1, timeout_s=ASK_S)
                break
            except RpcError as error:
                self.ctx.log.debug("shard not founded yet", shard=shard, why=str(error))
                await self.ctx.clock.sleep(PAUSE_S)
        await self.record([[ADOPTED, shard]])

    async def _witness_forever(self) -> None:
        """Vote for every shard of two that the map names and that we are the witness of."""
        config, driver, state = self.config, self.driver, self.state
        numbers = range(1, config.shards + 1)
        known = [shard_tier(config.group, number) for number in numbers]
        while True:
            seen_lsn = driver.state_lsn
            for shard in state.shards or known:
                await self.witnesses.join(shard, state.since.get(shard, 0))
            if driver.core.visible_lsn >= seen_lsn == driver.state_lsn and state.version:
                await self.witnesses.leave_all_but(state.shards)
            await driver.applied(seen_lsn + 1)

    # --- methods -------------------------------------------------------------------------

    async def _map(self, call: Call, min_version: int = 1, wait_ms: int = 0) -> dict[str, Any]:
        """The map as of a committed version."""
        driver = self.driver
        with move_on_after(self.ctx.clock, min(max(wait_ms, 0) / 1000, MAX_WAIT_S)):
            while self.state.version < min_version:
                await driver.applied(driver.state_lsn + 1)
        if self.state.version < max(min_version, 1):
            raise RpcError("unavailable", f"the map has version {self.state.version} here")
        seen = self.state.wire_map
        if driver.is_primary:
            await driver.visible(driver.state_lsn)
        return seen

    def _check_leads(self) -> None:
        self.driver.check_can_write()
        if not self.state.version:
            raise RpcError("unavailable", "the slot map is not founded yet")

    async def _plan(
        self, call: Call, shards: Any, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """What the change would move, by each partitioner."""
        self._check_leads()
        names, current = self._shards(shards), list(self.state.owners)
        options = _options(options, "partitioner")
        chosen = options.get("partitioner", self.state.partitioner)
        plans: dict[str, Any] = {}
        for partitioner in PARTITIONERS:
            before = current
            if partitioner != self.state.partitioner:
                before = await self._assign(partitioner, self.state.shards)
            after = await self._assign(partitioner, names, before)
            moves = moved_slots(before, after)
            moved = sum(len(slots) for slots in moves.values())
            plans[partitioner] = {"slots": moved, "ratio": round(moved / SLOTS, 4)}
        after = await self._assign(chosen, names, current)
        moves = moved_slots(current, after)
        return {
            "partitioner": chosen,
            "from": list(self.state.shards),
            "to": names,
            "moves": [[source, target, len(slots)] for (source, target), slots in moves.items()],
            "slots": sum(len(slots) for slots in moves.values()),
            "ideal_ratio": _ideal_ratio(len(self.state.shards), len(names)),
            "shares": shares(after),
            "by_partitioner": plans,
        }

    async def _assign(
        self, partitioner: str, shards: Sequence[str], current: Sequence[str] = ()
    ) -> list[str]:
        """The owners; clients that write just now do not wait for it."""
        steps = assigning(partitioner, shards, current)
        while True:
            await self.ctx.clock.sleep(STEP_PAUSE_S)
            try:
                next(steps)
            except StopIteration as done:
                owners: list[str] = done.value
                return owners

    def _shards(self, shards: Any) -> list[str]:
        """The shards of a plan. Raises RpcError bad_request."""
        if not isinstance(shards, list) or not 0 < len(shards) <= MAX_SHARDS:
            raise RpcError("bad_request", f"shards are a list of 1 to {MAX_SHARDS} names")
        if not all(type(each) is str for each in shards) or len(set(shards)) != len(shards):
            raise RpcError("bad_request", "shards are names, each once")
        return list(shards)

    async def _reshard(
        self, call: Call, shards: Any, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        self._check_leads()
        state, names = self.state, self._shards(shards)
        options = _options(options, "partitioner", "keys_per_s", "slots_per_move")
        for name in names:
            if not (await self._directory.follow(name)).members:
                raise RpcError("refused", f"there are no nodes of `{name}`")
        partitioner = options.get("partitioner", state.partitioner)
        after = await self._assign(partitioner, names, list(state.owners))
        if state.plan:
            raise RpcError("refused", f"{state.plan} is under way; `cancel` it first")
        plan = f"plan-{self.driver.next_lsn}"
        slots_per_move = options.get("slots_per_move", self.config.slots_per_move)
        moves = moves_between(plan, state.owners, after, slots_per_move)
        keys_per_s = options.get("keys_per_s", int(self.config.move_rate_per_s))
        await self.record([[PLAN, plan, partitioner, names, moves, keys_per_s]])
        slots = sum(a != b for a, b in zip(state.owners, after, strict=True))
        self.ctx.log.info("reshard begun", plan=plan, moves=len(moves), slots=slots)
        self._wanted.set()
        return {"plan": plan, "slots": slots, "moves": len(moves)}

    async def _cancel(self, call: Call) -> bool:
        self._check_leads()
        if not self.state.plan:
            return False
        if not self.state.cancelled:
            await self.record([[CANCEL]])
        return True

    async def _rejoin(self, call: Call, shard: str) -> list[list[int]]:
        """The slots of a shard without durability that was restarted, empty. While it is an end
        of a move they are not its own to take: the move may be past the point of no return."""
        self._check_leads()
        state = self.state
        await self.driver.visible(self.driver.state_lsn)
        if not state.adopted.get(shard, True):
            raise RpcError("unavailable", f"`{shard}` has not been given its first slots yet")
        if any(shard in (each.source, each.target) for each in state.active()):
            self._asked_s[shard] = self.ctx.clock.monotonic_s()
            raise RpcError("unavailable", f"a move has to end first that `{shard}` takes part in")
        self._asked_s.pop(shard, None)
        index = list(state.map.shards).index(shard) if shard in state.map.shards else -1
        return [[first, last, epoch] for first, last, owner, epoch in state.wire_map["ranges"]
                if owner == index]  # fmt: skip

    def _is_returning(self, move: Move) -> bool:
        """Whether an end of the move asks for its slots just now, and is put off for moves."""
        since_s = self.ctx.clock.monotonic_s() - RETURNING_S
        return any(self._asked_s.get(end, since_s) > since_s for end in (move.source, move.target))

    async def _progress(self, call: Call) -> dict[str, Any]:
        """The latest plan: how far it is, move by move."""
        self._check_leads()
        state = self.state
        await self.driver.visible(self.driver.state_lsn)
        moves = [
            {
                "move": each.name,
                "source": each.source,
                "target": each.target,
                "slots": each.slots,
                "phase": each.phase,
                **each.figures,
            }
            for each in state.moves.values()
        ]
        return {
            "plan": state.plan,
            "outcome": "" if state.plan else state.plan_outcome,
            "map_version": state.version,
            "shards": list(state.shards),
            "shares": shares(state.owners),
            "moves": moves,
        }


def _options(options: Any, *known: str) -> dict[str, Any]:
    """Raises RpcError bad_request."""
    options = options or {}
    if type(options) is not dict or not all(each in known for each in options):
        raise RpcError("bad_request", f"options are a map of: {', '.join(known)}")
    if options.get("partitioner", PARTITIONERS[0]) not in PARTITIONERS:
        raise RpcError("bad_request", f"partitioners: {', '.join(PARTITIONERS)}")
    for name in ("keys_per_s", "slots_per_move"):
        value = options.get(name, 1)
        if type(value) is not int or value < (name == "slots_per_move"):
            raise RpcError("bad_request", f"`{name}` is a whole number")
    return options


def _ideal_ratio(before: int, after: int) -> float:
    """The part of the keys that must move at least."""
    return round(abs(after - before) / max(before, after), 4)
