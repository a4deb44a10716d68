"""Sends the load: an open or a closed loop over asyncio, in a process of its own.

Everything that is due leaves at each tick, and a latency runs from the time at which its request
was due, so that a slow server cannot hide by making us wait (no coordinated omission).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from random import getrandbits
from typing import Any, Final

from emu.load.plan import Endpoint, Plan
from emu.load.stats import TIMEOUT, Stats
from emu.load.wire import Broken, speaker

TICK_S: Final = 0.001
SWEEP_S: Final = 0.05
MAX_WAITING: Final = 100_000
"""Requests that are due while every connection is busy; above it they count as `not_sent`."""
RECONNECT_S: Final = 0.1
"""How long a connection of a closed loop waits after a failure."""


class Connection(asyncio.Protocol):
    """One connection with its requests in flight: number -> when it was due."""

    def __init__(self, generator: Generator, endpoint: Endpoint, first: list[float]) -> None:
        self.generator = generator
        self.first = first
        """What waits for the connection to stand."""
        self.speaker = speaker(endpoint, generator.plan, generator.ids)
        self.named = endpoint.protocol == "http"
        """Whether a request's number is the id by which logs have it."""
        self.in_flight: dict[int, float] = {}
        self.transport: Any = None
        self.began_s = generator.now_s()

    @property
    def room(self) -> int:
        if self.transport is None or self.speaker.closes:
            return 0
        return self.generator.plan.depth - len(self.in_flight)

    def connection_made(self, transport: Any) -> None:
        if not self.generator.knows(self):  # given up while it was being made
            transport.abort()
            return
        self.transport = transport
        first, self.first = self.first, []
        self.send(first)
        self.generator.freed(self)

    def send(self, due: list[float]) -> None:
        """Send one request for each of the times."""
        parts = []
        for due_s in due:
            number, data = self.speaker.request()
            self.in_flight[number] = due_s
            parts.append(data)
        if parts:
            self.transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        try:
            answers = self.speaker.feed(data)
        except (Broken, ValueError):
            self.fail("protocol")
            return
        now_s = self.generator.now_s()
        for number, code in answers:
            due_s = self.in_flight.pop(number, None)
            if due_s is not None:  # else it was given up before
                self.generator.stats.count(code, due_s, now_s, number if self.named else None)
        if self.speaker.closes:
            self.transport.close()
        else:
            self.generator.freed(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.fail("reset" if error is not None else "closed")

    def fail(self, code: str) -> None:
        """The connection is of no more use; whatever was in flight on it failed."""
        now_s = self.generator.now_s()
        for due_s in (*self.in_flight.values(), *self.first):
            self.generator.stats.count(code, due_s, now_s)
        failed = bool(self.in_flight or self.first)
        self.in_flight.clear()
        self.first.clear()
        if self.transport is not None:
            self.transport.abort()
        self.generator.gone(self, failed)

    def sweep(self, oldest_s: float) -> None:
        """Give up what was due before `oldest_s`; over HTTP the connection goes with it."""
        late = [number for number, due_s in self.in_flight.items() if due_s < oldest_s]
        connecting = self.transport is None and self.began_s < oldest_s
        if connecting or (late and self.generator.plan.endpoints[0].protocol == "http"):
            self.fail(TIMEOUT)
            return
        for number in late:
            self.generator.stats.count(TIMEOUT, self.in_flight.pop(number), self.generator.now_s())
        if late:
            self.generator.freed(self)


class Generator:
    """One run of a plan. `on_second(stats)` is called once a second."""

    def __init__(self, plan: Plan, on_second: Callable[[Stats], object] = lambda stats: None):
        self.plan = plan
        self.stats = Stats()
        self.ids = count(getrandbits(32) << 20)
        """Of requests over HTTP: other runs have others."""
        self.ended = asyncio.Event()
        self._on_second = on_second
        self._open: dict[Connection, None] = {}
        self._free: dict[Connection, None] = {}
        self._due: deque[float] = deque()
        self._dials = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.now_s = self._loop.time
        self._sending = True

    async def run(self) -> dict[str, Any]:
        """The whole run; `ended.set()` ends it early. Gives what the stats come to."""
        plan, began_s = self.plan, self.now_s()
        drivers = [self._sweep_forever(), self._tell_forever()]
        drivers += [self._open_loop(began_s)] if plan.is_open else []
        for driver in drivers:
            self._spawn(driver)
        for _ in range(plan.connections if not plan.is_open else min(plan.connections, 10)):
            self._dial([])
        try:
            async with asyncio.timeout(plan.for_s):
                await self.ended.wait()
        except TimeoutError:
            pass
        self._sending = False
        ran_s = self.now_s() - began_s
        summary = self.stats.summary(ran_s)
        await self._settle()
        return {**self.stats.summary(ran_s), "throughput_per_s": summary["throughput_per_s"]}

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self) -> None:
        """What is in flight may still be answered, within its time, unless we were interrupted."""
        while any(each.in_flight for each in self._open) and not self.ended.is_set():  # noqa: ASYNC110
            await asyncio.sleep(TICK_S)
        now_s = self.now_s()
        for due_s in self._due:
            self.stats.count("not_sent", due_s, now_s)
        for connection in list(self._open):
            connection.in_flight.clear()
            connection.first.clear()
            connection.fail("closed")
        for task in list(self._tasks):
            task.cancel()

    # --- the open loop ------------------------------------------------------------------------

    async def _open_loop(self, began_s: float) -> None:
        """Send all that is due at each tick."""
        after = self.plan.rate.after
        since_s = 0.0  # when the next is due
        tick_s = began_s
        while self._sending:
            now_s = self.now_s()
            self.stats.late.observe(max(0.0, now_s - tick_s))
            while began_s + since_s <= now_s:
                self._ask(began_s + since_s)
                since_s = after(since_s, 1.0)
            self._pump()
            tick_s = now_s + TICK_S
            await asyncio.sleep(TICK_S)

    def _ask(self, due_s: float) -> None:
        if len(self._due) < MAX_WAITING:
            self._due.append(due_s)
        else:
            self.stats.count("not_sent", due_s, self.now_s())

    def _pump(self) -> None:
        """Hand what is due to connections with room; dial more while there may be more."""
        while self._due:
            if self._free:
                connection = next(iter(self._free))
                del self._free[connection]
                room = min(connection.room, len(self._due))
                if self.knows(connection) and room > 0:
                    connection.send([self._due.popleft() for _ in range(room)])
                    if connection.room > 0:
                        self._free[connection] = None
            elif len(self._open) < self.plan.connections:
                self._dial([self._due.popleft()])
            else:
                return

    # --- connections --------------------------------------------------------------------------

    def knows(self, connection: Connection) -> bool:
        """Whether it has not been given up."""
        return connection in self._open

    def freed(self, connection: Connection) -> None:
        """It has room for more."""
        room = connection.room
        if not self._sending or room <= 0:
            return
        if self.plan.is_open:
            self._free[connection] = None
            self._pump()
        else:
            connection.send([self.now_s()] * room)

    def gone(self, connection: Connection, failed: bool) -> None:
        """It has ended: a closed loop dials again, after a moment if it had failed."""
        if self._open.pop(connection, 0) == 0 or not self._sending:
            return
        if not self.plan.is_open:
            self._loop.call_later(RECONNECT_S if failed else 0.0, self._dial, [])

    def _dial(self, first: list[float]) -> None:
        if not self._sending:
            return
        endpoint = self.plan.endpoints[self._dials % len(self.plan.endpoints)]
        self._dials += 1
        connection = Connection(self, endpoint, first)
        self._open[connection] = None
        self._spawn(self._connect(connection, endpoint))

    async def _connect(self, connection: Connection, endpoint: Endpoint) -> None:
        try:
            await self._loop.create_connection(lambda: connection, endpoint.host, endpoint.port)
        except OSError as error:
            if not connection.first and not self.plan.is_open:
                connection.first.append(connection.began_s)  # a closed loop's request failed
            refused = isinstance(error, ConnectionRefusedError)
            connection.fail("refused" if refused else "unreachable")

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = self.now_s()
            oldest_s = now_s - self.plan.timeout_s
            for connection in list(self._open):
                connection.sweep(oldest_s)
            while self._due and self._due[0] < oldest_s:
                self.stats.count("not_sent", self._due.popleft(), now_s)

    async def _tell_forever(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._on_second(self.stats)
