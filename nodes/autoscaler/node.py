"""The autoscaler itself: at each sync it reads the members, decides, and asks the directory.

What it decides is scaler.py's. It never waits for what it asked for: the next look says what came.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from nodes.autoscaler import reach
from nodes.autoscaler.config import AutoscalerConfig
from nodes.autoscaler.lag import Lag
from nodes.autoscaler.measured import Measured, totals_of
from nodes.autoscaler.replicas import NoReading
from nodes.autoscaler.scaler import Decision, Reading, Scaler
from nodes.autoscaler.series import Series
from nodes.autoscaler.waiting import Waiting
from nodes.base import ADMIN_PORT, Context
from nodes.wire.admin import METRICS_MAX_BYTES, Admin
from nodes.wire.client import Client
from nodes.wire.directory import Directory, TierView
from protocols import rpc
from protocols.control import METRICS, Member
from protocols.errors import RpcError

READ_TIMEOUT_S: Final = 2.0
SCALE_TIMEOUT_S: Final = 180.0
"""Members that leave end what they have in hand first."""


class AutoscalerNode:
    """Keeps one tier at its targets."""

    def __init__(self, ctx: Context, config: AutoscalerConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.scaler = Scaler(config)
        self.measured = Measured(keep_s=config.sync_s * 1.5)
        self.series = Series(ctx, config.scales)
        self._decision: Decision | None = None
        self._undecided = ""
        self._asked: int | None = None
        """What the directory was asked for last, and has not answered yet."""
        self._clients: dict[str, Client] = {}
        self._nursery: trio.Nursery
        self._directory: Directory

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        ctx, config = self.ctx, self.config
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(Admin(ctx, facts=self.facts).listen_and_serve)
            self._directory = directory = Directory(ctx, nursery)
            task_status.started()
            view = await directory.follow(config.scales)
            waiting = None
            if config.lag_of:
                queue = await directory.follow(config.lag_of)
                waiting = Waiting(ctx, nursery, queue, config.topics, config.group)
            while True:
                await ctx.clock.sleep(config.sync_s)
                await self._sync(view, waiting)

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        decision = self._decision
        return {
            "role": "",
            "scales": self.config.scales,
            "current": decision.current if decision is not None else None,
            "wanted": decision.nodes if decision is not None else None,
            "why": self._undecided or (decision.why if decision is not None else ""),
        }

    async def _sync(self, view: TierView, waiting: Waiting | None) -> None:
        """One look, and what follows from it."""
        members = view.members
        self.measured.follow(members, self.ctx.clock.monotonic_s())
        self._let_go(members)
        lag = None
        async with trio.open_nursery() as nursery:
            for name in self.measured.have_been_ready():
                nursery.start_soon(self._read, name)
            if waiting is not None:
                lag = await self._lag(waiting)
        now_s = self.ctx.clock.monotonic_s()
        reading = Reading(self.measured.seen(), lag)
        try:
            decision = self.scaler.decide(self.measured.nodes, reading, now_s)
        except NoReading as why:
            self._not_decided(str(why))
            return
        self._decision, self._undecided = decision, ""
        if decision.nodes != decision.asked:
            self.ctx.reached(reach.HELD)
        self.series.decided(decision)
        if decision.nodes not in (decision.current, self._asked):
            self._asked = decision.nodes
            self._nursery.start_soon(self._scale, decision)

    def _not_decided(self, why: str) -> None:
        self.series.undecided()
        self.ctx.reached(reach.BLIND)
        if why != self._undecided:
            self.ctx.log.info("scaling not decided", scales=self.config.scales, why=why)
        self._undecided = why

    # --- reading -------------------------------------------------------------------------

    async def _read(self, name: str) -> None:
        client = self._clients.get(name)
        if client is None:
            limits = rpc.Limits(max_frame_bytes=METRICS_MAX_BYTES)
            client = Client(self.ctx, self._nursery, name, ADMIN_PORT, limits=limits)
            self._clients[name] = client
        totals = None
        try:
            totals = totals_of(await client.call(METRICS, timeout_s=self._timeout_s))
        except RpcError as error:
            self.ctx.log.debug("member not read", member=name, why=str(error))
        self.measured.told(name, totals, self.ctx.clock.monotonic_s())

    async def _lag(self, waiting: Waiting) -> Lag | None:
        try:
            return await waiting.lag(self._timeout_s)
        except RpcError as error:
            self.ctx.log.debug("lag not read", why=str(error))
            return None

    @property
    def _timeout_s(self) -> float:
        return min(READ_TIMEOUT_S, self.config.sync_s / 2)

    def _let_go(self, members: tuple[Member, ...]) -> None:
        there = [each.name for each in members]
        for name in [each for each in self._clients if each not in there]:
            self._clients.pop(name).close()

    # --- asking --------------------------------------------------------------------------

    async def _scale(self, decision: Decision) -> None:
        """Ask; the next look does not wait for members that start, or end what they have."""
        before, after, scales = decision.current, decision.nodes, self.config.scales
        self.ctx.log.info("scaling", scales=scales, was=before, nodes=after, why=decision.why)
        asked_s = self.ctx.clock.monotonic_s()
        self.scaler.changed(before, after, asked_s)  # its policies count it from now on
        try:
            await self._directory.scale(scales, after, timeout_s=SCALE_TIMEOUT_S)
            self.series.scaled(before, after)
            self.ctx.reached(reach.UP if after > before else reach.DOWN)
        except RpcError as error:
            if error.definite:
                self.scaler.not_changed(before, after, asked_s)
            self.series.refused()
            self.ctx.log.warning("scaling refused", scales=scales, nodes=after, why=str(error))
        finally:
            if self._asked == after:
                self._asked = None
