"""One suite for both worlds: every test here runs live and, where it exists, simulated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from emu.live.world import LiveWorld
from emu.world import MachineSpec


@pytest.fixture(params=["live", "live without aliases"])
def make_world(request, tmp_path) -> Callable:
    """`async with make_world() as world`: a fresh world of each kind."""

    @asynccontextmanager
    async def make(**options) -> AsyncIterator[LiveWorld]:
        aliases = request.param == "live"
        async with LiveWorld(7, tmp_path, aliases=aliases, checkpoint_every=1, **options) as world:
            yield world

    return make


def spec(name: str, **fields) -> MachineSpec:
    """A machine of tier `name` without its number; by default everybody may dial `server`."""
    tier = name.partition("-")[0]
    return MachineSpec(name, tier, "test", "here", **{"dials": ("server",), **fields})


@asynccontextmanager
async def connected(world, **server_fields):
    """(client context, server context, client stream, server stream), connected."""
    _, server = world.machine(spec("server-1", **server_fields)).boot(1)
    _, client = world.machine(spec("client-1")).boot(1)
    listener = await server.network.listen(7000)
    near = await client.network.open_stream("server-1", 7000)
    far = await listener.accept()
    yield client, server, near, far
