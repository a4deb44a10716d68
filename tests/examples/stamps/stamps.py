"""A stamp machine, as somebody outside emu may write one: what its operators do to it, a fault of
its own, what clients do to it, and what judges that. Nothing of it is known to emu/."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import trio

from nodes.base import RPC_PORT, Context
from nodes.history import Did, Found, Model
from nodes.kind import Kind
from nodes.operations import Drawn, Ended, Method, Operation, Reach, options_of
from nodes.wire.admin import Admin
from nodes.wire.client import Client
from nodes.wire.service import Call, Service
from nodes.workloads import Setting
from nodes.workloads.base import Session, Step

SHEET_S = 0.1
"""How long the machine burns one sheet."""


@dataclass(frozen=True, slots=True)
class StampsConfig:
    first: int = 1


class StampsNode:
    """Hands out numbers, none of them twice; what it burns it never hands out."""

    def __init__(self, ctx: Context, config: StampsConfig) -> None:
        self.ctx = ctx
        self.next = ctx.generation * 1_000_000 + config.first
        self.stuck = False
        self.burnt = self.wanted = 0
        self._burn = trio.Event()

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        service = Service(self.ctx)
        service.add("take", self._take)
        admin = Admin(self.ctx, service=service)
        admin.add("burn", self._begin_to_burn)
        admin.add("burning", self._burning)
        admin.add("stop_burning", self._stop_burning)
        admin.add("would_burn", lambda call, sheets: sheets * SHEET_S)
        admin.add("stick", lambda call: self._stick(True))
        admin.add("loosen", lambda call: self._stick(False))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.serve, await self.ctx.network.listen(RPC_PORT))
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(self._burn_forever)
            task_status.started()

    def _take(self, call: Call) -> int:
        number = self.next
        self.next += not self.stuck
        return number

    def _stick(self, stuck: bool) -> bool:
        self.stuck = stuck
        return stuck

    def _begin_to_burn(self, call: Call, sheets: int) -> int:
        self.burnt, self.wanted = 0, sheets
        self._burn.set()
        return self.next

    def _burning(self, call: Call) -> dict[str, Any]:
        over = self.burnt >= self.wanted
        return {"done": self.burnt, "of": self.wanted, "text": "burnt", "over": over}

    def _stop_burning(self, call: Call) -> bool:
        found = self.burnt < self.wanted
        self.wanted = self.burnt
        return found

    async def _burn_forever(self) -> None:
        while True:
            await self._burn.wait()
            self._burn = trio.Event()
            while self.burnt < self.wanted:
                await self.ctx.clock.sleep(SHEET_S)
                self.next += 1
                self.burnt += 1


# --- what an operator does to it ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Burn:
    """Burn sheets of stamps: their numbers are never handed out."""

    verb: ClassVar[str] = "burn"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str
    sheets: int = 3
    """How many."""


@dataclass(frozen=True, slots=True)
class Stick:
    """The wheel sticks: the same number comes again and again."""

    verb: ClassVar[str] = "stick"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = True
    target: str


def burnt(ended: Ended) -> dict[str, Any]:
    assert ended.progress is not None
    return {"sheets": ended.progress.done, "nodes": list(ended.answers)}


def draw_burn(rng: random.Random, tiers: Sequence[Reach], before: Sequence[Any]) -> Drawn:
    return Drawn(Burn(rng.choice(tiers).name, rng.randint(1, 9)))


def draw_stick(rng: random.Random, tiers: Sequence[Reach], before: Sequence[Any]) -> Drawn:
    return Drawn(Stick(rng.choice(tiers).name))


BURN = Operation(
    Burn,
    "stamp machine",
    Method("burn", options_of),
    plan=Method("would_burn", options_of),
    progress=Method("burning"),
    cancel="stop_burning",
    result=burnt,
    shown=lambda told: f"{told['sheets']} sheets burnt at {', '.join(told['nodes'])}",
    shown_plan=lambda seconds: f"it would take {seconds:.1f} s",
    draw=draw_burn,
)
STICK = Operation(Stick, "stamp machine", Method("stick"), undo=Method("loosen"), draw=draw_stick)


# --- what clients do to it, and what judges that --------------------------------------------------


class Takes:
    """Clients take numbers."""

    model = "numbers"
    guarantee = ""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.client: Client | None = None

    async def prepare(self) -> None:
        view = await self.setting.directory.follow(self.setting.options.asks)
        name = view.members[0].name
        self.client = Client(self.setting.ctx, self.setting.nursery, name, RPC_PORT)

    def next(self, rng: random.Random, number: int) -> Step:
        return Step("take")

    async def do(self, step: Step, session: Session) -> Any:
        assert self.client is not None
        return await self.client.call("take", timeout_s=self.setting.options.timeout_s)

    def final_reads(self) -> Sequence[Step]:
        return ()


def each_number_once(operations: Sequence[Did]) -> Iterator[Found]:
    seen: dict[int, Did] = {}
    for each in operations:
        if each.is_ok:
            if each.result in seen:
                yield Found(f"{each.result} was handed out twice", (seen[each.result], each))
            seen[each.result] = each


WORKLOADS: Mapping[str, Any] = {"takes": Takes}
STAMPS = Kind(
    StampsConfig,
    StampsNode,
    operations=(BURN, STICK),
    workloads=WORKLOADS,
    models={"numbers": Model(each_number_once, operations=("take",))},
)
