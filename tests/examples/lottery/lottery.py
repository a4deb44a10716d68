"""A lottery office: a group gives out numbers, and none of them twice, whoever dies. A family with
all that emu has for one, as somebody outside may write it: nothing of it is known to emu/."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgpack
import trio

from nodes.base import RPC_PORT, Context, Stream
from nodes.history import Did, Found, Model
from nodes.kind import RPC, Fact, Kind, Port, StateCheck
from nodes.operations import Drawn, Ended, Method, Operation, Reach, options_of
from nodes.replica import kind as replicated
from nodes.replica.client import GroupClient
from nodes.replica.driver import ReplicaDriver
from nodes.replica.series import measure
from nodes.wire.accepting import accept_forever
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from nodes.workloads import Setting
from nodes.workloads.base import Session, Step
from protocols.errors import RpcError
from protocols.replication.messages import VOTER
from protocols.replication.quorum import AckRule
from protocols.replication.replica import GroupConfig

BOARD = Port("board", 7070, ("text",))
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class LotteryConfig:
    ack: str = "quorum"


class Drum:
    """What the group agrees on: which number is next. A record is the one that was taken."""

    def __init__(self) -> None:
        self.next = 1

    def apply(self, payload: bytes, lsn: int) -> None:
        self.next = msgpack.unpackb(payload) + 1

    def dump(self) -> bytes:
        return msgpack.packb(self.next)

    def restore(self, data: Any) -> None:
        self.next = 1 if data is None else msgpack.unpackb(data[:])

    def describe(self, payload: bytes) -> Any:
        return msgpack.unpackb(payload)


class LotteryNode:
    def __init__(self, ctx: Context, config: LotteryConfig) -> None:
        self.ctx, self.config, self.drum = ctx, config, Drum()
        self.jammed = False
        self.voided = self.to_void = 0

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        ctx = self.ctx
        async with trio.open_nursery() as nursery:
            view = await Directory(ctx, nursery).follow(ctx.tier)
            founders = tuple((each.name, VOTER) for each in view.members if each.founder)
            group = GroupConfig(name=ctx.name, group=ctx.tier, ack=AckRule.parse(self.config.ack))
            self.driver = ReplicaDriver(ctx, nursery, self.drum, group, founders)
            await self.driver.recover()
            measure(ctx, self.driver)
            ctx.metrics.gauge("lottery_next", "Number that is next.", lambda: self.drum.next)
            service = Service(ctx)
            self.driver.add_methods(service)
            service.add("take", self._take)
            admin = Admin(ctx, service=service, facts=self._facts)
            admin.add("void", self._void)
            admin.add("voiding", self._voiding)
            admin.add("jam", lambda call: self._jam(True))
            admin.add("clear", lambda call: self._jam(False))
            admin.add("drum", lambda call: {"next": self.drum.next})
            board = await ctx.network.listen(BOARD.number)
            nursery.start_soon(accept_forever, ctx, board, self._show)
            nursery.start_soon(service.serve, await ctx.network.listen(RPC_PORT))
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(self.driver.run)
            nursery.start_soon(self._void_forever)
            task_status.started()

    def _facts(self) -> dict[str, Any]:
        return {**self.driver.facts(), "next": self.drum.next}

    async def _take(self, call: Call | None) -> int:
        if self.jammed:
            raise RpcError("unavailable", "the printer is jammed")
        self.driver.check_can_write()
        number, self.drum.next = self.drum.next, self.drum.next + 1
        try:
            lsn = self.driver.propose(msgpack.packb(number))
        except RpcError:  # the drum is ahead of a log that does not take it
            self.driver.rebuild()
            raise
        await self.driver.acknowledged(lsn)
        return number

    async def _show(self, stream: Stream) -> None:
        await stream.send_all(b"next: %d\n" % self.drum.next)

    def _jam(self, jammed: bool) -> bool:
        self.jammed = jammed
        return jammed

    def _void(self, call: Call, numbers: int) -> int:
        self.driver.check_can_write()
        self.voided, self.to_void = 0, numbers
        return self.drum.next

    def _voiding(self, call: Call) -> dict[str, Any]:
        over = self.voided >= self.to_void or not self.driver.is_primary
        return {"done": self.voided, "of": self.to_void, "text": "voided", "over": over}

    async def _void_forever(self) -> None:
        while True:
            await self.ctx.clock.sleep(PAUSE_S)
            if self.voided < self.to_void and self.driver.is_primary:
                try:
                    await self._take(None)
                    self.voided += 1
                except RpcError as error:
                    self.ctx.log.debug("number not voided", why=str(error))


# --- what its operators do, and a fault that only it can have ------------------------------------


@dataclass(frozen=True, slots=True)
class Void:
    """Take so many numbers out of the drum that nobody shall win with."""

    verb: ClassVar[str] = "void"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    numbers: int = 10


@dataclass(frozen=True, slots=True)
class Jam:
    """The printer jams: no number comes out."""

    verb: ClassVar[str] = "jam"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str


def voided(ended: Ended) -> dict[str, Any]:
    return {"voided": ended.progress.done if ended.progress else 0}


def draw_jam(rng: random.Random, tiers: Sequence[Reach], before: Sequence[Any]) -> Drawn:
    tier = rng.choice(tiers)
    return Drawn(Jam(f"{tier.name}-{rng.randint(1, tier.members)}"), (tier.name,))


VOID = Operation(
    Void,
    "lottery",
    Method("void", options_of),
    asks="leader",
    progress=Method("voiding"),
    result=voided,
    shown=lambda told: f"{told['voided']} numbers are void",
)
JAM = Operation(Jam, "lottery", Method("jam"), undo=Method("clear"), draw=draw_jam)


# --- what its clients do, and what judges that ---------------------------------------------------


class Takes:
    """Clients take numbers from whoever leads."""

    model = "lottery"
    guarantee = ""

    def __init__(self, setting: Setting) -> None:
        self.timeout_s = setting.options.timeout_s
        self.group = GroupClient(
            setting.ctx, setting.nursery, setting.directory, setting.options.asks
        )

    async def prepare(self) -> None:
        await self.group.start()

    def next(self, rng: random.Random, number: int) -> Step:
        return Step("take")

    async def do(self, step: Step, session: Session) -> Any:
        return await self.group.ask("take", timeout_s=self.timeout_s)

    def final_reads(self) -> Sequence[Step]:
        return ()


def each_number_once(operations: Sequence[Did]) -> Iterator[Found]:
    winners: dict[int, Did] = {}
    for each in operations:
        if each.is_ok:
            if each.result in winners:
                yield Found(f"{each.result} was won twice", (winners[each.result], each))
            winners[each.result] = each


LOTTERY = Kind(
    LotteryConfig,
    LotteryNode,
    ports=(RPC, BOARD),
    peers=True,
    stores=True,
    roles=replicated.ROLES,
    words=replicated.WORDS,
    leader=replicated.LEADER,
    facts=(
        *replicated.FACTS,
        Fact("next", ("ps", "page"), text="The next number that it will draw."),
    ),
    marks=replicated.MARKS,
    cautions=replicated.CAUTIONS,
    damaged=replicated.DAMAGED,
    checks=(StateCheck("replicas", "drum"),),
    operations=(VOID, JAM),
    workloads={"takes": Takes},
    models={"lottery": Model(each_number_once, operations=("take",))},
)
