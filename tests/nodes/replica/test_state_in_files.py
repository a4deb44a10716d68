"""A state that lies in files of its own: snapshots name them, peers get them, none is left over."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import emu
from emu.sim.world import SimWorld
from nodes.replica.snapshot_files import SnapshotFiles
from protocols.errors import RpcError
from tests.conformance.conftest import run_in_virtual_time, spec
from tests.nodes.replica.shelf.shelf import Lines

pytestmark = pytest.mark.slow
SHELF = Path(__file__).parent / "shelf" / "shelf.yaml"


async def add(c: emu.Scenario, line: str) -> bool:
    """Whether it was acknowledged."""
    try:
        await c.call("shelf primary", "add", line)
    except (RpcError, ValueError):
        await c.sleep(0.05)
        return False
    return True


async def all_alike(c: emu.Scenario) -> dict[str, Any]:
    """What all members' states are in the end."""
    for _ in range(100):
        try:
            found = [await c.call(f"shelf-{n}", "lines") for n in (1, 2, 3)]
        except RpcError:
            found = []
        if found and found[0] == found[1] == found[2]:
            return found[0]
        await c.sleep(0.1)
    raise AssertionError(f"the members do not agree: {found}")


def files_of(c: emu.Scenario, name: str) -> list[str]:
    return c.cluster.instances[name].handle.disk.files.names()


def test_a_member_that_was_away_for_long_gets_the_files_and_goes_on_in_new_ones() -> None:
    async def script(c: emu.Scenario) -> dict[str, Any]:
        while not await add(c, "first"):
            pass
        away = (await c.resolve("shelf replica"))[0]
        await c.kill(away)
        for number in range(150):
            await add(c, f"{number} " * 20)
            await c.sleep(0.03)
        await c.start(away)
        await c.until("snapshot installed", node=away, timeout_s=5)
        for number in range(20):
            await add(c, f"and {number}")
        before = await all_alike(c)
        peers = [name for name in files_of(c, away) if name.startswith("lines-peer-")]
        await c.crash(away)
        await c.start(away)
        return {"lines": (await all_alike(c))["lines"] - before["lines"], "peers": len(peers) > 3}

    assert emu.run(script, SHELF, seed=1) == {"lines": 0, "peers": True}


def test_what_was_cleared_leaves_the_disk_and_what_is_kept_stays() -> None:
    async def script(c: emu.Scenario) -> dict[str, Any]:
        while not await add(c, "first"):
            pass
        for number in range(150):
            await add(c, f"{number} " * 20)
            await c.sleep(0.03)
        (primary,) = await c.resolve("shelf primary")
        full = len([name for name in files_of(c, primary) if name.startswith("lines-")])
        await add(c, "")
        for number in range(40):
            await add(c, f"{number} " * 60)
            await c.sleep(0.1)
        await c.sleep(3)
        left = [name for name in files_of(c, primary) if name.startswith("lines-")]
        return {"full": full > 7, "left": 0 < len(left) < 11}

    assert emu.run(script, SHELF, seed=2) == {"full": True, "left": True}


def test_the_files_of_a_dump_stay_until_it_is_saved_though_the_state_has_others_by_then() -> None:
    async def script() -> tuple[bool, bool]:
        async with SimWorld(1) as world:
            _, ctx = world.machine(spec("server-1")).boot(1)
            lines = Lines(ctx.disk)
            snapshots = SnapshotFiles(ctx, lines)
            lines.apply(b"a line", 1)
            snapshots.dumped = dumped = lines.dumped_files()
            lines.apply(b"", 2)  # as a log that is cut takes the state back
            await snapshots.sweep()
            before = dumped[0].name in ctx.disk.names()
            snapshots.dumped = ()
            await snapshots.sweep()
            return before, dumped[0].name in ctx.disk.names()

    assert run_in_virtual_time(script) == (True, False)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_dies_meanwhile_all_members_end_with_the_same_files(seed: int) -> None:
    async def script(c: emu.Scenario) -> None:
        rng, acknowledged = random.Random(seed), 0
        for number in range(250):
            acknowledged += await add(c, f"{number} " * rng.choice((1, 20, 100)))
            if rng.random() < 0.04:
                victim = f"shelf-{rng.randint(1, 3)}"
                await (c.crash if rng.random() < 0.7 else c.kill)(victim)
                await c.sleep(rng.choice((0.0, 0.1, 2.0)))
                await c.start(victim)
        found = await all_alike(c)
        assert found["lines"] >= acknowledged > 100
        assert c.events("node failed") == []

    emu.run(script, SHELF, seed=seed)
