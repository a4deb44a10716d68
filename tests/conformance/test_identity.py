"""Who is who: accept names the peer, private listeners refuse strangers before a byte is read."""

from __future__ import annotations

import pytest
import trio

from emu.machine import links
from nodes.base import ADMIN_PORT, OUTSIDE
from nodes.kind import RPC, Port
from tests.conformance.conftest import (
    SECOND,
    Stopwatch,
    connected,
    ends,
    is_silent,
    shape_all,
    spec,
)

FROM_OUTSIDE, SERVER = frozenset({OUTSIDE}), frozenset({"server-1"})


async def refused(card, port: int = 7000) -> bool:
    """Whether server-1 refuses that card: at once, or with a connection that ends unanswered."""
    try:
        stream = await card.open_stream("server-1", port)
        await stream.send_all(b"let me in")
        return await ends(stream) == "reset"
    except (OSError, trio.BrokenResourceError):
        return True


def why_refused(world) -> str:
    """What the last refusal's event says."""
    *_, event = [each for each in world.events if each["event"] == "connection refused"]
    return event["why"]


async def accepting(world, port: int = 7000, **server_fields):
    _, server = world.machine(spec("server-1", **server_fields)).boot(1)
    return server, await server.network.listen(port)


async def test_accept_hands_over_the_name_of_the_peer(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        assert near.peer.name == "server-1"
        assert far.peer.name == "client-1"


async def test_the_dialled_port_and_address_are_the_declared_ones(make_world):
    async with make_world() as world, connected(world) as (client, server, near, _):
        assert near.peer.port == 7000
        assert near.peer.address == server.network.address
        again = await client.network.open_stream(server.network.address, 7000)
        assert again.peer.name == "server-1", "dialled by address"


async def test_a_stranger_is_refused_before_a_byte_and_told_which_edge_to_declare(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        _, listener = await accepting(world)
        _, stranger = world.machine(spec("stranger-1", dials=())).boot(1)
        accepted = []

        async def accept():
            accepted.append(await listener.accept())

        nursery.start_soon(accept)
        assert await refused(stranger.network)
        assert accepted == []
        (event,) = [each for each in world.events if each["event"] == "connection refused"]
        assert (event["dialer"], event["node"]) == ("stranger-1", "server-1")
        assert "tier `stranger` declares no edge to `server`" in event["why"]
        nursery.cancel_scope.cancel()


async def test_a_client_from_outside_is_a_stranger_to_private_listeners(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        _, listener = await accepting(world)
        nursery.start_soon(listener.accept)
        assert await refused(world.outside_network())
        (event,) = [each for each in world.events if each["event"] == "connection refused"]
        assert "public: true" in event["why"]
        nursery.cancel_scope.cancel()


async def test_a_public_listener_takes_clients_from_outside(make_world):
    async with make_world() as world:
        _, listener = await accepting(world, public=True)
        near = await world.outside_network().open_stream("server-1", 7000)
        far = await listener.accept()
        assert far.peer.name == OUTSIDE
        await near.send_all(b"hello")
        assert await far.receive_some() == b"hello"
        await far.send_all(b"welcome")
        assert await near.receive_some() == b"welcome"
        await near.aclose()
        assert await ends(far) == "closed"


async def test_public_opens_the_public_ports_alone(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        third = Port("third", 7002)
        server, listener = await accepting(world, 7001, public=True, ports=(RPC, SECOND, third))
        nursery.start_soon(listener.accept)
        assert await refused(world.outside_network(), 7001)
        assert "port second is for tiers that declare an edge to `server`" in why_refused(world)
        open_to_all = await server.network.listen(7002)
        await world.outside_network().open_stream("server-1", 7002)
        assert (await open_to_all.accept()).peer.name == OUTSIDE
        nursery.cancel_scope.cancel()


async def test_whoever_declares_an_edge_reaches_every_listed_port_and_no_other(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        server, listener = await accepting(world, 7001, ports=(RPC, SECOND))
        unlisted = await server.network.listen(7777)
        _, client = world.machine(spec("client-1")).boot(1)
        _, sibling = world.machine(spec("server-2")).boot(1)
        for card in (client.network, sibling.network):
            near = await card.open_stream("server-1", 7001)
            assert near.peer.port == 7001
            await (await listener.accept()).aclose()
        nursery.start_soon(unlisted.accept)
        assert await refused(client.network, 7777)
        assert "lists no port 7777 (but rpc 7000, second 7001)" in why_refused(world)
        nursery.cancel_scope.cancel()


async def test_who_declares_no_edge_is_refused_at_every_port_that_is_not_public(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        _, listener = await accepting(world, 7001, public=True, ports=(RPC, SECOND))
        _, stranger = world.machine(spec("stranger-1", dials=())).boot(1)
        nursery.start_soon(listener.accept)
        assert await refused(stranger.network, 7001)
        assert "tier `stranger` declares no edge to `server`" in why_refused(world)
        nursery.cancel_scope.cancel()


async def test_users_reach_public_ports_alone_whatever_they_declare(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        server, main = await accepting(world, public=True, ports=(RPC, SECOND))
        second = await server.network.listen(7001)
        _, user = world.machine(spec("users-1", from_outside=True)).boot(1)
        await user.network.open_stream("server-1", 7000)
        assert (await main.accept()).peer.name == "users-1"
        nursery.start_soon(second.accept)
        assert await refused(user.network, 7001)
        assert "port second is for tiers" in why_refused(world)
        nursery.cancel_scope.cancel()


async def test_the_admin_port_is_for_emu_alone(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        _, listener = await accepting(world, ADMIN_PORT, public=True)
        _, client = world.machine(spec("client-1")).boot(1)
        nursery.start_soon(listener.accept)
        assert await refused(client.network, ADMIN_PORT)
        assert await refused(world.outside_network(), ADMIN_PORT)
        nursery.cancel_scope.cancel()


async def test_emu_itself_reaches_every_port(make_world):
    async with make_world() as world:
        server, main = await accepting(world)
        admin = await server.network.listen(ADMIN_PORT)
        for listener, port in ((main, 7000), (admin, ADMIN_PORT)):
            near = await world.operator_network().open_stream("server-1", port)
            far = await listener.accept()
            await near.send_all(b"ping")
            assert await far.receive_some() == b"ping"


async def test_the_link_from_outside_has_its_latency_both_ways(make_world):
    async with make_world() as world:
        _, listener = await accepting(world, public=True)
        shape_all(world, latency_s=0.03)
        watch = Stopwatch(world)
        near = await world.outside_network().open_stream("server-1", 7000)
        assert watch.took_s < 0.03 or world.name == "live", "its kernel is connected at once"
        far = await listener.accept()
        watch = Stopwatch(world)
        await near.send_all(b"x")
        assert await far.receive_some() == b"x"
        watch.took(0.03)
        await far.send_all(b"x")
        assert await near.receive_some() == b"x"
        watch.took(0.06)
        await near.send_eof()
        assert await far.receive_some() == b""
        watch.took(0.09)


async def test_clients_from_outside_that_are_cut_off_are_accepted_and_hear_silence(make_world):
    async with make_world() as world:
        _, listener = await accepting(world, public=True)
        rule = world.links.add(links.Partition(FROM_OUTSIDE, SERVER))
        near = await world.outside_network().open_stream("server-1", 7000)
        far = await listener.accept()
        await near.send_all(b"anybody there?")
        await far.send_all(b"welcome")
        assert await is_silent(far.receive_some)
        assert await is_silent(near.receive_some)
        rule.remove()
        assert await far.receive_some() == b"anybody there?"
        assert await near.receive_some() == b"welcome"


@pytest.mark.parametrize("shaped", [False, True])
async def test_a_cut_holds_what_an_outside_client_sends_on_an_old_connection(make_world, shaped):
    async with make_world() as world:
        shape_all(world, latency_s=0.001 if shaped else 0.0)
        _, listener = await accepting(world, public=True)
        near = await world.outside_network().open_stream("server-1", 7000)
        far = await listener.accept()
        await near.send_all(b"before")
        assert await far.receive_some() == b"before"
        rule = world.links.add(links.Partition(FROM_OUTSIDE, SERVER))
        await near.send_all(b"held")
        assert await is_silent(far.receive_some)
        rule.remove()
        assert await far.receive_some() == b"held"
