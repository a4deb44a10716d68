"""One suite for both worlds: every test here runs live, live without loopback aliases, and
simulated (as a soak: live where all machines share an outer address, too). Simulated times are
exact and asserted so; live ones are never early, and may be late.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from emu.live.world import LiveWorld
from emu.machine import links
from emu.machine.life import Life, current_life
from emu.machine.private_trio import seeded_scheduler, undead
from emu.machine.world import MachineSpec
from emu.processes.shared import SharedWorld
from emu.sim.timers import SimClock
from emu.sim.world import Knobs, SimWorld
from nodes.base import Fenced
from nodes.kind import Port

LATE_S = 0.5
"""What a busy computer may add to a live time."""
TURNS_TO_UNWIND = 50
SECOND = Port("second", 7001, public=False)
"""A door beside the main one, which `public: true` does not open."""
CLIENT, SERVER = frozenset({"client-1"}), frozenset({"server-1"})


def run_in_virtual_time(test, clock=None, instruments=()):
    """What pytest-trio calls instead of trio.run for a test in the simulated world."""
    with seeded_scheduler("conformance"):
        return trio.run(test, clock=clock or SimClock(), instruments=instruments)


def pytest_collection_modifyitems(items):
    for item in items:
        callspec = getattr(item, "callspec", None)
        params = callspec.params if callspec is not None else {}
        if "sim" in (params.get("make_world"), params.get("where")):
            item.add_marker(pytest.mark.trio(run=run_in_virtual_time), append=False)


AT_ONE_ADDRESS = "live at one address"


@pytest.fixture(
    params=[
        "live",
        "live without aliases",
        "sim",
        pytest.param(AT_ONE_ADDRESS, marks=pytest.mark.soak),
    ]
)
def make_world(request, tmp_path) -> Callable:
    """`async with make_world() as world`: a fresh world of each kind. No dead node may be left
    running in it."""

    @asynccontextmanager
    async def make(*, knobs: Knobs | None = None, **options) -> AsyncIterator[LiveWorld | SimWorld]:
        if request.param == "sim":
            made: Any = SimWorld(7, knobs=knobs or Knobs(), checkpoint_every=1)
        elif request.param == AT_ONE_ADDRESS:
            made = SharedWorld(7, tmp_path, outer="127.250.8.1", checkpoint_every=1, **options)
        else:
            aliases = request.param == "live"
            made = LiveWorld(7, tmp_path, aliases=aliases, checkpoint_every=1, **options)
        async with made as world:
            yield world
            await turns(TURNS_TO_UNWIND)
            assert undead() == []

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


def shape_all(world, **fields) -> None:
    """Give every link the same shape, each its own trunk."""
    shape = links.Shape(**fields)
    world.links.shape(lambda source, target: (shape, f"{source}>{target}"))


class Stopwatch:
    """Measures on the world's true time."""

    def __init__(self, world) -> None:
        self._world = world
        self._begun_s = world.timers.now_s()

    @property
    def took_s(self) -> float:
        return self._world.timers.now_s() - self._begun_s

    def took(self, expected_s: float, *, late_s: float = LATE_S) -> None:
        """Assert it: exact in the simulation, at least that long (and not much longer) live."""
        took_s = self.took_s
        if self._world.name == "sim":
            assert took_s == pytest.approx(expected_s, abs=1e-9)
        else:
            assert expected_s - 1e-6 <= took_s <= expected_s + late_s


async def is_silent(wait: Callable[[], Awaitable[Any]], seconds: float = 0.05) -> bool:
    """Whether that waits for longer than `seconds`."""
    with trio.move_on_after(seconds) as scope:
        await wait()
    return scope.cancelled_caught


async def ends(stream) -> str:
    """How a connection ended: "closed" (after the bytes that were left) or "reset"."""
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        return "reset"
    return "closed"


async def start(nursery: trio.Nursery, life: Life, program: Callable[[], Awaitable[Any]]) -> None:
    """Run `program` as a node: in its own life, which a kill cancels."""

    async def run() -> None:
        current_life.set(life)
        try:
            with life.scope:
                await program()
        except Fenced:
            assert life.dead

    nursery.start_soon(run)
    await turns(2)


async def turns(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


def life_of(world, name: str):
    return world.machine(spec(name)).life
