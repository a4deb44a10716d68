"""Following the directory: which nodes a tier has just now. Any tier that
dials another uses this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from nodes.base import DIRECTORY_HOST, RPC_PORT, Context
from nodes.wire.client import DEFAULT_TIMEOUT_S, Client
from nodes.wire.service import current_call
from protocols import control
from protocols.control import Member
from protocols.errors import RpcError

WAIT_S: Final = 20.0
PAUSE_S: Final = 0.1


class Directory:
    """A client of the directory. `follow(tier)` keeps a view up to date for as long
    as the node runs."""

    def __init__(self, ctx: Context, nursery: trio.Nursery) -> None:
        self.ctx = ctx
        self._nursery = nursery
        self._client = Client(ctx, nursery, DIRECTORY_HOST, RPC_PORT)
        self._views: dict[str, TierView] = {}

    async def follow(
        self, tier: str, on_change: Callable[[TierView], Any] | None = None
    ) -> TierView:
        """The members of `tier`, known once this returns and kept current afterwards.

        `on_change(view)` is called synchronously after each change (and once at the start).
        """
        view = self._views.get(tier)
        if view is None:
            view = self._views[tier] = TierView(tier)
            self._nursery.start_soon(self._follow_forever, view)
        await view.known.wait()
        if on_change is not None:
            view.listeners.append(on_change)
            on_change(view)
        return view

    async def scale(self, tier: str, nodes: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> int:
        """Ask for `nodes` members (over a declared `scales:` edge); answered when who comes is up
        and who goes has ended. Raises RpcError."""
        result = await self._client.call(control.SCALE, tier, nodes, timeout_s=timeout_s)
        return int(result)

    async def _follow_forever(self, view: TierView) -> None:
        current_call.set(None)  # whichever call asked first, its deadline is not ours
        while True:
            try:
                version, members = await self._client.call(
                    control.WATCH,
                    view.tier,
                    view.version,
                    int(WAIT_S * 1000),
                    timeout_s=WAIT_S + 5.0,
                )
            except RpcError as error:
                self.ctx.log.debug("directory not reached", tier=view.tier, error=str(error))
                await self.ctx.clock.sleep(PAUSE_S)
                continue
            view.update(version, [Member.from_wire(each) for each in members])


class TierView:
    """What is known of a tier: `members` in name order, and a version that grows."""

    def __init__(self, tier: str) -> None:
        self.tier = tier
        self.version = -1
        self.members: tuple[Member, ...] = ()
        self.known = trio.Event()
        self.changed = trio.Event()
        """Set at the next change; take it anew after each wait."""
        self.listeners: list[Callable[[TierView], Any]] = []

    def update(self, version: int, members: list[Member]) -> None:
        if version == self.version:
            return
        self.version, self.members = version, tuple(members)
        self.known.set()
        changed, self.changed = self.changed, trio.Event()
        changed.set()
        for listener in self.listeners:
            listener(self)

    @property
    def ready(self) -> tuple[Member, ...]:
        """Members that serve and are not on their way out."""
        return tuple(each for each in self.members if each.ready and not each.draining)

    def nearest(self, region: str) -> list[Member]:
        """Those that are ready, the ones of that region first."""
        return sorted(self.ready, key=lambda each: each.region != region)

    def named(self, name: str) -> Member | None:
        for member in self.members:
            if member.name == name:
                return member
        return None
