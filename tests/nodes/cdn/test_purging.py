"""What was purged never returns: not by an answer on its way, a 304, a restart, or a shield."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nodes.base import ADMIN_PORT, HTTP_PORT
from nodes.cdn.edge import MOST_TAGS
from nodes.cdn.journal import FILE
from nodes.cdn.purges import Purge, wanted
from nodes.wire.client import Client
from nodes.wire.http_client import HttpClient
from protocols.control import PURGE
from protocols.errors import RpcError
from protocols.http.message import Request, Response
from tests.nodes.cdn.rig import FRESH, Cdn, MemoryDisk, status_of
from tests.nodes.harness import MemoryWorld

ETAG = ("etag", '"v1"')


@pytest.fixture
async def cdn(nursery: trio.Nursery) -> AsyncIterator[Cdn]:
    yield Cdn(MemoryWorld(nursery))


async def purge(cdn: Cdn, kind: str, value: str, name: str = "", *, alone: bool = False) -> int:
    """How many objects went. `alone`: as emu does it, which tells the shields itself."""
    return int((await told(cdn, kind, value, name, alone=alone))["objects"])


async def told(
    cdn: Cdn, kind: str, value: str, name: str = "", *, alone: bool = False
) -> dict[str, Any]:
    async with trio.open_nursery() as nursery:
        client = Client(cdn.world.context("operator"), nursery, cdn.name, ADMIN_PORT)
        try:
            answer = await client.call("purge", kind, value, name, alone)
        except RpcError as error:
            answer, refused = {}, error
        else:
            refused = None
        nursery.cancel_scope.cancel()
    if refused is not None:
        raise refused
    return answer


async def test_a_url_goes_with_its_variants_a_prefix_with_all_below_a_tag_with_all_that_have_it(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    def answer(request: Request) -> Response:
        tag = ("cache-tag", "red, small" if request.path.startswith("/p/") else "blue")
        return Response(200, (FRESH, tag, ("vary", "accept-language")), b"one")

    cdn.origin.answer = answer
    await cdn.start()

    async def fill() -> None:
        for path in ("/p/1", "/p/2", "/q"):
            await cdn.get(path, accept_language="de")
            await cdn.get(path, accept_language="en")

    await fill()
    assert await purge(cdn, "url", "/p/1") == 2
    assert status_of(await cdn.get("/p/2", accept_language="de")) == "HIT"
    await fill()
    assert await purge(cdn, "prefix", "http://site/p/") == 4
    await fill()
    assert await purge(cdn, "tag", "small") == 4
    assert await purge(cdn, "url", "http://other/q") == 0
    assert await purge(cdn, "prefix", "/") == 2


async def test_an_answer_that_was_on_its_way_is_not_kept(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    cdn.origin.delay_s = 2.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cdn.get, "/a")
        await trio.sleep(1)
        await purge(cdn, "url", "/a")
    cdn.origin.answer = Response(200, (FRESH,), b"two")
    assert (await cdn.get("/a")).body == b"two"
    assert "an answer that was purged on its way" in cdn.node.ctx.states


async def test_who_asks_after_a_purge_does_not_wait_for_what_was_asked_before_it(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    cdn.origin.delay_s = 2.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cdn.get, "/a")
        await trio.sleep(1)
        cdn.origin.answer = Response(200, (FRESH,), b"two")
        await purge(cdn, "url", "/a")
        later = cdn.beside(nursery, "/a")
    assert later[0].body == b"two"


async def test_a_304_does_not_bring_back_what_was_purged_meanwhile(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    cdn.origin.answer = Response(200, (FRESH, ETAG), b"one")
    await cdn.start()
    await cdn.get("/a")
    await trio.sleep(61)

    def answer(request: Request) -> Response:
        if "if-none-match" in request.headers:
            return Response(304, (FRESH, ETAG))
        return Response(200, (FRESH, ("etag", '"v2"')), b"two")

    cdn.origin.answer = answer
    cdn.origin.delay_s = 2.0
    async with trio.open_nursery() as nursery:
        answers = cdn.beside(nursery, "/a")
        await trio.sleep(1)
        await purge(cdn, "url", "/a")
    assert answers[0].body == b"two"
    assert "if-none-match" not in cdn.origin.requests[-1].headers
    assert (await cdn.get("/a")).body == b"two"


async def test_a_purge_is_on_the_disk_before_it_is_told_and_known_after_a_restart(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    syncs = cdn.disk.syncs
    await purge(cdn, "url", "/a", "name-1")
    assert cdn.disk.syncs == syncs + 1
    await cdn.restart()
    assert cdn.node.edge.purges.all() == [Purge("name-1", "url", "/a")]
    assert await purge(cdn, "url", "/a", "name-1") == 0
    assert len(cdn.node.edge.purges) == 1


async def test_a_torn_tail_of_the_purges_is_cut(autojump_clock: MockClock, cdn: Cdn) -> None:
    await cdn.start()
    await purge(cdn, "url", "/a", "name-1")
    size = len(cdn.disk.files[FILE])
    await purge(cdn, "url", "/b", "name-2")
    del cdn.disk.files[FILE][size + 7 :]
    await cdn.restart()
    assert [each.name for each in cdn.node.edge.purges.all()] == ["name-1"]
    assert len(cdn.disk.files[FILE]) == size


async def test_a_shield_that_missed_a_purge_learns_of_it_by_the_next_request(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    """Even where the edge was restarted in between: the purge is on its disk."""
    shield = await _shielded(cdn)
    await cdn.get("/a")
    cdn.origin.answer = Response(200, (FRESH,), b"two")
    await purge(cdn, "url", "/a")
    await cdn.restart()
    assert (await cdn.get("/a")).body == b"two"
    assert len(shield.node.edge.purges) == 1
    cdn.origin.answer = Response(200, (FRESH,), b"three")
    await purge(cdn, "prefix", "/unlike/")
    await cdn.restart()
    assert (await cdn.get("/a")).body == b"two"  # from the shield, which has it since the purge


async def test_a_shield_that_missed_the_purge_of_a_tag_is_asked_once_more(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    shield = await _shielded(cdn)
    cdn.origin.answer = Response(200, (FRESH, ("cache-tag", "t")), b"one")
    await cdn.get("/a")
    await trio.sleep(1)
    cdn.origin.answer = Response(200, (FRESH, ("cache-tag", "t")), b"two")
    await purge(cdn, "tag", "t")
    assert (await cdn.get("/a")).body == b"two"
    assert len(shield.node.edge.purges) == 1


@pytest.mark.parametrize("peer", ["outside", "lb-1"])
async def test_nobody_purges_but_whom_the_network_knows_for_one_who_may(
    autojump_clock: MockClock, cdn: Cdn, peer: str
) -> None:
    """A balancer before an edge passes on what anybody sends."""
    await cdn.start()
    cdn.outside = cdn.world.context(peer)
    cdn.client = HttpClient(cdn.outside, agent="")
    async with trio.open_nursery() as nursery:
        client = Client(cdn.outside, nursery, cdn.name, HTTP_PORT)
        with pytest.raises(RpcError) as refused:
            await client.call("purge", "prefix", "/")
        nursery.cancel_scope.cancel()
    assert refused.value.code == "no_such_method"
    await cdn.get("/a")
    known = Purge("mine", "prefix", "/").encoded()
    assert status_of(await cdn.get("/a", x_emu_purged=known)) == "HIT"
    cdn.world.rights[peer] = (PURGE,)
    cdn.client.close()
    assert status_of(await cdn.get("/a", x_emu_purged=known)) == "MISS"


@pytest.mark.parametrize(
    ("kind", "value"), [("site", "/"), ("url", ""), ("url", "a"), ("tag", "ä"), ("url", "/" * 3000)]
)
async def test_a_purge_of_nothing_is_refused(
    autojump_clock: MockClock, cdn: Cdn, kind: str, value: str
) -> None:
    await cdn.start()
    with pytest.raises(RpcError) as refused:
        await purge(cdn, kind, value)
    assert refused.value.code == "bad_request"


NEVER = {
    "url": ("/a#part", "/a b", "/a\t", "/\x00", "http://", "http:///a", "http://u@site/a",
            "http://si\tte/a", "http://a b/", "http://[::1/", "//\n", "a", "HTTP://site/a"),
    "prefix": ("http://", "http://?", "/ ", "/#"),
    "tag": (" ", "a,b", "a ", "\n", ","),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), [(k, v) for k, each in NEVER.items() for v in each])
def test_a_purge_that_no_object_could_ever_match_is_refused(kind: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"a (url|prefix|tag) |one tag|no address"):
        wanted("n", kind, value)


@pytest.mark.parametrize("value", ["/", "/a?b=c%20d", "http://site", "http://site:8080/a",
                                   "http://[::1]:80/", "http://a_b.test/x"])  # fmt: skip
def test_a_purge_of_what_may_be_there_is_taken(value: str) -> None:
    assert wanted("n", "url", value).value == value


async def test_a_purge_is_at_the_shield_when_it_is_acknowledged_so_that_a_new_machine_needs_no_disk(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    """Seed 235 of the planted topology: the edge that was told was scaled away, and came back."""
    await _shielded(cdn, kind="edge")
    await cdn.get("/a")
    cdn.origin.answer = Response(200, (FRESH,), b"two")
    assert (await told(cdn, "url", "/a"))["missed"] == []
    cdn.disk = MemoryDisk()
    await cdn.restart()
    assert (await cdn.get("/a")).body == b"two"


async def test_a_shield_that_is_silent_is_named_and_hears_of_the_purge_with_the_next_request(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await _shielded(cdn, kind="edge")
    await cdn.get("/a")
    cdn.origin.answer = Response(200, (FRESH,), b"two")
    cdn.world.black_holes["shield-1"] = None
    assert await told(cdn, "url", "/a", "one") == {
        "name": "one", "objects": 1, "missed": ["shield-1"]
    }  # fmt: skip
    del cdn.world.black_holes["shield-1"]
    assert (await cdn.get("/a")).body == b"two"


async def test_who_tells_the_shields_itself_asks_of_an_edge_alone(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    shield = await _shielded(cdn, kind="edge")
    await purge(cdn, "url", "/a", alone=True)
    assert len(shield.node.edge.purges) == 0


async def test_caches_that_ask_each_other_tell_each_other_once(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    cdn.world.list_member(cdn.name, HTTP_PORT)
    await cdn.start(origin="edge")
    assert (await told(cdn, "url", "/a"))["missed"] == []


async def _shielded(cdn: Cdn, **fields: Any) -> Cdn:
    """`edge` asks `shield`, which asks the origin; `fields` are what the edge knows of it: unless
    its kind is the edge's own, it is told with requests only."""
    shield = Cdn(cdn.world, "shield-1")
    cdn.world.rights[cdn.name] = (PURGE,)
    shield.origin = cdn.origin
    await cdn.start()
    await shield.begin(origin="origin")
    cdn.world.list_member("shield-1", HTTP_PORT, **fields)
    await cdn.begin(origin="shield")
    return shield


async def test_of_two_purges_the_newer_is_told_to_the_shield(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    """Seed 1 of the planted topology: an older purge of a tag hid a newer one of its URL."""
    await _shielded(cdn)
    cdn.origin.answer = Response(200, (FRESH, ("cache-tag", "t")), b"one")
    await cdn.get("/a")
    await trio.sleep(1)
    await purge(cdn, "tag", "t")
    await cdn.get("/a")
    await trio.sleep(1)
    cdn.origin.answer = Response(200, (FRESH, ("cache-tag", "t")), b"two")
    await purge(cdn, "url", "/a")
    assert (await cdn.get("/a")).body == b"two"


async def test_a_purge_whose_first_caller_gave_up_is_on_the_disk_when_it_is_told_again(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    cdn.disk.sync_s = 1.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(purge, cdn, "tag", "first", "one")
        await trio.sleep(0.1)
        with trio.move_on_after(0.1):
            await cdn.node.purge(Purge("two", "tag", "second"))
        await purge(cdn, "tag", "second", "two")
    await cdn.restart()
    assert {each.name for each in cdn.node.edge.purges.all()} == {"one", "two"}


async def test_what_has_more_tags_than_are_kept_is_not_kept_and_so_no_purge_misses_it(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    tags = ", ".join(f"t{number}" for number in range(MOST_TAGS + 1))
    cdn.origin.answer = Response(200, (FRESH, ("cache-tag", tags)), b"one")
    await cdn.start()
    await cdn.get("/a")
    await purge(cdn, "tag", f"t{MOST_TAGS}")
    cdn.origin.answer = Response(200, (FRESH,), b"two")
    assert (await cdn.get("/a")).body == b"two"


async def test_a_url_with_its_host_is_the_same_url_as_without(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    await cdn.start()
    for target in ("/a?", "/a", "/a;b?c=d&e", "/"):
        await cdn.get(target)
        assert await purge(cdn, "url", f"http://site{target}") == 1, target
