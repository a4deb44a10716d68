"""The asking side of any replicated group: find its primary, follow hints, try again elsewhere.

A request is repeated until its time is over, so it must be safe to repeat: reads, and writes with
a request id. What is asked is the tier's business.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import trio

from nodes.base import RPC_PORT, Context
from nodes.wire.answers import deadline_in
from nodes.wire.client import Client
from nodes.wire.directory import Directory, TierView
from protocols.control import Member
from protocols.errors import RpcError

RETRY_S: Final = 0.05
AT_ONCE_S: Final = 0.001
ATTEMPT_S: Final = 1.0
HASTY_S: Final = 0.1
"""How long an attempt waits where a simulation wants somebody in a hurry: what it asked for may
still be done there, when it is long done elsewhere."""
LEAST_LEFT_S: Final = 0.005
SHUN_S: Final = 1.0
"""For so long nobody asks a member again that has let an attempt time out: those who do not know
yet that it is gone still point to it."""
ELSEWHERE: Final = frozenset(
    {"not_primary", "unavailable", "disconnected", "timeout", "unknown_outcome"}
)
"""Worth asking another member, or again."""


def earlier(error: RpcError) -> RpcError:
    """What an answer of GroupClient.ask rests on: the attempt before a refusal whose outcome is
    unknown, or else the answer itself."""
    return error.__cause__ if isinstance(error.__cause__, RpcError) else error


class GroupClient:
    """Calls to whoever is primary of a tier just now."""

    def __init__(
        self, ctx: Context, nursery: trio.Nursery, directory: Directory, tier: str
    ) -> None:
        self.ctx = ctx
        self.tier = tier
        self._nursery = nursery
        self._directory = directory
        self._clients: dict[str, Client] = {}
        self._view: TierView | None = None
        self._primary = ""
        self._silent_until_s: dict[str, float] = {}
        self._seen: Sequence[Member] = ()
        self._names: list[str] = []
        """Of the members that were seen last."""
        self._here: set[str] = set()
        """Those of them in our own region."""

    async def start(self) -> None:
        """Learn the members; later calls follow them."""
        self._view = await self._directory.follow(self.tier)

    async def ask(
        self,
        method: str,
        *params: Any,
        timeout_s: float,
        wait_s: float = 0.0,
        epoch: int | None = None,
        anywhere: bool = False,
        patient: bool = True,
    ) -> Any:
        """Try members until one answers, the time is over, or the answer is final. `wait_s`: so
        much of it the answer itself may wait, wherever it comes from.

        `anywhere`: any member will do. Not `patient`: a tier without members is given up at once,
        for whoever can ask another tier. Raises RpcError; where a refusal came after an attempt
        whose outcome is unknown, that is its `__cause__`.
        """
        clock = self.ctx.clock
        deadline_s = deadline_in(clock, timeout_s)
        if self._view is None:
            await self.start()
        if not anywhere and self.ctx.rare("forget who leads"):
            self._primary = ""  # as somebody who has just come
        tried: list[str] = []
        unknown: RpcError | None = None
        while True:
            name = self._choose(tried, anywhere)
            if not (name or patient):
                raise RpcError("unavailable", f"tier {self.tier} has no members") from unknown
            left_s = deadline_s - clock.monotonic_s()
            try:
                if not name:
                    raise RpcError("unavailable", f"tier {self.tier} has no members")
                attempt_s = min(left_s, max(ATTEMPT_S + wait_s, left_s / 3))
                if self.ctx.rare("give up an attempt early"):
                    attempt_s = min(left_s, HASTY_S)
                client = self._client(name)
                answer = await client.call(method, *params, timeout_s=attempt_s, epoch=epoch)
                if not anywhere:
                    self._primary = name
                self._silent_until_s.pop(name, None)
                return answer
            except RpcError as error:
                if error.code not in ELSEWHERE:
                    if error.definite and not anywhere:
                        self._primary = name  # it knew enough to refuse
                    raise error from unknown
                unknown = error if not error.definite else unknown
                last = error
                if error.code == "timeout":
                    self._silent_until_s[name] = clock.monotonic_s() + SHUN_S
            if name and not anywhere and self.ctx.rare("ask the same member again"):
                self._primary = name
                await clock.sleep(AT_ONCE_S)
            else:
                tried.append(name)
                self._primary = self._hint(last, tried)
            if self._primary == "" and not self._worth_asking(tried):
                tried.clear()
                if deadline_s - clock.monotonic_s() <= 2 * RETRY_S:
                    raise unknown or last
                pause_s = AT_ONCE_S if self.ctx.rare("retry at once") else RETRY_S
                await clock.sleep(pause_s * (0.5 + self._rng().random()))
            if deadline_s - clock.monotonic_s() <= LEAST_LEFT_S:
                raise unknown or last

    def _rng(self) -> random.Random:
        """Made when first drawn from: a thousand clients of one server never are."""
        return self.ctx.rng(f"group-client/{self.tier}")

    def at_primary(self) -> Client:
        """The client of who has just answered as primary, for what must go to that very node."""
        assert self._primary, "ask first"
        return self._client(self._primary)

    @property
    def is_gone(self) -> bool:
        """Whether the tier was there to be asked, and has no members any more."""
        return self._view is not None and not self._view.members

    def _near(self, names: list[str]) -> list[str]:
        """Those of our own region, if any: a read that anybody may answer crosses no ocean."""
        return [name for name in names if name in self._here] or names

    def _members(self) -> list[str]:
        members = self._view.members if self._view is not None else ()
        if members is not self._seen:
            self._seen = members
            self._names = [each.name for each in members]
            self._here = {each.name for each in members if each.region == self.ctx.region}
        return self._names

    def _is_silent(self, name: str) -> bool:
        until_s = self._silent_until_s.get(name)
        return until_s is not None and self.ctx.clock.monotonic_s() < until_s

    def _worth_asking(self, tried: list[str]) -> list[str]:
        names = self._members()
        if not (tried or self._silent_until_s):
            return names
        return [n for n in names if n not in tried and not self._is_silent(n)]

    def _hint(self, error: RpcError, tried: list[str]) -> str:
        """Where the refusal sends us, unless we were there already."""
        if error.code == "not_primary" and error.details:
            name = error.details[0]
            if isinstance(name, str) and name not in tried and not self._is_silent(name):
                return name
        return ""

    def _choose(self, tried: list[str], anywhere: bool) -> str:
        if self._primary and not anywhere and self._primary not in tried:
            return self._primary
        fresh = self._worth_asking(tried) or self._worth_asking([]) or self._members()
        if anywhere:
            fresh = self._near(fresh)
        if len(fresh) > 1:
            return self._rng().choice(fresh)
        return fresh[0] if fresh else ""

    def _client(self, name: str) -> Client:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = Client(self.ctx, self._nursery, name, RPC_PORT)
        return client


class GroupClients:
    """One GroupClient for each tier that is asked for."""

    def __init__(self, ctx: Context, nursery: trio.Nursery, directory: Directory) -> None:
        self._ctx = ctx
        self._nursery = nursery
        self._directory = directory
        self._groups: dict[str, GroupClient] = {}

    def of(self, tier: str) -> GroupClient:
        """Its members are learned at the first call."""
        group = self._groups.get(tier)
        if group is None:
            group = GroupClient(self._ctx, self._nursery, self._directory, tier)
            self._groups[tier] = group
        return group
