"""The users: sessions that come at a rate, or that wait and think, and remember what they posted.

An operation is tried again within the budget; its outcome is ok, refused for certain, or unknown.
How a request reaches the site is in visiting.py; the numbers are kept in nodes/parts/tally.py.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from math import inf
from typing import Any, Final

import trio

from nodes.base import Context
from nodes.parts import png
from nodes.parts.changing import Constant
from nodes.parts.lives import life_name
from nodes.parts.tally import ANY, ERROR, OK, SHED, Tally, merged
from nodes.parts.timing import move_on_after
from nodes.site.store import NAMES
from nodes.users.attempts import COUNTING, Attempts
from nodes.users.config import UsersConfig
from nodes.users.following import WHY, Follower
from nodes.users.resolver import Resolver
from nodes.users.series import UserSeries
from nodes.users.visiting import (
    ASSET,
    ASSETS,
    HOME,
    LOGIN,
    PHOTO,
    POST,
    HttpVisitor,
    Places,
    RpcVisitor,
    Visitor,
)
from nodes.users.written import Written
from nodes.wire.admin import Admin
from nodes.wire.client import Clients
from nodes.wire.directory import Directory
from nodes.wire.service import Call, current_call
from protocols.errors import RpcError

WARM_UP_SUCCESSES: Final = 3
WARM_UP_S: Final = 10.0
WARM_UP_PAUSE_S: Final = 0.1
FINISH_TIMEOUT_S: Final = 30.0
STRAGGLERS_S: Final = 10.0
PHOTO_SIZE: Final = (96, 72)
"""Pixels of the photos that users take."""
WORDS: Final = ("log", "path", "bridge", "machine", "primary", "seed", "packet", "cache")
LINES: Final = (
    "The replica caught up before the coffee did.",
    "Somebody pulled a cable. Nobody noticed.",
    "Read my own write, at last.",
    "The queue was empty when I left.",
)


class _User:
    """One sequential process of the history, and its way to the site."""

    def __init__(self, number: int, process: str, name: str, visitor: Visitor) -> None:
        self.number = number
        self.process = process
        self.name = name
        self.visitor = visitor


class UsersNode:
    """Makes the load until `finish` is called on its admin listener."""

    def __init__(self, ctx: Context, config: UsersConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.rate = config.rate()
        self.tally = Tally(ctx.clock.monotonic_s())
        self.written = {POST: Written(ctx), PHOTO: Written(ctx, "/photos")}
        """What was added, by the operation that adds it."""
        self.phase = "warming up"
        self._rng = ctx.rng("users")
        self._traces = ctx.rng("users/traces")
        self._turns = ctx.rng("users/turns")
        self._run_id = life_name(ctx)
        self._next_post = 0
        self._next_user = 0
        self._free: deque[_User] = deque()
        """Users who wait: who come at a rate take turns, of a population anybody may be next."""
        self._in_flight = 0
        self._stopped = trio.Event()
        self._idle = trio.Event()
        self._final: dict[str, Any] | None = None
        self._nursery: trio.Nursery | None = None
        self._unanswered = ""
        """Why the site has not answered yet, while users warm up."""
        weights = dict(config.mix.weights())
        if config.protocol == "rpc":
            weights[ASSET] = 0
        self._operations = [name for name, weight in weights.items() if weight]
        self._weights = [weight for weight in weights.values() if weight]
        self._series = UserSeries(ctx.metrics, self._operations, tuple(COUNTING))
        self._attempts = Attempts(ctx, config, self._series, lambda: self.tally)
        ctx.metrics.gauge("user_requests_in_flight", "Operations that users wait for now.",
                          lambda: self._in_flight)  # fmt: skip

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        admin = self._admin = Admin(self.ctx, facts=self.facts)
        admin.add("summary", lambda call: self.summary())
        admin.add("finish", self._finish)
        admin.add("rate", self._set_rate)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admin.listen_and_serve)
            task_status.started()
            self._nursery = nursery
            await self._find_site(nursery)
            await self._warm_up()
            self.tally = Tally(self.ctx.clock.monotonic_s())
            self.phase = "visiting"
            if self.rate.peak_per_s > 0:
                nursery.start_soon(self._open_loop, nursery)
            for _ in range(self.config.clients):
                nursery.start_soon(self._closed_loop, self._new_user())
            if self.config.people:
                nursery.start_soon(self._population, nursery)

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        return {
            "role": "",
            "phase": self.phase,
            "requests": self.tally.requests,
            "in_flight": self._in_flight,
        }

    def summary(self) -> dict[str, Any]:
        """The numbers so far, and the final reads' verdict once there is one."""
        return {
            "phase": self.phase,
            "retries_refused": self._attempts.budget.refused,
            **self.tally.summary(self.ctx.clock.monotonic_s()),
            **({"unanswered": self._unanswered} if self._unanswered else {}),
            **(self._final or {}),
        }

    async def _find_site(self, nursery: trio.Nursery) -> None:
        ctx, config = self.ctx, self.config
        directory = Directory(ctx, nursery)
        view = await directory.follow(config.visits)
        resolver = None
        if config.resolver:
            servers = await directory.follow(config.resolver)
            resolver = Resolver(
                ctx,
                lambda: [each.address for each in servers.nearest(ctx.region)],
                pin_share=config.pin_share,
                network=config.network,
            )
        self._places = self._attempts.places = Places(ctx, view, resolver, config.site_name())
        follower = Follower(ctx, self._places, view, resolver, config.site_name())
        self._admin.add(WHY, follower.why)
        self._rpc_clients = Clients(ctx, nursery)

    async def _warm_up(self) -> None:
        """Wait, for a while, until the site answers; nothing of this is counted."""
        answered = 0
        with move_on_after(self.ctx.clock, WARM_UP_S):
            while answered < WARM_UP_SUCCESSES:
                user = self._new_user()
                try:
                    place = await self._places.choose("warm-up", 0)
                    await user.visitor.ask(place, HOME, {}, self.config.timeout_s)
                    answered += 1
                    self._unanswered = ""
                except RpcError as error:
                    answered = 0
                    self._unanswered = str(error)
                    await self.ctx.clock.sleep(WARM_UP_PAUSE_S)
                finally:
                    user.visitor.close()
        if answered < WARM_UP_SUCCESSES:
            self.ctx.log.warning("site not answering", after_s=WARM_UP_S, why=self._unanswered)

    def _new_user(self) -> _User:
        number, self._next_user = self._next_user, self._next_user + 1
        name = NAMES[number % len(NAMES)]
        visitor: Visitor
        if self.config.protocol == "rpc":
            visitor = RpcVisitor(self._rpc_clients)
        else:
            most = self.config.requests_per_connection
            visitor = HttpVisitor(self.ctx, self.config.site_name(), most)
        return _User(number, self._process(number), name, visitor)

    def _process(self, number: int) -> str:
        return f"{self.ctx.name}.{self.ctx.generation}/{number}"

    # --- load --------------------------------------------------------------------------------

    async def _open_loop(self, nursery: trio.Nursery) -> None:
        """Everything that is due is sent, even when we are late: latency counts from when due."""
        clock = self.ctx.clock
        rng = self.ctx.rng("users/arrivals")  # nobody else's: the same in both worlds
        began_s = due_s = clock.monotonic_s()
        while not self._stopped.is_set():
            due_s = began_s + self.rate.after(due_s - began_s, rng.expovariate(1.0))
            if due_s == inf:
                await self._stopped.wait()
                return
            left_s = due_s - clock.monotonic_s()
            if left_s > 0:
                await clock.sleep(left_s)
            if self._stopped.is_set():
                return
            if self._in_flight >= self.config.max_in_flight:
                self._count(ANY, SHED, "too_many_in_flight", due_s)
                await trio.lowlevel.checkpoint()
                continue
            self._begin(nursery, due_s)

    async def _population(self, nursery: trio.Nursery) -> None:
        """People who think, each for an exponential time, ask at once as often as they are many:
        arrivals of all of them, of which those fall out whose turn is somebody's that waits."""
        people, clock = self.config.people, self.ctx.clock
        rng = self.ctx.rng("users/population")  # nobody else's: the same in both worlds
        due_s = clock.monotonic_s()
        while not self._stopped.is_set():
            due_s += rng.expovariate(people / self.config.think_time_s)
            left_s = due_s - clock.monotonic_s()
            if left_s > 0:
                await clock.sleep(left_s)
            else:
                await trio.lowlevel.checkpoint()
            if not self._stopped.is_set() and rng.random() * people >= self._in_flight:
                if self._free:  # it is anybody's turn
                    self._free.rotate(self._turns.randrange(len(self._free)))
                self._begin(nursery, due_s)

    def _begin(self, nursery: trio.Nursery, due_s: float) -> None:
        user = self._free.popleft() if self._free else self._new_user()
        self._in_flight += 1
        nursery.start_soon(self._visit_once, user, due_s)

    async def _visit_once(self, user: _User, due_s: float) -> None:
        try:
            await self._visit(user, due_s)
        finally:
            self._leave()
        if self._stopped.is_set():
            user.visitor.close()
        self._free.append(user)

    async def _closed_loop(self, user: _User) -> None:
        clock = self.ctx.clock
        rng = self.ctx.rng(f"users/client/{user.number}")  # nobody else's: alike in both worlds
        while not self._stopped.is_set():
            with move_on_after(clock, rng.expovariate(1.0) * self.config.think_time_s):
                await self._stopped.wait()
            if self._stopped.is_set():
                break
            self._in_flight += 1
            try:
                await self._visit(user, clock.monotonic_s())
            finally:
                self._leave()
        user.visitor.close()

    def _leave(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0 and self._stopped.is_set():
            self._idle.set()

    async def _visit(self, user: _User, due_s: float) -> None:
        """One operation of one user, with its retries; counted, and recorded if it is a post."""
        if self.config.login and not user.visitor.session:
            await self._log_in(user)
        operation = self._rng.choices(self._operations, self._weights)[0]
        arguments = self._arguments(operation, user)
        call = Call(trace=self._traces.getrandbits(52))
        call.urgency = getattr(self.config.urgency, operation)
        current_call.set(call)
        written = self.written.get(operation)
        adding = written.begin(user.process, arguments["id"]) if written is not None else None
        outcome, reason, answer = await self._attempts.make(user, operation, arguments)
        self._count(operation, outcome, reason, due_s)
        if written is None or adding is None:
            return
        if written.end(adding, outcome, reason, answer) and self._nursery is not None:
            self._nursery.start_soon(self._look_back, operation)
        if outcome not in (OK, ERROR):
            self._become_another(user)

    def _become_another(self, user: _User) -> None:
        """A process whose operation may still take effect is never heard of again."""
        user.number, self._next_user = self._next_user, self._next_user + 1
        user.process = self._process(user.number)

    async def _log_in(self, user: _User) -> None:
        try:
            place = await self._places.choose(user.process, 0)
            answer = await user.visitor.ask(
                place, LOGIN, {"name": user.name}, self.config.timeout_s
            )
        except RpcError:
            return
        user.visitor.session = str(answer.get("session", ""))

    def _arguments(self, operation: str, user: _User) -> dict[str, Any]:
        rng = self._rng
        by_session = bool(user.visitor.session) and self.config.protocol == "http"
        match operation:
            case "asset":
                paths = (*ASSETS, f"/static/face/{rng.choice(NAMES)}.svg")
                return {"path": rng.choice(paths)}
            case "profile":
                return {"name": rng.choice(NAMES)}
            case "timeline":
                return {"name": "" if by_session else user.name}
            case "search":
                return {"text": rng.choice(WORDS)}
            case "post":
                self._next_post += 1
                post = {"id": f"{self._run_id}-{self._next_post}", "text": rng.choice(LINES)}
                return post if by_session else {**post, "author": user.name}
            case "photo":
                self._next_post += 1
                name = f"{self._run_id}-{self._next_post}"
                photo = {"id": name, "picture": png.encode(png.drawn(name, *PHOTO_SIZE))}
                return photo if by_session else {**photo, "owner": user.name}
        return {}

    def _count(self, operation: str, outcome: str, reason: str, due_s: float) -> None:
        now_s = self.ctx.clock.monotonic_s()
        self.tally.add(outcome, reason, due_s, now_s, self._series.effects[operation])
        self._series.count(operation, outcome, reason, now_s - due_s)

    # --- the end of a run --------------------------------------------------------------------

    def _set_rate(self, call: Call, per_s: float) -> float:
        """Change the open loop's rate while it runs."""
        known = self.rate.peak_per_s > 0
        if not isinstance(per_s, (int, float)) or not 0 < per_s < 1e6 or not known:
            raise RpcError("bad_request", "a rate above 0, for users that have one")
        self.rate = Constant(float(per_s))
        return self.rate.per_s

    async def _finish(self, call: Call, timeout_ms: int = int(FINISH_TIMEOUT_S * 1000)) -> Any:
        """Stop the load, wait for stragglers, read back every post; then the run's summary.

        Call it once the cluster is healed. A second call gives the same answer.
        """
        if self._final is None:
            await self._stop_load()
            with move_on_after(self.ctx.clock, timeout_ms / 1000):
                await self._read_back()
            self._final = merged([each.verdict() for each in self.written.values()])
            self.phase = "finished"
        return self.summary()

    async def _stop_load(self) -> None:
        self._stopped.set()
        self.tally.ended_s = self.tally.ended_s or self.ctx.clock.monotonic_s()
        self.phase = "finishing"
        for user in self._free:
            user.visitor.close()
        if self._in_flight:
            with move_on_after(self.ctx.clock, STRAGGLERS_S):
                await self._idle.wait()

    async def _look_back(self, operation: str) -> None:
        """A long run's: what was added is looked for while it goes on."""
        user = self._new_user()
        ask = partial(self._ask_once, user, COUNTING[operation])
        try:
            await self.written[operation].look_back(user.process, ask)
        finally:
            user.visitor.close()

    async def _read_back(self) -> None:
        for operation, written in self.written.items():
            if written.is_empty:
                continue
            user = self._new_user()
            ask = partial(self._ask_once, user, COUNTING[operation])
            await written.read_back(user.process, ask)

    async def _ask_once(
        self, user: _User, operation: str, arguments: dict[str, Any], attempt: int
    ) -> dict[str, Any]:
        place = await self._places.choose(user.process, attempt)
        return await user.visitor.ask(place, operation, arguments, self.config.timeout_s)
