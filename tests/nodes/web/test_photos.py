"""Photos over HTTP: uploaded, followed on their way, served; what a site without a queue says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from nodes.parts import png
from nodes.queue.client import Place
from nodes.site import photo_pages
from nodes.site.errands import TOPICS, Errands
from nodes.site.pages import View
from nodes.site.photos import ADD_ATTEMPT, ADD_SIZE, ADD_WORK, Photos, record_name
from protocols.errors import RpcError
from protocols.http.message import Response
from tests.nodes.harness import MemoryWorld
from tests.nodes.web.rig import Web

PHOTO = png.encode(png.drawn("a", 16, 12))
VIEW = View("web-1", "us-east", 1, ("you", "web-1", "db"), 1000.0, user="ada", photos=True)
TOLD = {
    "id": "p<1>",
    "owner": "ada",
    "posted_s": 990.0,
    "bytes": 1304,
    "state": "queued",
    "attempts": [],
    "done": [],
    "sizes": {},
}


class Queue:
    """A queue that notes what is published, or refuses it."""

    def __init__(self) -> None:
        self.topics: dict[str, Any] = {topic: {"groups": ["workers"]} for topic in TOPICS}
        self.given_up: list[int] = []
        """Offsets of partition 1."""
        self.published: list[tuple[str, Any]] = []
        self.refusal: RpcError | None = None

    async def look(self) -> None:
        await trio.lowlevel.checkpoint()

    async def standing(self, topic: str, group: str) -> list[list[Any]]:
        await trio.lowlevel.checkpoint()
        assert (topic, group) == ("photos", "workers")
        if self.refusal is not None:
            raise self.refusal
        return [[0, 0, 0, 0, 0, []], [1, 0, 9, 9, 0, self.given_up]]

    async def publish(self, topic: str, value: Any, **options: Any) -> Place:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        self.published.append((topic, value))
        return Place(1, len(self.published) - 1)


@pytest.fixture
async def web(nursery: trio.Nursery) -> AsyncIterator[Web]:
    yield Web(MemoryWorld(nursery), nursery)


async def started(web: Web) -> Queue:
    """The site with photos."""
    queue = Queue()
    node = await web.start()
    await node.site.prepared.wait()
    photos = Photos(node.ctx, lambda: node.site.store)
    node.site.errands = Errands(node.ctx, queue, photos)  # type: ignore[arg-type]
    await node.site.errands.prepare("")
    return queue


async def send(web: Web, path: str, body: bytes, kind: str = "image/png") -> Response:
    return await web.client.request(
        "POST", path, host="web-1", headers=[("content-type", kind)], body=body, timeout_s=60
    )


async def test_a_photo_is_stored_and_its_job_queued_before_its_client_hears_so(web: Web) -> None:
    queue = await started(web)
    answer = await send(web, "/api/photos?owner=ada&id=p1", PHOTO)
    assert answer.status == 202 and answer.header("location") == "/photos/p1"
    assert queue.published == [("photos", {"photo": "p1"})]
    told = await web.json("/api/photos/p1")
    assert (told["state"], told["bytes"]) == ("queued", len(PHOTO))
    served = await web.get("/photos/p1/original.png")
    assert served.body == PHOTO and served.header("content-type") == "image/png"
    assert (await web.get("/photos/p1/small.png")).status == 404
    again = await send(web, "/api/photos?owner=ada&id=p1", PHOTO)
    assert again.status == 202 and len(queue.published) == 2


async def test_what_workers_did_is_shown_and_served(web: Web) -> None:
    await started(web)
    await send(web, "/api/photos?owner=ada&id=p1", PHOTO)
    work = ["photos/p1", "p1", "workers-1", 1000.0, "photos", 1, 0, 7]
    done: list[list[Any]] = [[ADD_WORK, work], [ADD_SIZE, ["p1", "small", b"small"]]]
    await web.node.site.store.write(done, request_id="w1")
    page = (await web.get("/photos/p1")).body.decode()
    assert "workers-1" in page and "/photos/p1/large.png" in page
    assert (await web.get("/photos/p1/small.png")).body == b"small"
    assert b"/photos/p1/small.png" in (await web.get("/photos")).body
    assert (await web.json("/api/photos"))["photos"][0]["id"] == "p1"


async def test_one_without_a_picture_has_one_drawn(web: Web) -> None:
    queue = await started(web)
    kind = "application/x-www-form-urlencoded"
    assert (await send(web, "/photos", b"draw=hello", kind)).header("location") == "/login"
    answer = await send(web, "/photos?owner=ada", b"draw=hello", kind)
    assert answer.status == 303 and len(queue.published) == 1


async def test_a_browsers_form_uploads_its_file_or_has_one_drawn(web: Web) -> None:
    queue = await started(web)
    kind = "multipart/form-data; boundary=x"
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="%s"\r\n\r\n'
    rest = b'\r\n--x\r\nContent-Disposition: form-data; name="draw"\r\n\r\nhello\r\n--x--\r\n'
    answer = await send(web, "/photos?owner=ada&id=p1", head % b"a.png" + PHOTO + rest, kind)
    assert (answer.status, answer.header("location")) == (303, "/photos/p1")
    assert (await web.get("/photos/p1/original.png")).body == PHOTO
    answer = await send(web, "/photos?owner=ada&id=p2", head % b"" + rest, kind)
    drawn = (await web.get("/photos/p2/original.png")).body
    assert drawn != PHOTO and drawn.startswith(png.SIGNATURE)
    broken = await send(web, "/api/photos?owner=ada", head % b"a.png" + PHOTO, kind)
    assert broken.status == 400 and b"last boundary" in broken.body
    assert len(queue.published) == 2


async def test_a_photo_whose_job_is_a_dead_letter_says_so(web: Web) -> None:
    queue = await started(web)
    await send(web, "/api/photos?owner=ada&id=p1", PHOTO)
    tried = ["e1", "p1", "workers-1", record_name("photos", 1, 5), 3, 1000.0]
    await web.node.site.store.write([[ADD_ATTEMPT, tried]], request_id="a1")
    assert (await web.json("/api/photos/p1"))["state"] == "worked on"
    queue.given_up = [4, 5]
    assert (await web.json("/api/photos/p1"))["state"] == "given up"
    page = (await web.get("/photos/p1")).body.decode()
    assert "emu queue redrive" in page and "Reload" not in page
    queue.refusal = RpcError("unavailable", "no broker")
    assert (await web.json("/api/photos/p1"))["state"] == "worked on"
    queue.refusal = None
    again = ["e2", "p1", "workers-2", record_name("photos", 1, 9), 1, 1001.0]
    await web.node.site.store.write([[ADD_ATTEMPT, again]], request_id="a2")
    assert (await web.json("/api/photos/p1"))["state"] == "worked on"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/photos?owner=ada", b"GIF89a", 400),
        ("/api/photos?owner=nobody", PHOTO, 404),
        ("/api/photos", PHOTO, 401),
        ("/api/photos?owner=ada", PHOTO + bytes(200_000), 413),
    ],
)
async def test_what_cannot_be_taken_is_refused_and_queues_nothing(
    web: Web, path: str, body: bytes, status: int
) -> None:
    queue = await started(web)
    assert (await send(web, path, body)).status == status
    assert queue.published == []


@pytest.mark.parametrize(
    ("refusal", "status", "stored"),
    [(RpcError("full", "come back"), 503, 0), (RpcError("timeout", "nobody knows"), 504, 1)],
)
async def test_a_photo_whose_job_was_refused_for_certain_is_not_kept(
    web: Web, refusal: RpcError, status: int, stored: int
) -> None:
    queue = await started(web)
    queue.refusal = refusal
    assert (await send(web, "/api/photos?owner=ada&id=p1", PHOTO)).status == status
    counted = await web.ask("POST", "/api/photos/count", {"ids": ["p1"]})
    assert json.loads(counted.body) == {"counts": {"p1": stored}}
    queue.refusal = None
    assert (await send(web, "/api/photos?owner=ada&id=p1", PHOTO)).status == 202
    assert (await web.get("/photos/p1/original.png")).body == PHOTO


async def test_a_photo_that_another_attempt_has_queued_is_not_dropped(web: Web) -> None:
    await started(web)
    photos = Photos(web.node.ctx, lambda: web.node.site.store)
    assert (await photos.add("ada", "p1", PHOTO, "first"))[1]
    assert not (await photos.add("ada", "p1", PHOTO, "second"))[1]
    await photos.drop("p1", "first")
    assert await photos.count(["p1"], None) == {"p1": 1}


async def test_a_site_without_a_queue_says_what_photos_need(web: Web) -> None:
    await web.start()
    await web.node.site.prepared.wait()
    answer = await web.get("/api/photos")
    assert answer.status == 409 and b"need a queue" in answer.body
    assert b'href="/photos"' not in (await web.get("/")).body


def test_a_photos_page_shows_the_way_of_its_job() -> None:
    queued = photo_pages.one(VIEW, TOLD).decode()
    assert "queued" in queued and "Reload" in queued and "p<1>" not in queued
    attempts = [
        {"worker": f"workers-{number}", "record": "photos/1 offset 3", "delivery": number,
         "began_s": 990.0 + number}
        for number in (1, 2)
    ]  # fmt: skip
    works = [{"worker": f"workers-{number}", "done_s": 994.0 + number} for number in (1, 2)]
    whole = {**TOLD, "state": "done", "attempts": attempts, "done": works}
    page = photo_pages.one(VIEW, whole).decode()
    assert "took photos/1 offset 3, delivery 2" in page and "done 2 times" in page
    assert 'src="/photos/p%3C1%3E/large.png"' in page
    assert "done 2 times" not in photo_pages.one(VIEW, {**whole, "done": works[:1]}).decode()
