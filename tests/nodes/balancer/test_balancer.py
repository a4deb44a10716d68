"""The balancer node over memory streams, on virtual time: forwarding,
checks, queue, refusals, drain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from nodes.balancer.config import BalancerConfig
from nodes.balancer.node import BalancerNode
from nodes.base import ADMIN_PORT, HTTP_PORT, Stream
from nodes.wire.client import Client
from nodes.wire.service import Service
from protocols import proxy
from protocols.errors import RpcError
from tests.nodes.harness import MemoryWorld

PORT = 8080


async def echo(stream: Stream) -> None:
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


async def silence(stream: Stream) -> None:
    await trio.sleep_forever()


def greeter(name: str) -> Any:
    """Says its name, then reads until the client ends."""

    async def greet(stream: Stream) -> None:
        await stream.send_all(name.encode())
        async for _ in stream:
            pass

    return greet


class Rig:
    """A balancer in front of some servers, and a client from outside."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.world = MemoryWorld(nursery)
        self.outside = self.world.context("outside").network
        self.servers: dict[str, trio.CancelScope] = {}

    async def balance(self, **config: Any) -> BalancerNode:
        config = {"balances": "web", "check": "tcp", **config}
        self.ctx = self.world.context("lb-1")
        self.node = BalancerNode(self.ctx, BalancerConfig(**config))
        await self.world.start(self.node)
        self.admin = Client(
            self.world.context("emu"), self.nursery, "lb-1", ADMIN_PORT, hello=False
        )
        return self.node

    async def add(self, name: str, handle: Any = echo, **fields: Any) -> None:
        self.servers[name] = await self.world.serve(name, PORT, handle)
        self.world.list_member(name, PORT, **fields)

    async def dial(self) -> Stream:
        return await self.outside.open_stream("lb-1", HTTP_PORT)

    async def ask(self) -> bytes:
        """Connect and read until the other side ends or 4 bytes came."""
        stream = await self.dial()
        try:
            return bytes(await stream.receive_some(100))
        except trio.BrokenResourceError:
            return b"reset"
        finally:
            await stream.aclose()
            await trio.testing.wait_all_tasks_blocked()

    async def states(self) -> dict[str, str]:
        listed = await self.admin.call("servers")
        return {each["name"]: each["state"] for each in listed}

    def metric(self, line_start: str) -> float:
        for line in self.ctx.metrics.render().decode().splitlines():
            if line.startswith(line_start):
                return float(line.rsplit(" ", 1)[1])
        raise LookupError(line_start)


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    async with trio.open_nursery() as nursery:
        made = Rig(nursery)
        await made.world.serve_directory()
        yield made
        nursery.cancel_scope.cancel()


async def test_bytes_go_both_ways_and_half_close_is_passed_on(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("web-1")
        await r.balance()
        client = await r.dial()
        await client.send_all(b"x" * 700_000)
        await client.send_eof()
        got = b"".join([bytes(data) async for data in client])
        assert got == b"x" * 700_000
        await trio.sleep(0.1)
        assert r.metric('emu_bytes_total{direction="in"') == 700_000
        assert r.metric('emu_bytes_total{direction="out"') == 700_000
        assert r.metric('emu_current_sessions{node="lb-1",server="web-1"}') == 0


async def test_the_server_may_end_its_side_first(autojump_clock: Any) -> None:
    got = []

    async def ends_first(stream: Stream) -> None:
        await stream.send_all(b"bye")
        await stream.send_eof()
        async for data in stream:
            got.append(bytes(data))

    async with rig() as r:
        await r.add("web-1", ends_first)
        await r.balance()
        client = await r.dial()
        assert await client.receive_some(10) == b"bye"
        assert await client.receive_some(10) == b""
        await client.send_all(b"still here")
        await client.aclose()
        await trio.sleep(0.1)
        assert b"".join(got) == b"still here"


async def test_a_half_closed_flow_ends_after_the_fin_timeout_and_an_idle_one_later(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        await r.add("web-1", silence)
        await r.balance(check="none", client_fin_timeout_s=4.0, idle_timeout_s=40.0)
        half, idle = await r.dial(), await r.dial()
        await half.send_eof()
        started_s = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await half.receive_some(1)
        assert 4.0 <= trio.current_time() - started_s <= 6.0
        with pytest.raises(trio.BrokenResourceError):
            await idle.receive_some(1)
        assert 40.0 <= trio.current_time() - started_s <= 42.0
        assert not r.node.pump.flows


async def test_round_robin_over_the_tier_and_new_members_within_a_second(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        await r.add("web-1", greeter("1"))
        await r.balance()
        assert [await r.ask() for _ in range(2)] == [b"1", b"1"]
        await r.add("web-2", greeter("2"))
        await trio.sleep(0.5)
        assert {await r.ask() for _ in range(2)} == {b"1", b"2"}
        r.world.list_member("web-1", PORT, draining=True)
        await trio.sleep(0.5)
        assert {await r.ask() for _ in range(4)} == {b"2"}


async def test_a_dead_servers_traffic_goes_to_the_healthy_without_an_error(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        await r.add("web-1", greeter("1"))
        await r.add("web-2", greeter("2"))
        await r.balance()
        await trio.sleep(5)
        r.servers["web-1"].cancel()
        await trio.lowlevel.checkpoint()
        assert {await r.ask() for _ in range(4)} == {b"2"}
        assert r.metric("emu_retries_total") >= 1
        assert r.metric("emu_redispatches_total") >= 1
        assert r.metric('emu_connection_errors_total{node="lb-1",server="web-1"}') >= 1
        await trio.sleep(10)
        assert await r.states() == {"web-1": "down", "web-2": "ready"}
        assert r.metric('emu_server_up{node="lb-1",server="web-1"}') == 0
        assert r.metric('emu_check_failures_total{node="lb-1",server="web-1"}') >= 3
        r.servers["web-1"] = await r.world.serve("web-1", PORT, greeter("1"))
        await trio.sleep(5)
        assert {await r.ask() for _ in range(4)} == {b"1", b"2"}
        assert [event for event in r.ctx.log.names() if event in ("server down", "server up")] == [
            "server down",
            "server up",
        ]


async def test_a_black_hole_costs_one_connect_timeout_then_another_server_answers(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        await r.add("web-1", greeter("1"))
        await r.add("web-2", greeter("2"))
        await r.balance(check="none", connect_timeout_s=2.0)
        r.world.black_holes["web-1"] = None
        started_s = trio.current_time()
        assert {await r.ask() for _ in range(2)} == {b"2"}
        assert trio.current_time() - started_s == pytest.approx(2.0, abs=0.1)


async def test_a_single_server_is_tried_again_after_a_wait(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("web-1", greeter("1"))
        await r.balance(check="none")
        r.servers["web-1"].cancel()
        await trio.lowlevel.checkpoint()
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await r.ask())

        r.nursery.start_soon(ask)
        await trio.sleep(1.5)
        await r.world.serve("web-1", PORT, greeter("1"))
        await trio.sleep(1.0)
        assert answers == [b"1"]


async def test_rpc_checks_find_a_server_that_accepts_but_never_answers(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        for name in ("web-1", "web-2"):
            service = Service(r.world.context(name))
            await r.add(name, service.serve_stream)
        await r.balance(check="rpc")
        await trio.sleep(5)
        assert await r.states() == {"web-1": "ready", "web-2": "ready"}
        r.servers["web-2"].cancel()
        await trio.lowlevel.checkpoint()
        await r.world.serve("web-2", PORT, silence)
        await trio.sleep(10)
        assert await r.states() == {"web-1": "ready", "web-2": "down"}
        (listed,) = [each for each in await r.admin.call("servers") if each["name"] == "web-2"]
        assert listed["check"] == "no answer in 1 s"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "ready"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", "down"),
        (b"garbage", "down"),
        (b"", "down"),
    ],
)
async def test_http_checks_judge_the_status(autojump_clock: Any, answer: bytes, state: str) -> None:
    requests = []

    async def answers(stream: Stream) -> None:
        requests.append(bytes(await stream.receive_some(1000)))
        await stream.send_all(answer)

    async with rig() as r:
        await r.add("web-1", answers)
        await r.balance(check="http", check_path="/health")
        await trio.sleep(3)
        assert await r.states() == {"web-1": state}
        assert requests[0].startswith(b"GET /health HTTP/1.1\r\nHost: web-1\r\n")


@pytest.mark.parametrize("close_on_down", [False, True])
async def test_down_ends_established_flows_only_when_asked(
    autojump_clock: Any, close_on_down: bool
) -> None:
    async with rig() as r:
        await r.add("web-1")
        await r.balance(close_on_down=close_on_down)
        client = await r.dial()
        await client.send_all(b"a")
        assert await client.receive_some(1) == b"a"
        r.world.black_holes["web-1"] = None
        await trio.sleep(15)
        assert await r.states() == {"web-1": "down"}
        if close_on_down:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some(1)
        else:
            await client.send_all(b"b")
            assert await client.receive_some(1) == b"b"


async def test_when_all_are_down_connections_are_closed_at_once(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.balance()
        started_s = trio.current_time()
        assert await r.ask() == b""
        assert trio.current_time() == started_s
        assert r.metric('emu_refused_total{node="lb-1",reason="all down"}') == 1


async def test_http_clients_may_be_told_503_and_others_are_reset(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.balance(when_down="http_503")
        client = await r.dial()
        for part in (b"G", b"ET", b" / HTTP/1.1\r\nHost: x\r\n\r\n"):
            await client.send_all(part)
        answer = b""
        while data := await client.receive_some(1000):
            answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1" in head
        assert b"Content-Length: %d" % len(body) in head
        await client.aclose()
        other = await r.dial()
        await other.send_all(b"\x94\x00\x01\xa4ping\x90")
        with pytest.raises(trio.BrokenResourceError):
            await other.receive_some(1)
        silent_since_s = trio.current_time()
        mute = await r.dial()
        with pytest.raises(trio.BrokenResourceError):
            await mute.receive_some(1)
        assert trio.current_time() - silent_since_s <= 1.1


async def test_max_conn_queues_then_refuses_and_times_out(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("web-1", greeter("1"))
        await r.balance(check="none", max_conn=1, max_queue=2, queue_timeout_s=3.0)
        first = await r.dial()
        assert await first.receive_some(1) == b"1"
        second, third = await r.dial(), await r.dial()
        await trio.sleep(0.1)
        assert r.metric('emu_current_queue{node="lb-1",server="any"}') == 2
        assert await r.ask() == b"", "the queue is full"
        await first.aclose()
        assert await second.receive_some(1) == b"1"
        started_s = trio.current_time()
        assert await third.receive_some(1) == b""
        assert trio.current_time() - started_s == pytest.approx(2.9, abs=0.1)
        assert r.metric('emu_refused_total{node="lb-1",reason="queue full"}') == 1
        assert r.metric('emu_refused_total{node="lb-1",reason="queue timeout"}') == 1
        assert r.node.pool.queued == 0


async def test_a_reset_is_passed_on_in_both_directions(autojump_clock: Any) -> None:
    seen = []

    async def watcher(stream: Stream) -> None:
        try:
            await stream.receive_some(1)
        except trio.BrokenResourceError:
            seen.append("reset")
            raise

    async def resetter(stream: Stream) -> None:
        await stream.receive_some(1)
        stream.abort()

    async with rig() as r:
        await r.add("web-1", watcher)
        await r.balance(check="none")
        client = await r.dial()
        await trio.sleep(0.1)
        client.abort()
        await trio.sleep(0.1)
        assert seen == ["reset"]
        r.servers["web-1"].cancel()
        await trio.lowlevel.checkpoint()
        await r.world.serve("web-1", PORT, resetter)
        client = await r.dial()
        await client.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some(1)
        assert r.node.pool.servers["web-1"].outlier.failures_in_a_row == 1


async def test_the_proxy_header_names_the_client_and_checks_are_local(
    autojump_clock: Any,
) -> None:
    headers: list[proxy.Header] = []

    async def reads_header(stream: Stream) -> None:
        data = b""
        while (found := proxy.decode(data)) is None:
            data += await stream.receive_some(1000)
        headers.append(found[0])
        await stream.send_all(data[found[1] :] or b".")

    async with rig() as r:
        await r.add("web-1", reads_header)
        await r.balance(proxy_protocol=True)
        await trio.sleep(3)
        assert headers and all(header.local for header in headers)
        headers.clear()
        assert await r.ask() == b"."
        (header,) = [each for each in headers if not each.local]
        assert header.source == r.outside.address
        assert header.destination == r.ctx.network.address
        assert header.destination_port == HTTP_PORT


async def test_admin_lists_servers_and_sets_states(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("web-1", greeter("1"))
        await r.add("web-2", greeter("2"))
        await r.balance()
        held = [await r.dial() for _ in range(2)]
        await trio.sleep(0.1)
        told = await r.admin.call("set_state", "web-1", "drain")
        assert told["note"].startswith("no new connections; the 1 that it has go on until")
        assert {await r.ask() for _ in range(3)} == {b"2"}
        listed = {each["name"]: each for each in await r.admin.call("servers")}
        assert listed["web-1"]["state"] == "drain" and listed["web-1"]["sessions"] == 1
        described = await r.admin.call("describe")
        assert (described["servers_up"], described["servers_total"]) == (1, 2)
        assert described["sessions"] == 2
        assert "note" not in await r.admin.call("set_state", "web-1", "ready")
        assert await r.states() == {"web-1": "ready", "web-2": "ready"}
        with pytest.raises(RpcError, match="web-9"):
            await r.admin.call("set_state", "web-9", "drain")
        for each in held:
            await each.aclose()


async def test_drain_refuses_newcomers_and_answers_when_the_last_flow_ends(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        await r.add("web-1")
        await r.balance()
        held = await r.dial()
        await held.send_all(b"a")
        assert await held.receive_some(1) == b"a"
        drained = trio.Event()

        async def drain() -> None:
            await r.admin.call("drain", timeout_s=60.0)
            drained.set()

        r.nursery.start_soon(drain)
        await trio.sleep(1)
        assert await r.ask() == b"reset"
        assert not drained.is_set()
        await held.send_all(b"b")
        assert await held.receive_some(1) == b"b"
        await held.aclose()
        await trio.sleep(1)
        assert drained.is_set()


async def test_series_of_servers_that_left_are_forgotten(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("web-1", greeter("1"))
        await r.balance()
        held = await r.dial()
        await trio.sleep(1)
        r.world.unlist_member("web-1")
        await trio.sleep(2)
        assert b'server="web-1"' in r.ctx.metrics.render(), "it still has a connection"
        await held.aclose()
        await trio.sleep(2)
        assert b'server="web-1"' not in r.ctx.metrics.render()
        assert await r.states() == {}


async def test_maglev_builds_its_table_in_the_background_and_keeps_a_client_home(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        for name in ("1", "2", "3"):
            await r.add(f"web-{name}", greeter(name))
        await r.balance(algorithm="maglev", check="none")
        first = await r.ask()
        while r.node.pool.algorithm.building:
            await trio.lowlevel.checkpoint()
        assert {await r.ask() for _ in range(5)} == {first}


@pytest.mark.parametrize(
    ("field", "value"),
    [("algorithm", "fastest"), ("check", "icmp"), ("when_down", "cry"), ("rise", 0), ("fall", 0),
     ("check_interval_s", 1e-9), ("check_fast_interval_s", 0.0), ("connect_timeout_s", 0.0)],
)  # fmt: skip
def test_a_config_that_makes_no_sense_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field.removesuffix("_s")):
        BalancerConfig(**{"balances": "web", field: value})
