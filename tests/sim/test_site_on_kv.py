"""The site with its people and posts in a kv tier: `uses: kv` where it was `uses: db`."""

from __future__ import annotations

from typing import Any

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.site import kv_records, pages
from nodes.site.pages import View
from nodes.site.store import NAMES, SEED_POSTS, followed_by
from protocols.errors import RpcError
from tests.sim.resharding import reshard

ON_KV = """
links: {defaults: {within: 0.3ms}}
tiers:
  web: {kind: web, nodes: 2, public: true, uses: kv, sessions: shared}
  kv: {kind: kv, public: true, shards: 3, replicas: 0, coordinators: 1}
"""
ON_SQL = """
tiers:
  web: {kind: web, nodes: 2, public: true, uses: db}
  db: {kind: database}
"""
USERS = """
users:
  local: {clients: 6, think_time: 150ms, visits: web, mix: {search: 0, post: 40}, login: true}
"""
VIEW = View("web-1", "us-east", 1, ("you", "web-1", "kv"), 1.7e9, user="ada")
LONG_ID = "a post's id may be sixty-four characters long, which is too long"


def sim(script: Any, text: str = ON_KV) -> Any:
    return run(script, loads(text), seed=11)


async def ready(c: Scenario) -> None:
    for _ in range(100):
        try:
            for node in ("web-1", "web-2"):
                await c.call(node, "site.home")
            return
        except RpcError:
            await c.sleep(0.1)
    raise AssertionError("the site does not come up")


def without_cost(data: dict[str, Any]) -> dict[str, Any]:
    said = ("partial", "unanswered", "cost", "node")
    return {key: value for key, value in data.items() if key not in said}


async def visit(c: Scenario) -> dict[str, Any]:
    """Post a little, and look at everything."""
    await ready(c)
    for number in range(24):
        author = NAMES[number % 3]
        made = await c.call(
            f"web-{number % 2 + 1}", "site.post", author, f"no. {number}", f"n{number}"
        )
        assert made["id"] == f"n{number}"
        await c.sleep(0.5)
    seen: dict[str, Any] = {"home": await c.call("web-2", "site.home")}
    for name in ("ada", "vint"):
        seen[f"profile {name}"] = await c.call("web-1", "site.profile", name)
        seen[f"timeline {name}"] = await c.call("web-2", "site.timeline", name)
        seen[f"short {name}"] = await c.call("web-2", "site.timeline", name, 3)
    seen["post"] = await c.call("web-2", "site.get_post", "n7")
    ids = ["n1", "n23", "seed-1", "absent"]
    seen["counts"] = await c.call("web-1", "site.count_posts", ids)
    for method, params in (("profile", ["nobody"]), ("get_post", ["absent"]), ("login", ["x"])):
        with pytest.raises(RpcError) as caught:
            await c.call("web-1", f"site.{method}", *params)
        assert caught.value.code == "not_found"
    with pytest.raises(RpcError) as caught:
        await c.call("web-1", "site.post", "nobody", "text", "n99")
    assert caught.value.code == "not_found"
    return seen


def test_every_page_is_the_same_on_kv_as_on_sql() -> None:
    on_kv, on_sql = sim(visit), sim(visit, ON_SQL)
    for name, data in on_sql.items():
        assert timeless(on_kv[name]) == timeless(data), name
    assert len(on_kv["timeline ada"]["posts"]) > 10


def timeless(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: timeless(value) for key, value in without_cost(data).items()
                if not key.endswith("_s")}  # fmt: skip
    return [timeless(each) for each in data] if isinstance(data, list) else data


def test_a_timeline_says_what_its_join_cost_and_search_that_it_needs_sql() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        timeline = await c.call("web-1", "site.timeline", "ada")
        followed = followed_by(NAMES.index("ada"))
        authors = {author for author, _ in SEED_POSTS if author in followed}
        assert {post["author"] for post in timeline["posts"]} == authors
        cost = timeline["cost"]
        assert cost["shards"] <= 3 and cost["requests"] <= 10
        assert cost["keys"] >= 1 + len(followed) + len(timeline["posts"])
        page = pages.timeline(VIEW, timeline).decode()
        assert f"shards asked <b>{cost['shards']}</b>" in page and "missing" not in page
        home = pages.home(VIEW, await c.call("web-1", "site.home")).decode()
        assert "emu kill &#x27;kv-shard-1 primary&#x27;" in home
        with pytest.raises(RpcError, match="search needs a SQL database") as caught:
            await c.call("web-1", "site.search", "log")
        assert caught.value.code == "refused"

    sim(script)


def test_a_paused_shard_leaves_gaps_in_a_timeline_but_no_waiting() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        whole = {name: await c.call("web-1", "site.timeline", name) for name in NAMES}
        partial = 0
        async with await c.pause("kv-shard-2"):
            for name in NAMES:
                began_s = c.now_s
                try:
                    timeline = await c.call("web-1", "site.timeline", name)
                except RpcError as error:  # whom it follows is on that shard
                    assert error.code == "unavailable" and "kv-shard-2" in error.message
                else:
                    known = [post["id"] for post in whole[name]["posts"]]
                    assert [post["id"] for post in timeline["posts"]] == [
                        post for post in known
                        if post in [each["id"] for each in timeline["posts"]]
                    ]  # fmt: skip
                    if timeline["partial"]:
                        partial += 1
                        assert timeline["unanswered"] == ["kv-shard-2"]
                        page = pages.timeline(VIEW, timeline).decode()
                        assert "<b>kv-shard-2</b> did not answer in time" in page
                    else:
                        assert timeline["posts"] == whole[name]["posts"]
                assert c.now_s - began_s < 0.7
        assert partial >= 3
        for name in NAMES:
            assert (await c.call("web-1", "site.timeline", name))["posts"] == whole[name]["posts"]

    sim(script)


def test_the_same_post_again_is_the_same_post_at_any_web_server() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for post in ("p1", LONG_ID, f"{LONG_ID[:-1]}?"):
            for node in ("web-1", "web-2", "web-1"):
                await c.call(node, "site.post", "ada", "once", post)
                await c.sleep(0.1)
        assert len(LONG_ID) == 64
        counts = await c.call("web-2", "site.count_posts", ["p1", LONG_ID, f"{LONG_ID[:-1]}?"])
        assert list(counts["counts"].values()) == [1, 1, 1]
        profile = await c.call("web-1", "site.profile", "ada")
        assert len(profile["posts"]) == 3 + sum(author == "ada" for author, _ in SEED_POSTS)

    sim(script)


def test_a_retry_that_no_shard_recognised_would_be_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the users' final reads rest on: nothing but the request id keeps a second copy out."""
    fresh = iter(range(100))
    monkeypatch.setattr(kv_records, "request_id", lambda what, post: f"{what}-{next(fresh)}")

    async def script(c: Scenario) -> None:
        await ready(c)
        for node in ("web-1", "web-2"):
            await c.call(node, "site.post", "ada", "twice", "p1")
        assert (await c.call("web-1", "site.count_posts", ["p1"]))["counts"] == {"p1": 2}

    sim(script)


def test_shared_sessions_outlive_the_web_server_that_began_them() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        session = (await c.call("web-1", "site.login", "ada"))["session"]
        await c.kill("web-1")
        assert await c.call("web-2", "site.session", session) == {"user": "ada"}
        assert await c.call("web-2", "site.session", "unknown") == {"user": None}

    sim(script)


def test_no_acknowledged_post_is_lost_or_doubled_while_a_primary_dies_and_slots_move() -> None:
    text = ON_KV.replace("replicas: 0, coordinators: 1", "replicas: 1") + USERS

    async def script(c: Scenario) -> None:
        await c.sleep(2)
        await c.kill("kv-shard-1 primary", for_s=3)
        await c.sleep(1.5)
        seen = await reshard(c.cluster, "kv", 4)
        assert seen["outcome"] == "done"
        await c.sleep(1)
        summary = await c.finish()
        assert summary["lost_acknowledged_writes"] == 0
        assert summary["duplicated_writes"] == 0
        assert summary["anomalies"] == []
        assert summary["requests"] > 100 and summary["availability"] > 0.9

    run(script, loads(text), seed=1)
