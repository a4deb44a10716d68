"""`durability: none`: a shard that comes back has lost its data, but not its place."""

from __future__ import annotations

from functools import partial

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from protocols.errors import RpcError
from tests.sim.resharding import reshard
from tests.sim.test_kv_moves import at

STORE = """
seed: 5
tiers:
  kv:
    {kind: kv, public: true, shards: 2, replicas: 0, durability: none, coordinators: 3,
     slots_per_move: 4096, stall: 1s}
"""
NAMES = [f"user:{number}" for number in range(60)]


async def served(c: Scenario) -> None:
    """Return once every key can be written and read; fail if that takes too long."""
    until_s = c.now_s + 30.0
    while True:
        try:
            for name in NAMES:
                assert await c.call("kv", "set", name, name) is True
            assert await c.call("kv", "mget", NAMES) == NAMES
            return
        except RpcError:
            assert c.now_s < until_s, "some slot is served by nobody"
            await c.sleep(0.1)


async def owned_once(c: Scenario) -> None:
    """Every slot is served by one shard."""
    slots = [slot for name in c.cluster.instances if name.startswith("kv-shard")
             for slot, _ in await c.cluster.call_admin(name, "owned_slots")]  # fmt: skip
    assert sorted(slots) == list(range(16384))


def test_a_shard_without_a_log_takes_its_slots_again_and_is_empty() -> None:
    async def script(c: Scenario) -> None:
        await served(c)
        await c.kill("kv-shard-1-1", for_s=0.3)
        await c.sleep(1.5)
        values = await c.call("kv", "mget", NAMES)
        assert None in values and any(values), "one shard of two has lost what it had"
        await served(c)
        await owned_once(c)

    run(script, loads(STORE))


@pytest.mark.parametrize("point", ["move.begun", "move.import-begun", "move.copied", "move.done"])
def test_a_source_without_a_log_that_dies_while_slots_move_serves_again(point: str) -> None:
    """The move may be given up, and what was not copied is lost; no slot is left without owner."""

    async def script(c: Scenario) -> None:
        await served(c)
        kill = partial(c.kill, "kv-shard-1-1", for_s=0.3)
        at(c, point, lambda: c.cluster.nursery.start_soon(kill))
        ended = await reshard(c.cluster, "kv", 3)
        assert ended["outcome"] in ("done", "incomplete")
        await served(c)
        await owned_once(c)

    run(script, loads(STORE))


@pytest.mark.parametrize("point", ["move.source-fenced", "move.target-drained",
                                   "move.map-published"])  # fmt: skip
def test_a_target_without_a_log_that_dies_before_it_owns_copies_again(point: str) -> None:
    """Nothing is lost by that: until the target owns the slots the source has what was in them,
    even where the map says already that they are the target's."""

    async def script(c: Scenario) -> None:
        await served(c)
        kill = partial(c.kill, "kv-shard-3-1", for_s=0.3)
        at(c, point, lambda: c.cluster.nursery.start_soon(kill))
        ended = await reshard(c.cluster, "kv", 3)
        assert ended["outcome"] == "done"
        assert c.now_s < 5.0
        assert await c.call("kv", "mget", NAMES) == NAMES
        await owned_once(c)

    run(script, loads(STORE))


def test_a_copy_that_both_ends_have_forgotten_is_told_and_its_slots_begin_empty() -> None:
    async def script(c: Scenario) -> None:
        await served(c)

        def kill_both() -> None:
            for name in ("kv-shard-1-1", "kv-shard-3-1"):
                c.cluster.nursery.start_soon(partial(c.kill, name, for_s=0.3))

        at(c, "move.map-published", kill_both)
        ended = await reshard(c.cluster, "kv", 3)
        assert ended["outcome"] == "done"
        (lost,) = c.events("import lost")
        assert (lost["node"], lost["source"]) == ("kv-shard-3-1", "kv-shard-1")
        assert 0 < lost["slots"] <= 4096
        await served(c)
        await owned_once(c)

    run(script, loads(STORE))


@pytest.mark.parametrize("victim", ["kv-shard-1-1", "kv-shard-3-1"])
def test_a_shard_without_a_log_takes_its_slots_again_between_the_moves_of_a_plan(
    victim: str,
) -> None:
    """One move follows the other at once, and while it is an end of one it may not: it is let in
    between, and what was under way with it is given up at once, not after `stall`."""

    async def script(c: Scenario) -> None:
        await served(c)
        kill = partial(c.kill, victim, for_s=0.1)
        at(c, "move.done", lambda: c.cluster.nursery.start_soon(kill))
        began_s = c.now_s
        ended = await reshard(c.cluster, "kv", 3)
        assert ended["outcome"] == "done"
        await served(c)
        assert c.now_s - began_s < 8.0
        await owned_once(c)

    text = STORE.replace("4096", "512").replace(", stall: 1s", "")
    run(script, loads(text))
