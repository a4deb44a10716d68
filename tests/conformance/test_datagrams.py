"""Datagrams are delivered once or lost; late, cut off and bounded in size, as their link says."""

from __future__ import annotations

import pytest
import trio

from emu.machine import links
from nodes.base import OUTSIDE, Fenced
from tests.conformance.conftest import CLIENT, SERVER, Stopwatch, is_silent, shape_all, spec

MAX_BYTES = 65507


async def sockets(world, **server_fields):
    """(client's context, its socket, the server's socket bound to its main port, its address)."""
    machine = world.machine(spec("server-1", **server_fields))
    _, server = machine.boot(1)
    _, client = world.machine(spec("client-1")).boot(1)
    return (
        client,
        await client.network.open_datagram(),
        await server.network.open_datagram(7000),
        machine.address,
    )


async def test_a_datagram_arrives_with_its_senders_name_and_can_be_answered(make_world):
    async with make_world() as world:
        _, near, far, address = await sockets(world)
        await near.send_to(b"question", address, 7000)
        data, peer = await far.receive_from()
        assert (data, peer.name) == (b"question", "client-1")
        await far.send_to(b"answer", peer.address, peer.port)
        data, peer = await near.receive_from()
        assert (data, peer.name) == (b"answer", "server-1")


async def test_datagrams_keep_their_bounds(make_world):
    async with make_world() as world:
        _, near, far, address = await sockets(world)
        for data in (b"", b"a", b"x" * MAX_BYTES):
            await near.send_to(data, address, 7000)
            assert (await far.receive_from())[0] == data
        with pytest.raises(ValueError, match="65507"):
            await near.send_to(b"x" * (MAX_BYTES + 1), address, 7000)


async def test_a_datagram_takes_the_links_latency_both_ways(make_world):
    async with make_world() as world:
        _, near, far, address = await sockets(world)
        shape_all(world, latency_s=0.02)
        watch = Stopwatch(world)
        await near.send_to(b"x", address, 7000)
        _, peer = await far.receive_from()
        watch.took(0.02)
        await far.send_to(b"x", peer.address, peer.port)
        await near.receive_from()
        watch.took(0.04)


async def test_one_number_names_a_door_that_speaks_over_udp_and_tcp(make_world):
    async with make_world() as world:
        machine = world.machine(spec("server-1", public=True))
        _, server = machine.boot(1)
        datagrams = await server.network.open_datagram(7000)
        await server.network.listen(7000)
        host, _, port = world.endpoint("server-1", 7000).rpartition(":")
        assert (host, int(port)) == far_endpoint(world, datagrams, machine.address)


async def test_a_faster_datagram_overtakes_a_slower_one(make_world):
    async with make_world() as world:
        _, near, far, address = await sockets(world)
        shape_all(world, latency_s=0.03)
        await near.send_to(b"slow", address, 7000)
        shape_all(world, latency_s=0.001)
        await near.send_to(b"fast", address, 7000)
        assert [(await far.receive_from())[0] for _ in range(2)] == [b"fast", b"slow"]


async def test_loss_really_loses_and_what_is_left_comes_once(make_world):
    async with make_world() as world:
        _, near, far, address = await sockets(world)
        world.links.add(links.Lose(CLIENT, SERVER, loss_ratio=0.5))
        received: list[int] = []

        async def receive():
            while True:
                received.append(int((await far.receive_from())[0]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            for number in range(200):
                await near.send_to(b"%d" % number, address, 7000)
                await trio.lowlevel.checkpoint()
            await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        assert len(set(received)) == len(received)
        assert 60 < len(received) < 140


async def test_a_cut_loses_what_is_sent_and_what_is_on_its_way(make_world):
    async with make_world() as world:
        _, near, far, address = await sockets(world)
        shape_all(world, latency_s=0.02)
        await near.send_to(b"on its way", address, 7000)
        rule = world.links.add(links.Partition(CLIENT, SERVER))
        await near.send_to(b"sent into it", address, 7000)
        assert await is_silent(far.receive_from)
        rule.remove()
        assert await is_silent(far.receive_from), "nobody repeats a datagram"
        await near.send_to(b"after", address, 7000)
        assert (await far.receive_from())[0] == b"after"


async def test_nobody_listens_is_nobodys_business(make_world):
    async with make_world() as world:
        _, near, far, address = await sockets(world)
        far.close()
        for _ in range(3):
            await near.send_to(b"x", address, 7000)
            await trio.sleep(0.001)
        assert await is_silent(near.receive_from)


async def test_a_private_port_does_not_hear_strangers(make_world):
    async with make_world() as world:
        _, near, far, address = await sockets(world)
        _, stranger = world.machine(spec("stranger-1", dials=())).boot(1)
        card = await stranger.network.open_datagram()
        await card.send_to(b"let me in", address, 7000)
        await near.send_to(b"declared", address, 7000)
        assert (await far.receive_from())[0] == b"declared"
        assert await is_silent(far.receive_from)


async def test_an_unlisted_port_hears_nobody(make_world):
    async with make_world() as world:
        machine = world.machine(spec("server-1"))
        _, server = machine.boot(1)
        _, client = world.machine(spec("client-1")).boot(1)
        near, unlisted = (
            await client.network.open_datagram(),
            await server.network.open_datagram(7777),
        )
        await near.send_to(b"let me in", machine.address, 7777)
        assert await is_silent(unlisted.receive_from)


async def test_a_public_port_hears_clients_from_outside_over_their_link(make_world):
    async with make_world() as world:
        _, _, far, address = await sockets(world, public=True)
        shape_all(world, latency_s=0.02)
        near = await world.outside_network().open_datagram()
        watch = Stopwatch(world)
        try:
            where = far_endpoint(world, far, address)
            await near.send_to(b"who is it?", *where)
            data, peer = await far.receive_from()
            assert (data, peer.name) == (b"who is it?", OUTSIDE)
            watch.took(0.02)
            await far.send_to(b"me", peer.address, peer.port)
            assert (await near.receive_from())[0] == b"me"
            watch.took(0.04)
        finally:
            near.close()


def far_endpoint(world, far, address: str) -> tuple[str, int]:
    """Where a program of the same computer has to send to."""
    if world.name == "live" and not world.network.subnet.is_real(address):
        return world.network.host("server-1").ports[7000 | 1 << 16]
    return address, 7000


async def test_a_reader_that_is_not_there_loses_what_does_not_fit(make_world):
    async with make_world() as world:
        _, near, far, address = await sockets(world)
        for number in range(60):
            await near.send_to(b"%02d" % number + b"x" * 20_000, address, 7000)
        await trio.sleep(0.01)
        received = 0
        with trio.move_on_after(0.05):
            while True:
                data, _ = await far.receive_from()
                assert data.startswith(b"%02d" % received), "the first come, the last are dropped"
                received += 1
        assert 0 < received < 60


async def test_the_dead_send_and_hear_no_datagrams(make_world):
    async with make_world() as world:
        client, near, far, address = await sockets(world)
        world.machine(spec("client-1")).life.end(crash=False)
        for wait in (near.send_to(b"x", address, 7000), near.receive_from()):
            with pytest.raises(Fenced):
                await wait
        with pytest.raises(Fenced):
            await client.network.open_datagram()
        assert await is_silent(far.receive_from)


async def test_a_socket_closes_under_its_reader(make_world):
    async with make_world() as world:
        _, near, _, _ = await sockets(world)
        async with trio.open_nursery() as nursery:

            async def read():
                with pytest.raises(trio.ClosedResourceError):
                    await near.receive_from()

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            near.close()
