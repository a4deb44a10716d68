"""The directory: a service of the world that lists each tier's members, over the
wire like any other.

`Membership` is what the cluster writes; `DirectoryNode` answers protocols/control.py from it. The
node keeps no state of its own, so killing it loses nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from nodes.base import RPC_PORT, Context
from nodes.kind import Kind
from nodes.parts.timing import move_on_after
from nodes.wire.admin import Admin
from nodes.wire.service import Call, Service
from protocols import control
from protocols.control import Member
from protocols.errors import RpcError

MAX_WAIT_MS = 60_000


class Membership:
    """The members of every tier, with a version that grows at each change."""

    def __init__(self) -> None:
        self._tiers: dict[str, dict[str, Member]] = {}
        self._versions: dict[str, int] = {}
        self._changed: dict[str, trio.Event] = {}

    def put(self, member: Member, group: str = "") -> None:
        """Add or replace one member, of its tier and of the group that its tier comes from."""
        for name in (member.tier, group) if group else (member.tier,):
            tier = self._tiers.setdefault(name, {})
            if tier.get(member.name) != member:
                tier[member.name] = member
                self._bump(name)

    def remove(self, tier: str, name: str, group: str = "") -> None:
        for each in (tier, group):
            if self._tiers.get(each, {}).pop(name, None) is not None:
                self._bump(each)

    def tier(self, tier: str) -> tuple[int, list[Member]]:
        """(version, members in the order in which they came)."""
        return self._versions.get(tier, 0), list(self._tiers.get(tier, {}).values())

    async def wait_beyond(self, tier: str, version: int) -> None:
        """Return when the tier's version is another than `version`."""
        while self._versions.get(tier, 0) == version:
            await self._changed.setdefault(tier, trio.Event()).wait()

    def _bump(self, tier: str) -> None:
        self._versions[tier] = self._versions.get(tier, 0) + 1
        event = self._changed.pop(tier, None)
        if event is not None:
            event.set()


@dataclass(frozen=True, slots=True)
class Listing:
    """What a cluster's directory answers from: no Config, but what the cluster itself changes.
    `may_scale(dialer, tier)` knows the `scales:` edges."""

    membership: Membership = field(default_factory=Membership)
    scale: Callable[[str, int], Awaitable[int]] | None = None
    may_scale: Callable[[str, str], bool] = lambda dialer, tier: False


class DirectoryNode:
    """Answers `members`, `watch` and `scale`."""

    def __init__(self, ctx: Context, listing: Listing) -> None:
        self.ctx = ctx
        self.listing = listing
        self.service = Service(ctx)
        self.service.add(control.MEMBERS, self._members)
        self.service.add(control.WATCH, self._watch)
        self.service.add(control.SCALE, self._scale)
        self.admin = Admin(ctx, service=self.service)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        listener = await self.ctx.network.listen(RPC_PORT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.admin.listen_and_serve)
            nursery.start_soon(self.service.serve, listener)
            task_status.started()

    def _members(self, call: Call, tier: str) -> list[Any]:
        version, members = self.listing.membership.tier(tier)
        return [version, [member.to_wire() for member in members]]

    async def _watch(self, call: Call, tier: str, known_version: int, wait_ms: int) -> list[Any]:
        wait_s = min(max(wait_ms, 0), MAX_WAIT_MS) / 1000
        with move_on_after(self.ctx.clock, wait_s):
            await self.listing.membership.wait_beyond(tier, known_version)
        return self._members(call, tier)

    async def _scale(self, call: Call, tier: str, nodes: int) -> int:
        if self.listing.scale is None or not self.listing.may_scale(call.peer, tier):
            raise RpcError("unauthorized", f"{call.peer} declares no `scales: {tier}` edge")
        try:
            return await self.listing.scale(tier, nodes)
        except ValueError as error:  # no such tier any more, or too many
            raise RpcError("bad_request", str(error)) from error


@dataclass(frozen=True, slots=True)
class DirectoryConfig:
    """A directory has nothing to choose."""


def kind_of(listing: Listing) -> Kind:
    """What runs a cluster's directory: in emu's own process, where what it lists is."""

    def node(ctx: Context, config: DirectoryConfig) -> DirectoryNode:
        return DirectoryNode(ctx, listing)

    return Kind(DirectoryConfig, node)
