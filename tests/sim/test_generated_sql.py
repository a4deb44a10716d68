"""Generated SQL on a real group: whoever is killed, promoted or restarted, replicas are equal."""

from __future__ import annotations

import random
from typing import Any

import pytest

import emu
from emu.running.targets import TargetError
from protocols.errors import RpcError
from tests.nodes.sql.soak.generator import Generator
from tests.sim.test_database_disks import group

BATCHES = 120


async def live(c: emu.Scenario, rng: random.Random) -> dict[str, Any]:
    generator = Generator(rng)
    done = 0
    await c.sleep(2)
    for number in range(BATCHES):
        batch = generator.batch() if number else generator.first()
        try:
            await c.call("db primary", "write", [[sql] for sql in batch], {})
            done += 1
        except (RpcError, TargetError):
            pass  # refused, or just then nobody led
        if number % 20 == 19:
            await break_one(c, rng)
    await c.sleep(8)
    before = await c.call_admin("db", "state_digest")
    await c.kill("db", for_s=1)
    await c.sleep(8)
    after = await c.call_admin("db", "state_digest")
    return {"done": done, "states": {repr(each) for each in [*before.values(), *after.values()]}}


async def break_one(c: emu.Scenario, rng: random.Random) -> None:
    names = await c.resolve("db")
    if rng.random() < 0.5:
        await c.crash(rng.choice(names), for_s=1)
    else:
        await c.kill(rng.choice(names), for_s=0.5)
    await c.sleep(4)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_replicas_are_equal_after_generated_sql_failovers_and_restarts(nodes, seed):
    rng = random.Random(f"generated/{nodes}/{seed}")
    plan = group(nodes=nodes, more=", snapshot_every: 50kB")
    found = emu.run(lambda c: live(c, rng), plan, seed=seed)
    assert found["done"] > BATCHES // 6
    assert len(found["states"]) == 1
