"""The site's jobs in virtual time: photos, notices and the index, whatever dies on the way."""

from __future__ import annotations

from typing import Any

import pytest

from emu.scenario import Scenario
from nodes.parts import png
from protocols.errors import RpcError
from protocols.stepping import at_once
from tests.sim.queues import FRONT, sim, values

TEXT = """
links: {defaults: {within: 10ms}}
tiers:
  web: {kind: web, public: true, uses: [db, queue]}
  db: {kind: database, public: true}
  queue:
    kind: queue
    public: true
    topics:
      photos:
        {partitions: 2, ack_wait: 4s, max_deliver: 3, dead_letters: photos.dead, groups: [workers]}
  hands: {kind: worker, nodes: 2, takes: queue, uses: db}
"""
PHOTO = png.encode(png.drawn("a", 160, 120))


async def ready(c: Scenario) -> None:
    for _ in range(200):
        try:
            await c.call("web-1", "site.photos")
            return
        except RpcError:
            await c.sleep(0.1)
    raise AssertionError("the site does not come up")


async def done(c: Scenario, photo: str) -> dict[str, Any]:
    """The photo, once its job is done."""
    for _ in range(300):
        told = await c.call("web-1", "site.photo", photo)
        if told["state"] == "done":
            return dict(told)
        await c.sleep(0.1)
    raise AssertionError(f"{photo} is only {told['state']}")


async def works(c: Scenario, name: str) -> int:
    answer = await c.call("db-1", "query", "SELECT count(*) FROM works WHERE job = ?", [name], {})
    return int(answer["rows"][0][0])


def test_an_uploaded_photo_is_made_smaller_by_a_worker_and_served() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        made = await c.call("web-1", "site.upload", "ada", PHOTO, "p1")
        assert made["queued"].startswith("photos/")
        assert (await c.call("web-1", "site.photo", "p1"))["state"] == "queued"
        told = await done(c, "p1")
        assert told["attempts"][0]["worker"] == told["done"][0]["worker"] in ("hands-1", "hands-2")
        small = await c.call("web-1", "site.photo_content", "p1", "small")
        picture = at_once(png.decode(small))
        assert (picture.width, picture.height) == (64, 48)
        assert await c.call("web-1", "site.photo_content", "p1", "original") == PHOTO
        newest = await c.call("web-1", "site.photos")
        assert [each["id"] for each in newest["photos"]] == ["p1"]
        assert (await c.call("web-1", "site.upload", "ada", PHOTO, "p1"))["id"] == "p1"
        await c.sleep(3)
        assert await works(c, "p1") == 1, "the same photo again is the same photo"
        (await c.finish()).expect("lost_jobs == 0", "duplicated_jobs == 0")

    sim(script, TEXT)


def test_followers_are_told_of_a_post_and_its_words_find_it() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        found = await c.call("web-1", "site.search", "partitioned ten")
        assert [each["author"] for each in found["posts"]] == ["hedy"]
        await c.call("web-1", "site.post", "ada", "An unheard-of pomegranate", "n1")
        await c.sleep(2)
        found = await c.call("web-1", "site.search", "POMEGRANATE an")
        assert [each["id"] for each in found["posts"]] == ["n1"]
        told = await c.call("web-1", "site.notices", "vint")
        assert [(each["author"], each["post"]) for each in told["notices"]] == [("ada", "n1")]
        assert (await c.call("web-1", "site.notices", "ada"))["notices"] == []
        (await c.finish()).expect("lost_jobs == 0", "duplicated_jobs == 0")

    sim(script, TEXT)


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_worker_that_dies_after_its_effect_repeats_it_unless_the_job_looks(
    idempotent: bool,
) -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await c.call("web-1", "site.upload", "ada", PHOTO, "p1")
        while not await works(c, "p1"):
            await c.sleep(0.001)
        told = await c.call("db-1", "query", "SELECT worker FROM works", [], {})
        await c.kill(told["rows"][0][0])  # its answer is still on the way
        await c.sleep(6)
        assert await works(c, "p1") == (1 if idempotent else 2)
        summary = await c.finish()
        assert summary["verdict"] == "passed", summary["why"]
        assert summary["counted"]["duplicated_jobs"] == (0 if idempotent else 1)
        assert summary["counted"]["lost_jobs"] == 0
        assert len((await c.call("web-1", "site.photo", "p1"))["attempts"]) == 2

    options = TEXT.replace("uses: db}", f"uses: db, idempotent: {str(idempotent).lower()}}}")
    sim(script, options)


def test_a_photo_that_is_none_ends_in_the_dead_letters() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await c.call("web-1", "site.upload", "ada", PHOTO[:-30], "poison")
        await c.call("web-1", "site.upload", "ada", PHOTO, "good")
        await done(c, "good")
        await c.sleep(4)
        polled = [await c.call(FRONT, "poll", "photos.dead", number, 0) for number in (0, 1)]
        assert [each for one in polled for each in values(one)] == [{"photo": "poison"}]
        told = await c.call("web-1", "site.photo", "poison")
        assert told["state"] == "given up" and len(told["attempts"]) == 3
        (await c.finish()).expect("lost_jobs == 0", "given_up_jobs == 1")

    sim(script, TEXT)


def test_jobs_wait_while_the_database_is_away_and_none_is_given_up() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for number in range(4):
            await c.call("web-1", "site.upload", "ada", PHOTO, f"p{number}")
        await c.kill("db-1", for_s=12)
        await c.sleep(14)
        for number in range(4):
            await done(c, f"p{number}")
        (await c.finish()).expect("lost_jobs == 0", "given_up_jobs == 0", "duplicated_jobs == 0")

    sim(script, TEXT)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"GIF89a", "bad_request"), ("text", "bad_request"), (PHOTO + bytes(200_000), "too_large")],
)
def test_what_is_no_photo_is_refused_at_the_door(data: Any, code: str) -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        with pytest.raises(RpcError) as caught:
            await c.call("web-1", "site.upload", "ada", data, "p1")
        assert caught.value.code == code
        with pytest.raises(RpcError, match="nobody is called"):
            await c.call("web-1", "site.upload", "nobody", PHOTO, "p2")
        assert await c.call("web-1", "site.count_photos", ["p1", "p2"]) == {
            "counts": {"p1": 0, "p2": 0}
        }

    sim(script, TEXT)


def test_a_full_topic_refuses_photos_for_certain() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await c.kill("hands")
        with pytest.raises(RpcError, match="full"):
            while True:
                await c.call(FRONT, "publish", "photos", [["ada", "x" * 800]])
        taken: list[str] = []
        with pytest.raises(RpcError) as caught:
            for number in range(200):
                await c.call("web-1", "site.upload", "ada", PHOTO, f"p{number}")
                taken.append(f"p{number}")
        assert caught.value.code == "full"
        refused = f"p{len(taken)}"
        told = await c.call("web-1", "site.count_photos", [*taken, refused])
        assert told["counts"] == {**dict.fromkeys(taken, 1), refused: 0}

    small = TEXT.replace("ack_wait: 4s,", "ack_wait: 4s, record: 1KiB, capacity: 64KiB,")
    sim(script, small)
