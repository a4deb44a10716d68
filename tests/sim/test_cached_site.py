"""The site through a cache, in virtual time: what a post makes old, sessions, dead nodes."""

from __future__ import annotations

from typing import Any

from emu.scenario import Scenario, run
from emu.topology.loading import load, loads
from protocols.errors import RpcError

SITE = """
tiers:
  web: {kind: web, nodes: 2, public: true, uses: [cache, gutter, db], sessions: shared}
  cache: {kind: cache, nodes: 2, fills_from: db, max_stale: 2s}
  gutter: {kind: cache_gutter, fills_from: db, max_stale: 2s}
  db: {kind: database, nodes: 3}
"""


def sim(script: Any, text: str = SITE) -> Any:
    return run(script, loads(text))


async def ready(c: Scenario, *names: str) -> None:
    for name in names or ("web-1", "web-2"):
        for _ in range(200):
            try:
                await c.call(name, "site.home")
                break
            except RpcError:
                await c.sleep(0.1)


async def loads_of(c: Scenario) -> float:
    return sum(c.metrics(f"web-{number}", "cache_loads_total") for number in (1, 2))


def test_a_page_is_read_once_and_a_post_shows_at_once_at_every_server() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for _ in range(5):
            await c.call("web-1", "site.profile", "ada")
            await c.call("web-2", "site.timeline", "alan")
        before = await loads_of(c)
        await c.call("web-1", "site.profile", "ada")
        await c.call("web-1", "site.timeline", "alan")
        assert await loads_of(c) == before
        sql = "SELECT follower FROM follows WHERE followed = 'ada'"
        follower = (await c.call("db-1", "query", sql))["rows"][0][0]
        await c.call("web-2", "site.timeline", follower)
        posted = await c.call("web-1", "site.post", "ada", "A first post through a cache.")
        for name in ("web-1", "web-2"):
            for page in (
                await c.call(name, "site.home"),
                await c.call(name, "site.profile", "ada"),
                await c.call(name, "site.timeline", follower),
            ):
                assert posted["id"] in [each["id"] for each in page["posts"]]

    sim(script)


def test_sessions_outlive_the_web_server_and_the_cache_node_that_had_them() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        session = (await c.call("web-1", "site.login", "ada"))["session"]
        assert await c.call("web-2", "site.session", session) == {"user": "ada"}
        await c.kill("web-1")
        await c.kill("cache")
        assert await c.call("web-2", "site.session", session) == {"user": "ada"}

    sim(script)


def test_a_node_that_is_away_is_probed_before_it_is_asked_again() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await c.pause("cache-1")
        for name in [f"nobody{number}" for number in range(20)]:
            try:
                await c.call("web-1", "site.profile", name)
            except RpcError as error:
                assert error.code == "not_found", "the gutter stands in for it"
        assert c.metrics("web-1", "cache_gutter_reads_total") > 0
        away = [each for each in c.events() if each["event"] == "cache node away"]
        assert {each["server"] for each in away} == {"cache-1"}
        await c.sleep(3)
        await c.unpause("cache-1")
        unpaused_s = c.now_s
        await c.sleep(2)
        back = [each for each in c.events() if each["event"] == "cache node back"]
        assert [each["server"] for each in back] == ["cache-1"] * len(away)
        assert unpaused_s < c.now_s

    sim(script)


def test_1_local_sessions_lose_a_quarter_when_one_of_four_dies_and_shared_ones_none() -> None:
    async def script(c: Scenario) -> dict[str, int]:
        lost = {}
        for tier in ("alone", "shared"):
            names = [f"{tier}-{number}" for number in (1, 2, 3, 4)]
            await ready(c, *names)
            sessions = [
                (name, (await c.call(name, "site.login", "ada"))["session"])
                for name in names
                for _ in range(5)
            ]
            await c.kill(names[0])
            lost[tier] = 0
            for name, session in sessions:
                asked = name if tier == "alone" and name != names[0] else names[1]
                told = await c.call(asked, "site.session", session)
                lost[tier] += told["user"] is None
        return lost

    topology = load("topologies/experiments/01-sessions.yaml")
    assert run(script, topology) == {"alone": 5, "shared": 0}, "of twenty each"
