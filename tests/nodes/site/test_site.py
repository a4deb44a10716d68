"""The site's functions over a SQL store: what is stored, joined, found, refused, and retried."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nodes.site import pages, store
from nodes.site.pages import View
from nodes.site.service import Site
from nodes.site.sessions import LocalSessions, SharedSessions
from protocols.errors import RpcError
from tests.nodes.harness import MemoryWorld
from tests.nodes.sql.store import SqlStore

VIEW = View("web-1", "us-east", 1, ("you", "lb-1", "web-1", "db"), 1.7e9)


@pytest.fixture
async def world() -> AsyncIterator[MemoryWorld]:
    async with trio.open_nursery() as nursery:
        yield MemoryWorld(nursery)
        nursery.cancel_scope.cancel()


async def make_site(world: MemoryWorld, sql: SqlStore, name: str = "web-1") -> Site:
    site = Site(world.context(name), sql)
    site.sessions = LocalSessions(site.ctx.rng("sessions"))
    world.nursery.start_soon(site.prepare_forever)
    await trio.testing.wait_all_tasks_blocked()
    return site


async def refused(call: Any) -> str:
    with pytest.raises(RpcError) as caught:
        await call
    return caught.value.code


async def test_the_first_node_seeds_and_the_second_finds_it_done(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    first, second = await make_site(world, sql), await make_site(world, sql, "web-2")
    assert first.ready and second.ready
    home = await second.home()
    assert len(home["people"]) == len(store.PEOPLE) == 12
    assert sql.connection.execute("SELECT count(*) FROM posts").fetchone() == (12,)


async def test_two_nodes_that_seed_at_once_seed_once(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    sites = [Site(world.context(f"web-{index}"), sql) for index in range(4)]
    for site in sites:
        world.nursery.start_soon(site.prepare_forever)
    await trio.testing.wait_all_tasks_blocked()
    assert all(site.ready for site in sites)
    assert sql.connection.execute("SELECT count(*) FROM posts").fetchone() == (12,)


async def test_the_site_waits_for_its_database_and_then_serves(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    sql.fail_with = RpcError("unavailable", "no primary yet")
    site = await make_site(world, sql)
    assert await refused(site.home()) == "unavailable"
    assert await refused(site.post("ada", "hello", "p1")) == "unavailable"
    sql.fail_with = None
    await trio.sleep(5)
    assert (await site.post("ada", "hello", "p1"))["id"] == "p1"


async def test_tables_that_a_failover_lost_are_made_again(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    site = await make_site(world, sql)
    sql.drop_everything()
    assert await refused(site.home()) == "unavailable"
    await trio.sleep(5)
    assert len((await site.home())["posts"]) == 8


async def test_a_timeline_joins_those_one_follows_newest_first(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    site = await make_site(world, sql)
    followed = sql.connection.execute("SELECT followed FROM follows WHERE follower='ada'")
    names = {name for (name,) in followed}
    assert len(names) == 4 and "ada" not in names
    for number in range(30):
        await trio.sleep(1)
        await site.post(sorted(names)[number % 2], f"post {number}", f"n{number}")
        await site.post("ada", "not for ada herself", f"own{number}")
    timeline = (await site.timeline("ada"))["posts"]
    assert [post["id"] for post in timeline] == [f"n{number}" for number in range(29, 9, -1)]
    deep = (await site.timeline("ada", 100))["posts"]
    assert len(deep) == 30 + sum(author in names for author, _ in store.SEED_POSTS)
    assert {post["author"] for post in deep} <= names


async def test_the_same_post_again_is_not_doubled(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    site = await make_site(world, sql)
    sql.lose_answers = 1
    assert await refused(site.post("ada", "once", "p1")) == "timeout"
    await site.post("ada", "once", "p1")
    assert (await site.count_posts(["p1", "p2"]))["counts"] == {"p1": 1, "p2": 0}


async def test_a_database_that_forgets_request_ids_is_found_out(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    site = await make_site(world, sql)
    sql.deduplicates = False
    await site.post("ada", "twice", "p1")
    await site.post("ada", "twice", "p1")
    assert (await site.count_posts(["p1"]))["counts"] == {"p1": 2}


async def test_search_takes_wildcards_literally(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    site = await make_site(world, SqlStore())
    await site.post("ada", "100% of_it", "p1")
    await site.post("ada", "1000 often", "p2")
    assert [post["id"] for post in (await site.search("0% of_"))["posts"]] == ["p1"]
    assert [person["name"] for person in (await site.search("lovelace"))["people"]] == ["ada"]


async def test_profile_counts_followers_and_unknown_names_are_not_found(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    site = await make_site(world, SqlStore())
    profile = await site.profile("ada")
    assert (profile["followers"], profile["following"]) == (4, 4)
    assert await refused(site.profile("nobody")) == "not_found"
    assert await refused(site.get_post("nothing")) == "not_found"
    assert await refused(site.login("nobody")) == "not_found"


@pytest.mark.parametrize(
    ("author", "text", "post"),
    [
        ("ada", "", "p"),
        ("ada", "x" * 501, "p"),
        ("ada", "x", "i" * 65),
        ("", "x", "p"),
        (7, "x", "p"),
    ],
)
async def test_posts_out_of_bounds_are_refused(
    autojump_clock: MockClock, world: MemoryWorld, author: Any, text: Any, post: Any
) -> None:
    site = await make_site(world, SqlStore())
    assert await refused(site.post(author, text, post)) == "bad_request"


async def test_a_post_by_nobody_is_not_found_by_the_guard_and_names_whom_it_sought(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    site = await make_site(world, SqlStore())
    with pytest.raises(RpcError, match="nobody is called bob") as caught:
        await site.post("bob", "hello", "p1")
    assert caught.value.code == "not_found"
    assert (await site.count_posts(["p1"]))["counts"] == {"p1": 0}


async def test_a_read_with_a_token_asks_for_that_write(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    site = await make_site(world, sql)
    token = (await site.post("ada", "mine", "p1"))["token"]
    await site.get_post("p1", token)
    assert sql.queries[-1][1] == token == sql.lsn


async def test_local_sessions_die_with_the_node_and_shared_ones_do_not(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    one, two = await make_site(world, sql), await make_site(world, sql, "web-2")
    local = (await one.login("ada"))["session"]
    assert (await one.session_user(local), await two.session_user(local)) == ("ada", None)
    for site in (one, two):
        site.sessions = SharedSessions(sql, site.ctx.clock, site.ctx.rng("shared"))
    shared = (await one.login("ada"))["session"]
    assert await two.session_user(shared) == "ada"
    await two.logout(shared)
    assert await one.session_user(shared) is None


async def test_local_sessions_are_bounded(autojump_clock: MockClock, world: MemoryWorld) -> None:
    sessions = LocalSessions(world.context("web-1").rng("s"), most=2)
    ids = [await sessions.begin(f"user{number}") for number in range(3)]
    assert [await sessions.user(each) for each in ids] == [None, "user1", "user2"]


async def test_the_breaker_answers_at_once_while_the_database_is_away(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    sql = SqlStore()
    site = await make_site(world, sql)
    breaking = site.store = store.BreakingStore(sql, site.ctx.clock)
    sql.fail_with = RpcError("timeout", "partitioned")
    for _ in range(8):
        assert await refused(site.home()) == "timeout"
    asked = len(sql.queries)
    assert await refused(site.home()) == "unavailable"
    assert len(sql.queries) == asked
    sql.fail_with = None
    await trio.sleep(0.3)
    await site.home()
    assert breaking.breaker.state.value == "closed"


def test_every_page_escapes_what_people_wrote() -> None:
    evil = '<script>alert("x")</script>&\'"'
    post = {"id": evil, "author": evil, "full_name": evil, "text": evil, "posted_s": 0.0}
    person = {"name": evil, "full_name": evil, "about": evil}
    view = View(evil, evil, 1, (evil, evil), 1e9, user=evil, host=evil)
    profile = {**person, "followers": 1, "following": 2, "posts": [post]}
    for html in (
        pages.home(view, {"posts": [post], "people": [person]}),
        pages.profile(view, profile),
        pages.timeline(view, {"user": evil, "posts": [post]}),
        pages.search(view, {"q": evil, "posts": [post], "people": [person]}),
        pages.one_post(view, post),
        pages.login(view, (evil,)),
        pages.problem(view, 500, evil, evil),
    ):
        text = html.decode()
        assert "<script" not in text
        assert evil not in text
        assert '"x"' not in text


def test_ages_are_told_in_words() -> None:
    ages = [-5, 3, 40, 60, 3 * 3600, 86400 * 2]
    assert [pages.ago(age) for age in ages] == [
        "just now", "just now", "40 seconds ago", "1 minute ago", "3 hours ago", "2 days ago",
    ]  # fmt: skip


def test_the_home_page_says_which_way_the_request_came() -> None:
    text = pages.home(VIEW, {"posts": [], "people": []}).decode()
    at = [text.index(f">{name}<small>") for name in VIEW.path]
    assert at == sorted(at)
    assert "three machines" in text
