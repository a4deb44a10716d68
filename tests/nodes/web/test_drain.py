"""The orderly end of a web node: what was asked is answered, and quiet connections are closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nodes.base import ADMIN_PORT, HTTP_PORT, Stream
from nodes.wire.client import Client
from nodes.wire.http_client import HttpClient
from protocols.errors import RpcError
from protocols.http import message as http
from protocols.http.client import ClientConnection
from protocols.http.connection import ServerConnection
from tests.nodes.harness import MemoryWorld
from tests.nodes.web.rig import Web

GET = b"GET /api/home HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
async def web(nursery: trio.Nursery) -> AsyncIterator[Web]:
    yield Web(MemoryWorld(nursery), nursery)


class Draining:
    """Asks the node to drain, and knows when it has."""

    def __init__(self, web: Web) -> None:
        self.client = Client(web.outside, web.nursery, "web-1", ADMIN_PORT)
        self.began_s = trio.current_time()
        self.took_s: float | None = None
        web.nursery.start_soon(self._ask)

    async def _ask(self) -> None:
        assert await self.client.call("drain", timeout_s=60) == {"in_flight": 0}
        self.took_s = trio.current_time() - self.began_s


async def answer_on(stream: Stream, connection: ClientConnection) -> Any:
    while True:
        answer = connection.receive_data(await stream.receive_some())
        if answer is not None:
            return answer


async def test_a_request_in_hand_is_answered_and_its_connection_closed(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    web.sql.delay_s = 2
    stream = await web.outside.network.open_stream("web-1", HTTP_PORT)
    connection = ClientConnection()
    await stream.send_all(connection.send_request("GET", "/api/home", [("host", "a")]))
    await trio.testing.wait_all_tasks_blocked()
    draining = Draining(web)
    answer = await answer_on(stream, connection)
    assert (answer.status, answer.header("connection")) == (200, "close")
    assert await stream.receive_some() == b""
    await stream.aclose()
    await trio.sleep(3)
    assert draining.took_s is not None and 2 <= draining.took_s < 3.5


async def test_an_idle_connection_is_closed_soon_but_may_ask_once_more_until_then(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    idle = await web.outside.network.open_stream("web-1", HTTP_PORT)
    asking = await web.outside.network.open_stream("web-1", HTTP_PORT)
    connection = ClientConnection()
    for stream in (idle, asking):
        await stream.send_all(GET)
    assert (await answer_on(idle, ClientConnection())).status == 200
    assert (await answer_on(asking, ClientConnection())).status == 200
    draining = Draining(web)
    await trio.sleep(0.3)
    await asking.send_all(connection.send_request("GET", "/api/home", [("host", "a")]))
    answer = await answer_on(asking, connection)
    assert (answer.status, answer.header("connection")) == (200, "close")
    assert await idle.receive_some() == b""
    assert trio.current_time() - draining.began_s < 1
    for stream in (idle, asking):
        await stream.aclose()
    await trio.sleep(1)
    assert draining.took_s is not None


async def test_an_rpc_client_has_its_answer_before_its_connection_ends(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    client = Client(web.outside, web.nursery, "web-1", HTTP_PORT)
    assert await client.call("ping") == "pong"
    web.sql.delay_s = 2
    draining = Draining(web)
    assert (await client.call("site.home", timeout_s=5))["posts"]
    await trio.sleep(3)
    assert draining.took_s is not None and 2 <= draining.took_s < 3.5


async def test_a_node_without_connections_drains_at_once(
    autojump_clock: MockClock, web: Web
) -> None:
    await web.start()
    draining = Draining(web)
    await trio.sleep(0.01)
    assert draining.took_s == 0


async def keep_one_connection(web: Web, answers: int = 100) -> tuple[HttpClient, list[Stream]]:
    """A client with a kept connection to a server, which closes each after so many answers."""
    accepted: list[Stream] = []

    async def serve(stream: Stream) -> None:
        accepted.append(stream)
        connection, left = ServerConnection(http.Limits()), answers
        while data := await stream.receive_some():
            connection.receive_data(data)
            while connection.next_request() is not None:
                if not left:
                    return
                left -= 1
                await stream.send_all(connection.send_response(http.Response(200)))

    await web.world.serve("old-1", HTTP_PORT, serve)
    client = HttpClient(web.outside)
    assert (await client.request("GET", "/", host="old-1")).status == 200
    return client, accepted


async def test_a_kept_connection_that_was_reset_is_replaced_even_for_a_post(
    autojump_clock: MockClock, web: Web
) -> None:
    client, accepted = await keep_one_connection(web)
    accepted[0].abort()
    await trio.testing.wait_all_tasks_blocked()
    assert (await client.request("POST", "/", host="old-1", body=b"x")).status == 200
    assert len(accepted) == 2


async def test_what_was_sent_and_not_answered_is_sent_again_only_if_it_reads(
    autojump_clock: MockClock, web: Web
) -> None:
    client, accepted = await keep_one_connection(web, answers=1)
    assert (await client.request("GET", "/", host="old-1")).status == 200
    assert len(accepted) == 2
    with pytest.raises(RpcError) as caught:
        await client.request("POST", "/", host="old-1", body=b"x")
    assert (caught.value.code, caught.value.definite) == ("disconnected", False)
    assert len(accepted) == 2
