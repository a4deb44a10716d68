"""Who has nobody to lead it, and whose votes lack: what `ps`, `top`, the page and `reshard` say."""

from __future__ import annotations

from emu.running.leaders import leaderless
from emu.scenario import Scenario, run
from emu.topology.loading import loads

GROUPS = """
tiers:
  db: {kind: database, nodes: 3}
  kv: {kind: kv, shards: 2, replicas: 1, coordinators: 3}
  web: {kind: web, nodes: 2, uses: db}
"""


async def told(c: Scenario, of: str = "") -> dict[str, str]:
    await c.cluster.refresh_roles()
    return leaderless(c.cluster.topology, c.cluster.instances, of)


def test_a_group_is_led_but_for_the_moment_of_an_election() -> None:
    async def script(c: Scenario) -> None:
        await c.sleep(3)
        assert await told(c) == {}
        await c.kill("db primary")
        assert await told(c) == {"db": "db has no primary: 2 of 3 voters up, they elect one"}
        await c.sleep(3)
        assert await told(c) == {}

    run(script, loads(GROUPS))


def test_a_shard_names_the_votes_that_lack_those_of_coordinators_too() -> None:
    async def script(c: Scenario) -> None:
        await c.sleep(3)
        await c.kill("kv-coordinator-1")  # the witness of the first shard
        await c.sleep(3)
        await c.pause("kv-shard-1 primary")
        (paused,) = (each for each in c.cluster.instances.values() if each.handle.paused)
        await c.sleep(3)
        text = (await told(c))["kv-shard-1"]
        assert text.startswith("kv-shard-1 has no primary: 1 of 3 voters up, 2 are needed (")
        assert f"{paused.spec.name} paused" in text and "kv-coordinator-1 killed" in text
        assert list(await told(c, "kv")) == ["kv-shard-1"], "all that it expands to"
        assert await told(c, "db") == {}
        await c.heal()
        await c.start("kv-coordinator-1")
        await c.sleep(3)
        assert await told(c) == {}

    run(script, loads(GROUPS))


def test_where_nobody_is_left_its_members_are_what_was_known_last() -> None:
    async def script(c: Scenario) -> None:
        await c.sleep(3)
        await told(c)
        await c.kill("db")
        text = (await told(c))["db"]
        lacking = "db-1 killed, db-2 killed, db-3 killed"
        assert text == f"db has no primary: 0 of 3 voters up, 2 are needed ({lacking})"

    run(script, loads(GROUPS))
