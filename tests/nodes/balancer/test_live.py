"""The balancer over real sockets: what the relay may shorten must not change what is seen."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import trio

from emu.machine.links import Partition, Slow
from nodes.balancer.config import BalancerConfig
from nodes.balancer.node import BalancerNode
from tests.nodes.live_rig import LiveRig, Script, live_rig

PORT = 8080


async def echo(stream: Any) -> None:
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


async def balance(rig: LiveRig, webs: int = 1, **config: Any) -> None:
    for number in range(webs):
        await rig.boot(f"web-{number + 1}", Script, echo)
    made = BalancerConfig("web", check="none", **config)
    await rig.boot("lb-1", BalancerNode, made, public=True, dials=("web",))


async def exchange(stream: Any, data: bytes) -> bytes:
    await stream.send_all(data)
    got = b""
    while len(got) < len(data):
        piece = await stream.receive_some(65536)
        if not piece:
            break
        got += piece
    return got


async def test_small_and_bulk_pieces_arrive_in_order_and_are_counted(tmp_path: Path) -> None:
    rng = random.Random("pieces")
    async with live_rig(tmp_path) as rig:
        await balance(rig)
        stream = await rig.outside.open_stream("lb-1", PORT)
        sent = 0
        with trio.fail_after(10):
            for size in (1, 100, 16384, 5, 200_000, 16383, 3, 65536, 16385, 7):
                data = rng.randbytes(size)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.send_all, data)
                    got = b""
                    while len(got) < size:
                        got += await stream.receive_some(65536)
                assert got == data
                sent += size
            await stream.send_eof()
            assert await stream.receive_some(1) == b""
        metrics = rig.contexts["lb-1"].metrics
        for direction in ("in", "out"):
            counter = metrics.counter("bytes_total", "", direction=direction)
            assert counter.value == sent


async def test_a_slow_reader_holds_the_sender_back(tmp_path: Path) -> None:
    async with live_rig(tmp_path) as rig:
        await balance(rig)
        stream = await rig.outside.open_stream("lb-1", PORT)
        sent = 0
        with trio.move_on_after(0.2):
            while True:
                await stream.send_all(bytes(8192))
                sent += 8192
        assert 0 < sent < 8 << 20, "buffers are bounded"
        got = 0
        with trio.fail_after(10):
            await stream.send_eof()
            while data := await stream.receive_some(1 << 20):
                got += len(data)
        assert sent <= got <= sent + 8192


async def test_a_link_that_becomes_slow_is_obeyed_by_a_connection_that_exists(
    tmp_path: Path,
) -> None:
    async with live_rig(tmp_path) as rig:
        await balance(rig)
        stream = await rig.outside.open_stream("lb-1", PORT)
        assert await exchange(stream, b"fast") == b"fast"
        with rig.world.links.add(Slow(frozenset({"lb-1"}), frozenset({"web-1"}), latency_s=0.05)):
            for _ in range(2):
                started_s = trio.current_time()
                assert await exchange(stream, b"slow") == b"slow"
                assert 0.1 <= trio.current_time() - started_s < 1.0
        started_s = trio.current_time()
        assert await exchange(stream, b"fast") == b"fast"
        assert trio.current_time() - started_s < 0.05


async def test_a_paused_balancer_moves_nothing_until_it_goes_on(tmp_path: Path) -> None:
    async with live_rig(tmp_path) as rig:
        await balance(rig)
        stream = await rig.outside.open_stream("lb-1", PORT)
        assert await exchange(stream, b"a") == b"a"
        rig.lives["lb-1"].pause()
        await stream.send_all(b"b")
        with trio.move_on_after(0.1) as waited:
            await stream.receive_some(1)
        assert waited.cancelled_caught
        rig.lives["lb-1"].resume()
        with trio.fail_after(2):
            assert await stream.receive_some(1) == b"b"
            assert await exchange(stream, b"c") == b"c"


async def test_a_killed_balancer_takes_its_connections_with_it(tmp_path: Path) -> None:
    async with live_rig(tmp_path) as rig:
        await balance(rig)
        streams = [await rig.outside.open_stream("lb-1", PORT) for _ in range(3)]
        for stream in streams:
            assert await exchange(stream, b"a") == b"a"
        rig.lives["lb-1"].pause()
        rig.lives["lb-1"].end(crash=False)
        with trio.fail_after(2):
            for stream in streams:
                try:
                    assert await stream.receive_some(1) == b""
                except trio.BrokenResourceError:
                    pass
        assert not rig.world.network.relays._by_fd


async def test_a_killed_servers_reset_reaches_the_client(tmp_path: Path) -> None:
    async with live_rig(tmp_path) as rig:
        await balance(rig, webs=2)
        stream = await rig.outside.open_stream("lb-1", PORT)
        assert await exchange(stream, b"a") == b"a"
        rig.lives["web-1"].end(crash=False)
        with trio.fail_after(2):
            try:
                assert await stream.receive_some(1) == b""
            except trio.BrokenResourceError:
                pass
            for _ in range(4):
                other = await rig.outside.open_stream("lb-1", PORT)
                assert await exchange(other, b"still") == b"still"


@pytest.mark.parametrize("paused", [False, True])
async def test_a_link_that_gives_up_breaks_the_flow(tmp_path: Path, paused: bool) -> None:
    async with live_rig(tmp_path) as rig:
        rig.world.links.user_timeout_s = 0.1
        await balance(rig)
        stream = await rig.outside.open_stream("lb-1", PORT)
        assert await exchange(stream, b"a") == b"a"
        with rig.world.links.add(Partition(frozenset({"lb-1"}), frozenset({"web-1"}))):
            await stream.send_all(b"into the void")
            await trio.sleep(0.05)
            if paused:
                rig.lives["lb-1"].pause()
                await trio.sleep(0.2)
                rig.lives["lb-1"].resume()
            with trio.fail_after(3), pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(1)
            assert not rig.world.network.relays._by_fd


@pytest.mark.slow
async def test_many_connections_at_once_lose_nothing(tmp_path: Path) -> None:
    async with live_rig(tmp_path) as rig:
        await balance(rig, webs=3, algorithm="least_conn")
        done = []

        async def client(number: int) -> None:
            rng = random.Random(number)
            async with await rig.outside.open_stream("lb-1", PORT) as stream:
                for _ in range(20):
                    data = rng.randbytes(rng.choice([1, 64, 900, 20_000]))
                    assert await exchange(stream, data) == data
            done.append(number)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for number in range(60):
                    nursery.start_soon(client, number)
        assert len(done) == 60
        await trio.sleep(0.1)
        assert not rig.world.network.relays._by_fd
