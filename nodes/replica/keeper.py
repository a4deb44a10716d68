"""Keeping a group's membership in line with its tier: spares, newcomers, nodes that are leaving.

Only the primary acts, one change at a time. What should change is membership.py's decision.
"""

from __future__ import annotations

from itertools import cycle
from typing import Final

import trio

from nodes.base import RPC_PORT, Context
from nodes.parts.timing import move_on_after
from nodes.replica.driver import ReplicaDriver
from nodes.replica.membership import Peer, next_change
from nodes.wire.client import Client
from nodes.wire.directory import TierView
from nodes.wire.service import Call, Service
from protocols.errors import RpcError
from protocols.replication.replica import VOTER, WITNESS

DISMISS: Final = "dismiss"
LEAVE: Final = "leave"
LOOK_S: Final = 0.5
LEAVE_TIMEOUT_S: Final = 5.0


class GroupKeeper:
    """Run it on every member; it does nothing where the node is not primary."""

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        driver: ReplicaDriver,
        view: TierView,
        *,
        spares: int,
        replace_after_s: float,
    ) -> None:
        self.ctx = ctx
        self._nursery = nursery
        self._driver = driver
        self._view = view
        self._spares = spares
        self._replace_after_s = replace_after_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.ctx.clock.sleep(LOOK_S)
            if self._driver.is_primary:
                self._look()

    def _look(self) -> None:
        driver, now_s = self._driver, self.ctx.clock.monotonic_s()
        core = driver.core
        peers = {
            name: Peer(now_s - to.heard_s, to.standing and core.is_caught_up(name))
            for name, to in core.progress.items()
        }
        listed = [each.name for each in self._view.members if not each.draining]
        change = next_change(
            core.name,
            core.members,
            listed,
            peers,
            spares=self._spares,
            replace_after_s=self._replace_after_s,
        )
        if change is None:
            return
        try:
            driver.change_member(change.name, change.role)
        except RpcError:
            return  # not yet: another change is under way, or too few are well
        role = change.role or "none"
        self.ctx.log.info("member changed", member=change.name, role=role, why=change.why)

    # --- what people ask for -----------------------------------------------------------------

    def add_methods(self, service: Service) -> None:
        """What members ask of each other at the main listener."""
        service.add(DISMISS, lambda call: self._dismiss(call.peer), cost_s=0.0)

    def promote(self, target: str) -> str:
        """Hand over to `target`, or to whoever is best; who that is. Raises RpcError."""
        driver = self._driver
        if not driver.is_primary:
            raise RpcError("not_primary", "only the primary can hand over", driver.core.primary)
        target = target or self.best_successor()
        why = self._unfit(target)
        if why:
            raise RpcError("refused", f"{target} cannot be primary now: {why}")
        driver.hand_over(target)
        return target

    def _unfit(self, name: str) -> str:
        """Why a member cannot take over at once, as far as the primary knows; or ""."""
        core = self._driver.core
        role = core.members.get(name)
        if role is None:
            return "it is no member of the group"
        if name == core.name:
            return "it is the primary"
        if role == WITNESS:
            return "a witness has no data"
        if role != VOTER:
            return f"it is a {role}, which has no vote yet"
        silent_s = self.ctx.clock.monotonic_s() - core.progress[name].heard_s
        if silent_s > core.config.detection_timeout_s:
            return f"the primary has heard nothing of it for {silent_s:.1f} s"
        if not (core.progress[name].standing and core.is_caught_up(name)):
            return f"it is {core.last_lsn - core.progress[name].flushed_lsn} records behind"
        return ""

    async def leave(self, call: Call) -> str:
        """Get out of the group, before this node is taken away for good. Raises RpcError."""
        driver, why = self._driver, "no primary answers"
        others = cycle([each.name for each in self._view.members if each.name != self.ctx.name])
        hint = ""
        with move_on_after(self.ctx.clock, LEAVE_TIMEOUT_S):
            while True:
                try:
                    if driver.is_primary:
                        driver.hand_over(self.best_successor())
                    elif await self._ask_to_dismiss(
                        driver.core.primary or hint or next(others, "")
                    ):
                        return "left"  # the group may never have admitted it
                except RpcError as error:
                    why, hint = error.message, ""
                    if error.code == "not_primary" and error.details:
                        hint = str(error.details[0] or "")
                    self.ctx.log.debug("not left yet", why=str(error))
                await self.ctx.clock.sleep(LOOK_S / 5)
        raise RpcError("unavailable", f"still a member after {LEAVE_TIMEOUT_S:g} s: {why}")

    async def _ask_to_dismiss(self, primary: str) -> bool:
        if not primary:
            return False
        client = Client(self.ctx, self._nursery, primary, RPC_PORT)
        try:
            return bool(await client.call(DISMISS, timeout_s=1.0))
        finally:
            client.close()

    def _dismiss(self, name: str) -> bool:
        """Let a member go that asks to leave; True once it is out. Raises RpcError."""
        driver = self._driver
        core = driver.core
        driver.check_can_write()
        if name not in core.members:
            return core.quorum_lsn >= core.members_lsn
        driver.change_member(name, None)
        self.ctx.log.info("member changed", member=name, role="none", why="it leaves")
        return False

    def best_successor(self) -> str:
        """Who should be primary next: of those who are well, the one with most. Raises RpcError."""
        core = self._driver.core
        others = [name for name in core.progress if core.members.get(name) == VOTER]
        able = [name for name in others if not self._unfit(name)]
        if not able:
            reasons = "; ".join(f"{name}: {self._unfit(name)}" for name in others)
            raise RpcError(
                "refused", f"there is no replica to promote ({reasons or 'none at all'})"
            )
        return max(able, key=lambda name: (core.progress[name].flushed_lsn, -able.index(name)))
