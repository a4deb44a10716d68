"""The web node on the wire: HTTP, MessagePack-RPC and PROXY v2 on one port; limits and refusals."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nodes.base import ADMIN_PORT, HTTP_PORT, CpuBusy, CpuExpired
from nodes.web import WebConfig, WebNode
from nodes.wire.client import Client
from nodes.wire.http_server import http_date
from nodes.wire.service import current_call
from protocols import proxy
from protocols.caching import dated
from protocols.errors import RpcError
from protocols.http.message import Response
from tests.nodes.harness import MemoryWorld
from tests.nodes.web.rig import Web


@pytest.fixture
async def web(nursery: trio.Nursery) -> AsyncIterator[Web]:
    yield Web(MemoryWorld(nursery), nursery)


async def test_the_home_page_names_the_node_and_the_way(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    page = await web.get("/")
    assert page.status == 200
    assert page.header("x-emu-node") == "web-1"
    assert page.header("content-type") == "text/html; charset=utf-8"
    assert page.header("date") == http_date(1.7e9)
    text = page.body.decode()
    assert "web-1" in text and "Ada Lovelace" in text
    assert (await web.json("/api/home"))["path"] == ["you", "web-1"]
    forwarded = await web.get("/api/home", x_emu_path="edge-1, lb-1")
    assert json.loads(forwarded.body)["path"] == ["you", "edge-1", "lb-1", "web-1"]


@pytest.mark.parametrize(
    "path", ["/", "/u/ada", "/search?q=log", "/timeline?user=ada", "/post/seed-1", "/login"]
)
async def test_every_page_is_html_and_its_twin_json(
    autojump_clock: MockClock, web: Web, path: str
) -> None:
    await web.start()
    page = await web.get(path)
    assert (page.status, page.body[:15]) == (200, b"<!doctype html>")
    if path != "/login":
        twin = "/api/home" if path == "/" else "/api" + path
        answer = await web.get(twin)
        assert answer.header("content-type") == "application/json"
        assert json.loads(answer.body)


async def test_a_post_is_made_once_and_found_everywhere(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    body = {"author": "ada", "text": "Hello & <goodbye>", "id": "p1"}
    for _ in range(2):
        made = await web.ask("POST", "/api/posts", body)
        assert (made.status, json.loads(made.body)["id"]) == (201, "p1")
    assert (await web.json("/api/posts?ids=p1,p2"))["counts"] == {"p1": 1, "p2": 0}
    counted = await web.ask("POST", "/api/posts/count", {"ids": ["p1"]})
    assert json.loads(counted.body) == {"counts": {"p1": 1}}
    assert (await web.json("/api/posts/p1"))["text"] == body["text"]
    assert b"Hello &amp; &lt;goodbye&gt;" in (await web.get("/u/ada")).body


async def test_a_read_after_a_write_carries_its_token_to_the_database(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    made = await web.ask("POST", "/api/posts", {"author": "ada", "text": "x"})
    token = made.header("x-emu-token")
    assert token == str(web.sql.lsn)
    await web.get("/api/users/ada", x_emu_token=token)
    assert web.sql.queries[-1][1] == web.sql.lsn
    await web.get("/api/users/ada", cookie=f"a=b; seen={token}")
    assert web.sql.queries[-1][1] == web.sql.lsn


async def test_a_browser_logs_in_posts_a_form_and_logs_out(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert (await web.get("/timeline")).header("location") == "/login"
    headers = [("content-type", form["content_type"])]
    begun = await web.client.request(
        "POST", "/login", host="web-1", headers=headers, body=b"name=ada"
    )
    assert (begun.status, begun.header("location")) == (303, "/timeline")
    cookie = str(begun.header("set-cookie")).partition(";")[0]
    assert b"Timeline of @ada" in (await web.get("/timeline", cookie=cookie)).body
    headers.append(("cookie", cookie))
    body = b"text=from+a+form"
    posted = await web.client.request("POST", "/post", host="web-1", headers=headers, body=body)
    assert (posted.status, posted.header("location")) == (303, "/u/ada")
    assert b"from a form" in (await web.get("/u/ada")).body
    await web.ask("POST", "/logout", {}, cookie=cookie)
    assert (await web.get("/api/session", cookie=cookie)).status == 401


async def test_static_files_are_cached_and_revalidated(autojump_clock: MockClock, web: Web) -> None:
    await web.start()
    for path in ("/static/style.css", "/static/hero.svg", "/static/face/ada.svg", "/favicon.ico"):
        first = await web.get(path)
        etag = first.header("etag")
        assert first.status == 200 and etag and first.body
        assert "max-age" in str(first.header("cache-control"))
        again = await web.get(path, if_none_match=f'"other", {etag}')
        assert (again.status, again.body) == (304, b"")
    assert (await web.get("/static/../nodes/web.py")).status == 404


async def test_a_dated_page_says_when_it_was_made(autojump_clock: MockClock, web: Web) -> None:
    await web.start()
    await trio.sleep(9.5)
    assert dated.told((await web.get("/dated/mine/0")).body)["made_s"] == trio.current_time()
    began_s = trio.current_time()
    late = dated.told((await web.get("/dated/mine/1")).body)
    assert late["made_s"] == began_s < trio.current_time()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/dated/nothing/0", 404),
        ("GET", "/api/users/nobody", 404),
        ("DELETE", "/", 405),
        ("GET", "/logout", 405),
        ("GET", "/api/timeline", 401),
        ("GET", "/api/search", 400),
        ("GET", "/api/search?q=a&limit=x", 400),
        ("GET", "/api/search?" + "a=1&" * 150, 400),
        ("POST", "/api/posts", 401),
        ("GET", "/%00%ff", 404),
        ("GET", "/u/%3Cscript%3E", 404),
    ],
)
async def test_refusals_have_their_status(
    autojump_clock: MockClock, web: Web, method: str, path: str, status: int
) -> None:
    await web.start()
    answer = await web.ask(method, path, {} if method == "POST" else None)
    assert answer.status == status
    assert b"<script" not in answer.body
    if status == 405:
        assert answer.header("allow")


async def test_options_says_what_may_be_asked(autojump_clock: MockClock, web: Web) -> None:
    await web.start()
    for target, allowed in (
        ("*", "GET, POST, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/logout", "POST, OPTIONS"),
        ("/u/ada", "GET, HEAD, OPTIONS"),
    ):
        answer = await web.ask("OPTIONS", target, None)
        assert (answer.status, answer.header("allow")) == (204, allowed)
    assert (await web.ask("OPTIONS", "/nowhere", None)).status == 404


async def test_head_has_the_headers_of_get_and_no_body(autojump_clock: MockClock, web: Web) -> None:
    await web.start()
    head = await web.raw(b"HEAD /static/style.css HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and head.endswith(b"\r\n\r\n")
    assert b"etag" in head.lower()


async def test_pipelined_requests_are_all_answered_in_order(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    one = b"GET /api/posts/seed-%d HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = await web.raw(b"".join(one % number for number in range(1, 9)), end=True)
    at = [answer.index(b'"id":"seed-%d"' % number) for number in range(1, 9)]
    assert at == sorted(at)
    assert answer.count(b"HTTP/1.1 200") == 8


async def test_one_byte_at_a_time_is_answered_the_same(autojump_clock: MockClock, web: Web) -> None:
    await web.start()
    request = b"GET /api/posts/seed-1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    pieces = [request[index : index + 1] for index in range(len(request))]
    assert await web.raw(*pieces) == await web.raw(request)


async def test_garbage_too_long_and_too_slow_are_answered_and_closed(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start(max_body_bytes=100, max_head_bytes=1000, request_timeout_s=3)
    post = b"POST /api/posts HTTP/1.1\r\nHost: a\r\n"
    cases = {
        b"hello\r\n\r\n": b"400",
        post + b"Content-Length: 101\r\n\r\n" + b"x" * 101: b"413",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2000: b"431",
        b"GET / HTTP/1.1\r\nHo": b"408",
        post + b"Content-Length: 50\r\n\r\nab": b"408",
        proxy.SIGNATURE[:6] + b"xx\r\n": b"400",
    }
    for sent, status in cases.items():
        answer = await web.raw(sent)
        assert answer.split(b" ")[1] == status, (sent, answer)
        assert b"connection: close" in answer.lower()
    assert (await web.get("/")).status == 200


async def test_a_silent_and_an_idle_connection_are_closed(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start(idle_timeout_s=5)
    began_s = trio.current_time()
    assert await web.raw() == b""
    assert trio.current_time() - began_s == pytest.approx(10)
    began_s = trio.current_time()
    answer = await web.raw(b"GET /static/mark.svg HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert trio.current_time() - began_s == pytest.approx(5)


async def test_messagepack_rpc_on_the_same_port(autojump_clock: MockClock, web: Web) -> None:
    await web.start()
    client = Client(web.outside, web.nursery, "web-1", HTTP_PORT)
    assert await client.call("ping") == "pong"
    made = await client.call("site.post", "ada", "over rpc", "r1")
    assert made["id"] == "r1"
    assert (await client.call("site.get_post", "r1", made["token"]))["text"] == "over rpc"
    assert (await client.call("site.count_posts", ["r1"]))["counts"] == {"r1": 1}
    assert len((await client.call("site.timeline", "ada"))["posts"]) > 0
    assert (await client.call("site.search", "over rpc"))["posts"]
    assert (await client.call("site.home"))["node"] == "web-1"
    session = (await client.call("site.login", "ada"))["session"]
    assert await client.call("site.session", session) == {"user": "ada"}
    with pytest.raises(RpcError, match="not_found"):
        await client.call("site.profile", "nobody")


async def test_a_proxy_header_goes_before_http_and_before_rpc(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    header = proxy.encode(proxy.Header("192.0.2.7", 5555, "192.0.2.1", 80))
    request = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert (await web.raw(header + request)).startswith(b"HTTP/1.1 200")
    assert (await web.raw(header[:5], header[5:], request)).startswith(b"HTTP/1.1 200")
    ping = b"\x94\x00\x01\xa4ping\x90"
    assert await web.raw(header, ping, end=True) == b"\x94\x01\x01\xc0\xa4pong"


async def test_without_its_database_the_node_answers_503_and_recovers(
    autojump_clock: MockClock, web: Web
) -> None:
    web.sql.fail_with = RpcError("unavailable", "no primary")
    await web.start()
    for path in ("/", "/api/home", "/health"):
        assert (await web.get(path)).status == 503
    assert (await web.get("/api/home")).header("retry-after") == "1"
    assert (await web.get("/static/style.css")).status == 200
    assert (await web.get("/health/live")).status == 503, "it is still starting"
    await trio.sleep(4)
    assert (await web.get("/health/live")).status == 200, "it runs, whatever it depends on"
    web.sql.fail_with = None
    await trio.sleep(5)
    assert (await web.get("/")).status == 200
    assert (await web.get("/health")).status == 200


async def test_an_outcome_nobody_knows_is_504_not_503(autojump_clock: MockClock, web: Web) -> None:
    await web.start()
    web.sql.lose_answers = 1
    answer = await web.ask("POST", "/api/posts", {"author": "ada", "text": "x", "id": "p"})
    assert answer.status == 504
    assert json.loads(answer.body)["error"]["definite"] is False


async def test_the_deadline_header_limits_the_request_and_travels_on(
    autojump_clock: MockClock, web: Web
) -> None:
    node = await web.start(timeout_s=5)
    web.sql.delay_s = 10
    for header, seconds in (("250", 0.25), ("99999", 5.0), ("junk", 5.0)):
        began_s = trio.current_time()
        request = f"GET /api/home HTTP/1.1\r\nHost: a\r\nX-Deadline-Ms: {header}\r\n\r\n"
        answer = await web.raw(request.encode(), end=True)
        assert answer.startswith(b"HTTP/1.1 504"), answer
        assert trio.current_time() - began_s == pytest.approx(seconds)
    seen: list[float | None] = []

    async def query(*args: Any, **kwargs: Any) -> Any:
        call = current_call.get()
        seen.append(call.deadline_s if call else None)
        raise RpcError("unavailable", "enough")

    node.site.store.query = query  # type: ignore[method-assign]
    now_s = trio.current_time()
    await web.raw(b"GET /api/home HTTP/1.1\r\nHost: a\r\nX-Deadline-Ms: 700\r\n\r\n", end=True)
    assert seen == [pytest.approx(now_s + 0.7)]


async def test_over_the_bound_requests_are_shed_at_once(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start(max_in_flight=2)
    web.sql.delay_s = 1
    statuses: list[int] = []

    async def one() -> None:
        statuses.append((await web.get("/api/posts/seed-1")).status)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one)
    assert statuses == [503, 503, 503, 200, 200]


async def test_a_full_or_late_cpu_queue_is_503(autojump_clock: MockClock, web: Web) -> None:
    node = await web.start()

    class Cpu:
        cores = 1
        raises: Exception = CpuBusy()
        charged: list[tuple[float | None, float | None]] = []

        async def run(
            self,
            cost_s: float | None = None,
            *,
            expires_at_s: float | None = None,
            rank: int = 0,
        ) -> None:
            await trio.lowlevel.checkpoint()
            self.charged.append((cost_s, expires_at_s))
            if len(self.charged) > 1:
                raise self.raises

    cpu = node.ctx.cpu = Cpu()  # type: ignore[misc]
    assert (await web.get("/api/home")).status == 200
    assert cpu.charged == [(None, pytest.approx(trio.current_time() + 5.0))]
    for problem in (CpuBusy(), CpuExpired()):
        cpu.raises = problem
        assert (await web.get("/api/home")).status == 503
    assert (await web.get("/health")).status == 200, "a health check costs nothing"


async def test_a_client_that_resets_cancels_its_request(
    autojump_clock: MockClock, web: Web
) -> None:
    node = await web.start()
    web.sql.delay_s = 3
    stream = await web.outside.network.open_stream("web-1", HTTP_PORT)
    await stream.send_all(b"GET /api/home HTTP/1.1\r\nHost: a\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    assert node.http.in_flight == 1
    stream.abort()
    await trio.testing.wait_all_tasks_blocked()
    assert node.http.in_flight == 0


async def test_requests_are_counted_by_route_and_status(
    autojump_clock: MockClock, web: Web
) -> None:
    node = await web.start()
    await web.get("/u/ada")
    await web.get("/api/users/ada")
    await web.get("/api/users/nobody")
    await web.get("/anything/at/all")
    text = node.ctx.metrics.render().decode()
    assert 'emu_requests_total{code="200",method="profile",node="web-1"} 2\n' in text
    assert 'emu_requests_total{code="404",method="profile",node="web-1"} 1\n' in text
    assert 'emu_requests_total{code="404",method="unknown",node="web-1"} 1\n' in text
    assert 'emu_request_seconds_count{method="profile",node="web-1"} 3\n' in text


async def test_describe_tells_the_methods_and_the_sessions(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    await web.ask("POST", "/api/login", {"name": "ada"})
    admin = Client(web.outside, web.nursery, "web-1", ADMIN_PORT)
    facts = await admin.call("describe")
    assert facts["sessions"] == 1
    assert facts["store_ready"] is True
    assert "site.post" in facts["methods"]


async def test_an_app_of_the_users_own_serves_every_path(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start(app="tests.nodes.web.test_web:tiny_app")
    answer = await web.get("/any/path?x=1")
    assert (answer.status, answer.body) == (200, b"/any/path by web-1 with 12 people")
    with pytest.raises(ValueError, match="nothing_here"):
        WebNode(web.world.context("web-2"), WebConfig(app="tests.nodes.web.test_web:nothing_here"))


async def tiny_app(request: Any, services: Any) -> Response:
    people = (await services.db.query("SELECT count(*) FROM users")).rows[0][0]
    body = f"{request.path} by {services.ctx.name} with {people} people"
    return Response(200, body=body.encode())


async def test_noise_is_always_answered_or_closed_and_never_a_crash(
    autojump_clock: MockClock, web: Web
) -> None:
    node = await web.start(max_head_bytes=1000, max_body_bytes=1000)
    rng = random.Random(11)
    good = b"POST /api/posts HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    ping = b"\x94\x00\x01\xa4ping\x90"
    header = proxy.encode(proxy.Header("192.0.2.7", 5555, "192.0.2.1", 80))
    for _ in range(150):
        data = bytearray(rng.choice([good, ping, header + good, header + ping, rng.randbytes(40)]))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.randrange(6)] = rng.randbytes(rng.randrange(6))
        cut = rng.randrange(len(data) + 1)
        await web.raw(bytes(data[:cut]), bytes(data[cut:]), end=True)
    assert (await web.get("/")).status == 200
    assert node.http.in_flight == 0
    failed = [event for event in node.ctx.log.events if event[0].endswith("failed")]  # type: ignore[attr-defined]
    assert failed == []


def test_dates_are_those_of_the_calendar() -> None:
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert http_date(951782400.9) == "Tue, 29 Feb 2000 00:00:00 GMT"


@pytest.mark.parametrize("wall_s", [-1e15, -5.5, 3e11, 1e15])
def test_a_clock_that_was_stepped_out_of_the_calendar_still_has_a_date(wall_s: float) -> None:
    assert http_date(wall_s).endswith(" GMT")
