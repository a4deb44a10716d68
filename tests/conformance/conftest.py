"""One suite for both worlds: every test here runs live and, where it exists, simulated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from emu.live.world import LiveWorld
from emu.private_trio import seeded_scheduler
from emu.sim.timers import SimClock
from emu.sim.world import Knobs, SimWorld
from emu.world import MachineSpec


def run_in_virtual_time(test, clock=None, instruments=()):
    """What pytest-trio calls instead of trio.run for a test in the simulated world."""
    with seeded_scheduler("conformance"):
        return trio.run(test, clock=clock or SimClock(), instruments=instruments)


def pytest_collection_modifyitems(items):
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and callspec.params.get("make_world") == "sim":
            item.add_marker(pytest.mark.trio(run=run_in_virtual_time), append=False)


@pytest.fixture(params=["live", "live without aliases", "sim"])
def make_world(request, tmp_path) -> Callable:
    """`async with make_world() as world`: a fresh world of each kind."""

    @asynccontextmanager
    async def make(**options) -> AsyncIterator[LiveWorld | SimWorld]:
        if request.param == "sim":
            async with SimWorld(7, knobs=Knobs(), checkpoint_every=1) as world:
                yield world
            return
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
