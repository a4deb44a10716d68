"""What an edge allows beside to dial: who may read at an admin port, and what emu alone may ask."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from nodes.base import ADMIN_PORT, OPERATE
from nodes.wire.admin import Admin
from nodes.wire.client import Client
from protocols.control import METRICS, SCALE
from protocols.errors import RpcError
from tests.conformance.conftest import spec, start
from tests.conformance.test_identity import refused, why_refused

READS = {"rights": ((METRICS, "server"),)}


@asynccontextmanager
async def watched(world, nursery, *, group: str = ""):
    """A server with an admin listener that also has a method of its own tier's."""
    life, ctx = world.machine(spec("server-1", group=group)).boot(1)
    ctx.metrics.counter("asked_total", "How often.").value = 3
    admin = Admin(ctx, facts=lambda: {"lag": 7})
    admin.add("drain", lambda call: "drained")
    await start(nursery, life, admin.listen_and_serve)
    await trio.testing.wait_all_tasks_blocked()
    yield
    nursery.cancel_scope.cancel()


def client_of(world, nursery, name: str, **fields) -> Client:
    _, ctx = world.machine(spec(name, **fields)).boot(1)
    return Client(ctx, nursery, "server-1", ADMIN_PORT)


async def test_who_may_read_metrics_reads_them_and_what_the_node_says_of_itself(make_world):
    async with make_world() as world, trio.open_nursery() as nursery, watched(world, nursery):
        client = client_of(world, nursery, "scaler-1", **READS)
        assert await client.call("ping") == "pong"
        assert b"emu_asked_total" in await client.call("metrics")
        facts = await client.call("describe")
        assert (facts["name"], facts["lag"]) == ("server-1", 7)


async def test_what_is_for_emu_alone_is_refused_to_who_may_read(make_world):
    async with make_world() as world, trio.open_nursery() as nursery, watched(world, nursery):
        client = client_of(world, nursery, "scaler-1", **READS)
        with pytest.raises(RpcError, match="scaler-1 may only read here") as caught:
            await client.call("drain", "with", "params")
        assert caught.value.code == "unauthorized"
        with pytest.raises(RpcError, match="no_such_method"):
            await client.call("nonsense")
        assert await client.call("ping") == "pong", "the connection goes on"


async def test_emu_itself_asks_everything(make_world):
    async with make_world() as world, trio.open_nursery() as nursery, watched(world, nursery):
        stream = await world.operator_network().open_stream("server-1", ADMIN_PORT)
        await stream.send_all(b"\x94\x00\x01\xa5drain\x90")  # [0, 1, "drain", []]
        assert b"drained" in await stream.receive_some()
        await stream.aclose()


async def test_a_refusal_names_the_tier_as_the_file_does(make_world):
    async with (
        make_world() as world,
        trio.open_nursery() as nursery,
        watched(world, nursery, group="store"),
    ):
        _, client = world.machine(spec("client-1", dials=())).boot(1)
        assert await refused(client.network, ADMIN_PORT)
        assert "declare an edge to `store` with the right `metrics`" in why_refused(world)


async def test_a_right_to_a_group_holds_for_every_tier_of_it(make_world):
    async with (
        make_world() as world,
        trio.open_nursery() as nursery,
        watched(world, nursery, group="store"),
    ):
        client = client_of(world, nursery, "scaler-1", rights=((METRICS, "store"),))
        assert (await client.call("describe"))["name"] == "server-1"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rights": ((SCALE, "server"),)},
        {"rights": ((METRICS, "other"),)},
        {"rights": ((METRICS, ""),)},
        {**READS, "from_outside": True},
    ],
    ids=["no right", "to scale only", "to others", "to no group", "users"],
)
async def test_without_the_right_to_read_the_admin_port_stays_closed(make_world, fields):
    async with make_world() as world, trio.open_nursery() as nursery, watched(world, nursery):
        _, client = world.machine(spec("client-1", **fields)).boot(1)
        assert await refused(client.network, ADMIN_PORT)
        assert "declare an edge to `server` with the right `metrics`" in why_refused(world)


async def test_rights_come_with_the_peer_emus_own_at_the_admin_port_alone(make_world):
    async with make_world() as world:
        _, server = world.machine(spec("server-1")).boot(1)
        _, reader = world.machine(spec("scaler-1", **READS)).boot(1)
        main, admin = [await server.network.listen(port) for port in (7000, ADMIN_PORT)]
        cards = {"scaler-1": reader.network, "emu": world.operator_network()}
        seen = []
        for listener, port in ((main, 7000), (admin, ADMIN_PORT)):
            for name, card in cards.items():
                await card.open_stream("server-1", port)
                peer = (await listener.accept()).peer
                assert peer.name == name
                seen.append(peer.rights)
        assert seen == [(METRICS,), (), (METRICS,), (OPERATE,)]
