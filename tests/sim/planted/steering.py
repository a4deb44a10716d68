"""Who is asked by name, and who asks: servers that say which they are, callers through a balancer
that count them, and people who ask DNS for names that come and go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from nodes.base import HTTP_PORT, Context, Stream
from nodes.kind import HTTP, Kind
from nodes.parts.timing import move_on_after
from nodes.users.resolver import ResolveError, Resolver
from nodes.wire.accepting import accept_forever
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory

PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`hold`: so long each connection lasts."""

    hold_s: float = 0.02


class Server:
    """Says its name on each connection, after a while."""

    def __init__(self, ctx: Context, config: ServerConfig) -> None:
        self.ctx = ctx
        self.config = config

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        listener = await self.ctx.network.listen(HTTP_PORT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Admin(self.ctx).listen_and_serve)
            task_status.started()
            await accept_forever(self.ctx, listener, self._greet)

    async def _greet(self, stream: Stream) -> None:
        await self.ctx.clock.sleep(self.config.hold_s)
        await stream.send_all(self.ctx.name.encode())


@dataclass(frozen=True, slots=True)
class CallerConfig:
    asks: str


class Caller:
    """Admin `ask` [connections, at once] → the servers that answered, one for each connection."""

    def __init__(self, ctx: Context, config: CallerConfig) -> None:
        self.ctx = ctx
        self.config = config

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        admin = Admin(self.ctx)
        admin.add("ask", self._ask)
        async with trio.open_nursery() as nursery:
            self.view = await Directory(self.ctx, nursery).follow(self.config.asks)
            nursery.start_soon(admin.listen_and_serve)
            task_status.started()

    async def _ask(self, call: Any, connections: int, at_once: int) -> list[str]:
        left, answers = [connections], list[str]()
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(self._ask_on, left, answers)
        return answers

    async def _ask_on(self, left: list[int], answers: list[str]) -> None:
        while left[0] > 0:
            left[0] -= 1
            answers.append(await self._greeted())

    async def _greeted(self) -> str:
        """By whom; "" if by nobody."""
        with move_on_after(self.ctx.clock, PATIENCE_S):
            try:
                name = self.view.members[0].name
                async with await self.ctx.network.open_stream(name, HTTP_PORT) as stream:
                    return bytes(await stream.receive_some(100)).decode()
            except (OSError, trio.BrokenResourceError):
                await self.ctx.clock.sleep(0.01)
        return ""


@dataclass(frozen=True, slots=True)
class AskerConfig:
    """`asks`: a resolver, or DNS itself."""

    asks: str
    names: tuple[str, ...] = ()
    pause_s: float = 0.2


class Asker:
    """Asks for all of its names again and again, as people's machines do. Admin `heard` → [[asked
    at, answered at, name, why there is no address, or ""], ...]."""

    def __init__(self, ctx: Context, config: AskerConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.heard: list[tuple[float, float, str, str]] = []

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        admin = Admin(self.ctx)
        admin.add("heard", lambda call: self.heard)
        async with trio.open_nursery() as nursery:
            view = await Directory(self.ctx, nursery).follow(self.config.asks)
            self.resolver = Resolver(
                self.ctx, lambda: [each.address for each in view.nearest(self.ctx.region)]
            )
            nursery.start_soon(admin.listen_and_serve)
            for name in self.config.names:
                nursery.start_soon(self._ask_for, name)
            task_status.started()

    async def _ask_for(self, name: str) -> None:
        clock = self.ctx.clock
        rng = self.ctx.rng(name)
        while True:
            asked_s, why = clock.monotonic_s(), ""
            try:
                await self.resolver.resolve(name)
            except ResolveError as error:
                why = error.reason
            self.heard.append((asked_s, clock.monotonic_s(), name, why))
            await clock.sleep(self.config.pause_s * (0.5 + rng.random()))


SERVER = Kind(ServerConfig, Server, ports=(HTTP,))
CALLER = Kind(CallerConfig, Caller, ports=(), edges=("asks",))
ASKER = Kind(AskerConfig, Asker, ports=(), edges=("asks",))
