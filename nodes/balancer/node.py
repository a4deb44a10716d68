"""The L4 balancer: takes connections, chooses a server for each, and moves bytes both ways.

It never reads what it forwards. Who gets a connection is decided in nodes/parts/pool.py.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from nodes.balancer import reach
from nodes.balancer.config import BalancerConfig
from nodes.balancer.pump import Flow, Pump
from nodes.base import HTTP_PORT, Context, CpuBusy, CpuExpired, Stream
from nodes.checking import Prober, Watch
from nodes.metrics import Counter
from nodes.parts.health import CheckTimes
from nodes.parts.picking import Maglev
from nodes.parts.pool import ALL_DOWN, Pool, PoolConfig
from nodes.parts.server import DOWN, Server, Waiting
from nodes.parts.timing import move_on_after
from nodes.wire.accepting import accept_forever
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory, TierView
from nodes.wire.service import Call
from protocols import proxy
from protocols.errors import RpcError

SAME_SERVER_WAIT_S: Final = 1.0
"""Before a retry on the server that has just failed, when there is no other (HAProxy's wait)."""
PEEK_BYTES: Final = 4096
PEEK_TIMEOUT_S: Final = 1.0
HTTP_METHODS: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ")
RETRY_AFTER_S: Final = 1
START_PATIENCE_S: Final = 1.0
UNAVAILABLE_TEXT: Final = b"No server is available just now.\n"
REFUSED_HELP: Final = "Connections that got no server, by reason."


class Refused(Exception):
    """This connection gets no server."""


class BalancerNode:
    """Listens at HTTP_PORT and forwards; admin adds `servers`, `set_state` and `drain`."""

    def __init__(self, ctx: Context, config: BalancerConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.pool = Pool(_pool_config(ctx, config), ctx.rng("balancer"), self._note)
        self.prober = Prober(
            ctx,
            config.check,
            timeout_s=config.check_timeout_s,
            path=config.check_path,
            preface=proxy.encode(proxy.LOCAL) if config.proxy_protocol else b"",
        )
        self.check_times = CheckTimes(
            config.check_interval_s, config.check_fast_interval_s, config.check_jitter_ratio
        )
        self.pump = Pump(ctx, config.idle_timeout_s, config.client_fin_timeout_s)
        self.draining = False
        self.drained = trio.Event()
        self._in_hand = 0
        self._refused = 0
        self._watches: dict[str, Watch] = {}
        self._connection_errors: dict[str, Counter] = {}
        self._maglev_stale = trio.Event()
        self._changed = trio.Event()
        metrics = ctx.metrics
        self.retries = metrics.counter("retries_total", "Repeated attempts to connect to a server.")
        self.redispatches = metrics.counter(
            "redispatches_total", "Connections that went to another server than first chosen."
        )
        metrics.gauge(
            "current_queue",
            "Connections that wait for a server.",
            lambda: float(len(self.pool.queue)),
            server="any",
        )
        self.admin = Admin(ctx, facts=self._facts)
        self.admin.add("servers", self._list_servers)
        self.admin.add("set_state", self._set_state)
        self.admin.add("drain", self._drain)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        listener = await self.ctx.network.listen(HTTP_PORT)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.admin.listen_and_serve)
            await Directory(self.ctx, nursery).follow(self.config.balances, self._members_changed)
            nursery.start_soon(self.pump.watch_forever, self._tick)
            if isinstance(self.pool.algorithm, Maglev):
                nursery.start_soon(self._build_tables, self.pool.algorithm)
            if self.config.init_state == "down":
                await self._wait_for_a_server()
            task_status.started()
            await accept_forever(
                self.ctx, listener, self._handle, max_connections=self.config.max_connections
            )

    # --- the servers -------------------------------------------------------------------------

    def _note(self, event: str, **fields: Any) -> None:
        self.ctx.log.info(event, **fields)
        if state := reach.noted(event, fields):
            self.ctx.reached(state)

    def _members_changed(self, view: TierView) -> None:
        for server in self.pool.set_members(view.members, self._now_s()):
            if server.name in self._watches:
                self._watches[server.name].soon()
            else:
                self._adopt(server)
        self._forget_finished()
        self._maglev_stale.set()

    def _adopt(self, server: Server) -> None:
        """A new server: its series, and its checks."""
        metrics, name = self.ctx.metrics, server.name
        metrics.gauge(
            "current_sessions",
            "Connections that a server has.",
            lambda: float(server.sessions),
            server=name,
        )
        metrics.gauge(
            "current_queue",
            "Connections that wait for a server.",
            lambda: float(len(server.waiting)),
            server=name,
        )
        metrics.gauge(
            "server_up",
            "1 if the server passes its checks.",
            lambda: float(server.health.up),
            server=name,
        )
        self._connection_errors[name] = metrics.counter(
            "connection_errors_total",
            "Attempts to connect to a server that failed.",
            server=name,
        )
        failures = metrics.counter(
            "check_failures_total", "Active checks of a server that failed.", server=name
        )

        def report(why: str) -> None:
            failures.value += bool(why)
            self._checked(server, why)

        watch = Watch(
            self.prober, server.health, self.check_times, lambda: _to_check(server), report
        )
        self._watches[name] = watch
        if self.config.init_state == "down":
            watch.soon()
        if self.config.check != "none":
            self._nursery.start_soon(watch.run)

    async def _wait_for_a_server(self) -> None:
        """Who connects meanwhile waits too, rather than hear that there is none."""
        with move_on_after(self.ctx.clock, START_PATIENCE_S):
            while not self.pool.usable(self._now_s()):
                self._changed = trio.Event()
                await self._changed.wait()

    def _checked(self, server: Server, why: str) -> None:
        if not self.pool.checked(server, why, self._now_s()):
            return
        self._changed.set()
        self._maglev_stale.set()
        if server.state == DOWN and self.config.close_on_down:
            self.pump.end_flows_of(server)

    def _forget_finished(self) -> None:
        for server in self.pool.remove_finished():
            self._watches.pop(server.name).stop()
            del self._connection_errors[server.name]
            for series in PER_SERVER_SERIES:
                self.ctx.metrics.forget(series, server=server.name)

    def _tick(self) -> None:
        self.pool.tick(self._now_s())
        assert self.pool.load <= self._in_hand, f"{self.pool.load} of {self._in_hand} connections"
        self._forget_finished()
        self._maglev_stale.set()

    async def _build_tables(self, maglev: Maglev) -> None:
        """Keep the lookup table up to date, a few entries at a turn."""
        while True:
            await self._maglev_stale.wait()
            self._maglev_stale = trio.Event()
            while not maglev.build():
                await trio.lowlevel.checkpoint()

    # --- one connection ----------------------------------------------------------------------

    async def _handle(self, client: Stream) -> None:
        if self.draining:
            client.abort()
            return
        self._in_hand += 1
        server: Server | None = None
        try:
            server, upstream = await self._find_server(client)
            async with upstream:
                await self._forward(client, upstream, server)
        except Refused as refused:
            await self._refuse(client, str(refused))
        finally:
            if server is not None:
                self.pool.release(server, self._now_s())
            self._in_hand -= 1
            if self.draining and not self._in_hand:
                self.drained.set()

    async def _find_server(self, client: Stream) -> tuple[Server, Stream]:
        """A server that accepted our connection; the caller releases it. Raises Refused."""
        if self.ctx.cpu.cores:
            try:
                await self.ctx.cpu.run()
            except (CpuBusy, CpuExpired):
                raise Refused("cpu busy") from None
        key = client.peer.address
        if self.config.hash_on == "address_port":
            key = f"{key}:{client.peer.port}"
        tried: list[Server] = []
        for attempt in range(self.config.retries + 1):
            server = await self._take(key, tried)
            if attempt:
                self.ctx.reached(reach.RETRIED)
                self.retries.value += 1
                self.redispatches.value += server is not tried[-1]
            upstream = await self._connect(client, server)
            if upstream is not None:
                return server, upstream
            tried.append(server)
        raise Refused(reach.NO_SERVER_ACCEPTS)

    async def _take(self, key: str, tried: list[Server]) -> Server:
        """A server to try, after a wait in the queue if need be. Raises Refused."""
        settled = trio.Event()
        taken = self.pool.take(key, self._now_s(), settled.set, tried)
        if taken == ALL_DOWN and tried and self.pool.usable(self._now_s()):
            await self.ctx.clock.sleep(min(SAME_SERVER_WAIT_S, self.config.connect_timeout_s))
            taken = self.pool.take(key, self._now_s(), settled.set)
        if isinstance(taken, Server):
            return taken
        if isinstance(taken, str):
            raise Refused(taken)
        self.ctx.reached(reach.QUEUED)
        return await self._wait_in_queue(taken, settled)

    async def _wait_in_queue(self, waiting: Waiting, settled: trio.Event) -> Server:
        try:
            with move_on_after(self.ctx.clock, self.config.queue_timeout_s):
                await settled.wait()
        except trio.Cancelled:
            if waiting.server is not None:
                self.pool.release(waiting.server, self._now_s())
            raise
        finally:
            self.pool.give_up(waiting)
        if waiting.server is None:
            raise Refused(waiting.refused or reach.QUEUE_TIMEOUT)
        return waiting.server

    async def _connect(self, client: Stream, server: Server) -> Stream | None:
        """Dial; None if it failed: the server is released and blamed."""
        stream: Stream | None = None
        try:
            with move_on_after(self.ctx.clock, self.config.connect_timeout_s):
                stream = await self.ctx.network.open_stream(server.name, server.port)
                if self.config.proxy_protocol:
                    await stream.send_all(self._proxy_header(client))
                return stream
        except (OSError, trio.BrokenResourceError):
            pass
        except trio.Cancelled:
            self.pool.release(server, self._now_s())
            if stream is not None:
                stream.abort()
            raise
        if stream is not None:
            stream.abort()
        self._connection_errors[server.name].value += 1
        self.pool.failed(server, self._now_s())
        self.pool.release(server, self._now_s())
        return None

    def _proxy_header(self, client: Stream) -> bytes:
        peer = client.peer
        return proxy.encode(
            proxy.Header(peer.address, peer.port, self.ctx.network.address, HTTP_PORT)
        )

    async def _forward(self, client: Stream, upstream: Stream, server: Server) -> None:
        flow = Flow(client, upstream, server)
        await self.pump.run(flow)
        if flow.answered_bytes:
            self.pool.succeeded(server)
        elif flow.broken_by == "server":
            self.pool.failed(server, self._now_s())

    async def _refuse(self, client: Stream, reason: str) -> None:
        """A clear answer, never a hang."""
        self.ctx.metrics.counter("refused_total", REFUSED_HELP, reason=reason).value += 1
        self._refused += 1
        self.pump.refused()
        if reason in reach.REFUSED:
            self.ctx.reached(reach.REFUSED[reason])
        if self.config.when_down != "http_503":
            return  # closed by whoever accepted it
        with move_on_after(self.ctx.clock, PEEK_TIMEOUT_S):
            first = await _first_bytes(client)
            if first.startswith(HTTP_METHODS):
                await client.send_all(_unavailable(with_body=not first.startswith(b"HEAD ")))
                await client.send_eof()
                while await client.receive_some(PEEK_BYTES):
                    pass  # closing over unread bytes would reset the connection, answer and all
                return
        client.abort()

    # --- admin -------------------------------------------------------------------------------

    def _facts(self) -> dict[str, Any]:
        now_s = self._now_s()
        servers = self.pool.servers.values()
        return {
            "role": "draining" if self.draining else "active",
            "algorithm": self.config.algorithm,
            "servers_up": self.pool.up_count(now_s),
            "servers_total": len(servers),
            "sessions": self._in_hand,
            "connections": self._in_hand,
            "refused": self._refused,
            "queued": self.pool.queued,
            "panic": self.pool.panic,
        }

    def _list_servers(self, call: Call) -> list[dict[str, Any]]:
        now_s = self._now_s()
        return [server.describe(now_s) for server in self.pool.servers.values()]

    def _set_state(self, call: Call, server: str, state: str) -> dict[str, Any]:
        try:
            self.pool.set_state(server, state, self._now_s())
        except LookupError as error:
            raise RpcError("bad_request", str(error.args[0])) from None
        self._maglev_stale.set()
        self._watches[server].soon()
        told = self.pool.servers[server]
        return {**told.describe(self._now_s()), **told.still_asked()}

    async def _drain(self, call: Call) -> dict[str, Any]:
        """Refuse new connections; answer when the last one has ended."""
        if not self.draining:
            self.draining = True
            self.ctx.log.info("balancer draining", sessions=self._in_hand)
        if not self._in_hand:
            self.drained.set()
        await self.drained.wait()
        return {"sessions": self._in_hand}

    def _now_s(self) -> float:
        return self.ctx.clock.monotonic_s()


PER_SERVER_SERIES: Final = (
    "current_sessions",
    "current_queue",
    "server_up",
    "connection_errors_total",
    "check_failures_total",
)


async def _first_bytes(client: Stream) -> bytes:
    """As much as it takes to tell whether the client speaks HTTP."""
    first = b""
    while any(each.startswith(first) for each in HTTP_METHODS):
        data = await client.receive_some(PEEK_BYTES)
        if not data:
            break
        first += data
        if first.startswith(HTTP_METHODS):
            break
    return first


def _unavailable(*, with_body: bool) -> bytes:
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(UNAVAILABLE_TEXT)}\r\nRetry-After: {RETRY_AFTER_S}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (UNAVAILABLE_TEXT if with_body else b"")


def _to_check(server: Server) -> tuple[str, int] | None:
    return None if server.admin == "maint" or server.departed else (server.name, server.port)


def _pool_config(ctx: Context, config: BalancerConfig) -> PoolConfig:
    return PoolConfig(
        algorithm=config.algorithm,
        region=ctx.region if config.prefer_local else "",
        weights=config.weights,
        rise=config.rise,
        fall=config.fall,
        starts_up=config.init_state == "up" or config.check == "none",
        max_conn=config.max_conn,
        max_queue=config.max_queue,
        slow_start_s=config.slow_start_s,
        flow_ttl_s=config.flow_ttl_s,
        panic_threshold_ratio=config.panic_threshold_ratio,
        eject_after_failures=config.eject_after_failures,
        ejection_time_s=config.ejection_time_s,
        max_ejected_ratio=config.max_ejected_ratio,
    )
