"""What users added in a long run is looked for while it goes on, and mostly forgotten."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from emu.checks import check
from emu.checks.history import Recorder
from nodes.users import written
from nodes.users.written import Written
from tests.nodes.harness import MemoryWorld


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(written, "WINDOW", 10)
    monkeypatch.setattr(written, "SAMPLE", 5)


class Site:
    """Has what was added, but for `lacks`."""

    def __init__(self) -> None:
        self.lacks: dict[str, int] = {}
        self.asked = 0

    async def ask(self, arguments: dict[str, Any], attempt: int) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        self.asked += len(arguments["ids"])
        return {"counts": {each: self.lacks.get(each, 1) for each in arguments["ids"]}}


async def add(posts: Written, count: int, start: int = 0) -> bool:
    full = False
    for number in range(start, start + count):
        full = posts.end(posts.begin("u", f"p{number}"), "ok", "", {}) or full
    return full


async def in_a_world(script) -> None:
    async with trio.open_nursery() as nursery:
        context = MemoryWorld(nursery).context("users-1")
        context.history = Recorder(context.clock.monotonic_s)
        await script(Written(context), Site(), context.history)
        nursery.cancel_scope.cancel()


async def test_what_was_found_is_left_but_for_a_sample(autojump_clock):
    async def script(posts: Written, site: Site, history: Recorder) -> None:
        for start in range(0, 100, 10):
            assert await add(posts, 10, start)
            await posts.look_back("looker", site.ask)
        assert len(history.left) == 10
        site.asked = 0
        await posts.read_back("looker", site.ask)
        assert site.asked == 5
        found = posts.verdict()
        assert (found["acknowledged"], found["found"], found["lost"]) == (100, 100, 0)
        assert found["final_read"] == "complete"

    await in_a_world(script)


async def test_what_is_missing_for_a_while_is_not_lost(autojump_clock):
    async def script(posts: Written, site: Site, history: Recorder) -> None:
        await add(posts, 10)
        site.lacks["p3"] = 0
        await posts.look_back("looker", site.ask)
        assert not history.left
        site.lacks.clear()
        await posts.look_back("looker", site.ask)
        assert len(history.left) == 1
        await posts.read_back("looker", site.ask)
        assert posts.verdict()["lost"] == 0
        assert not check(history.operations, "set").anomalies

    await in_a_world(script)


async def test_what_never_comes_back_is_lost(autojump_clock):
    async def script(posts: Written, site: Site, history: Recorder) -> None:
        await add(posts, 10)
        site.lacks["p3"] = 0
        for _ in range(written.LOOKS):
            await posts.look_back("looker", site.ask)
        assert len(history.left) == 1
        await posts.read_back("looker", site.ask)
        assert posts.verdict()["lost_ids"] == ["p3"]
        (anomaly,) = check(history.operations, "set").anomalies
        assert '"p3" was lost' in anomaly.text

    await in_a_world(script)


async def test_what_is_lost_after_it_was_found_shows_in_the_sample(autojump_clock):
    async def script(posts: Written, site: Site, history: Recorder) -> None:
        for start in range(0, 30, 10):
            await add(posts, 10, start)
            await posts.look_back("looker", site.ask)
        site.lacks = {f"p{number}": 0 for number in range(30)}
        await posts.read_back("looker", site.ask)
        assert posts.verdict()["lost"] == 5

    await in_a_world(script)


async def test_what_a_straggler_adds_while_all_is_read_is_looked_for_too(autojump_clock):
    async def script(posts: Written, site: Site, history: Recorder) -> None:
        await add(posts, 3)
        straggler = posts.begin("u", "late")

        async def ask(arguments: dict[str, Any], attempt: int) -> dict[str, Any]:
            if "late" not in arguments["ids"]:
                posts.end(straggler, "unknown", "timeout", {})
            return await site.ask(arguments, attempt)

        await posts.read_back("looker", ask)
        assert posts.verdict()["final_read"] == "complete"
        assert not check(history.operations, "set").anomalies

    await in_a_world(script)
