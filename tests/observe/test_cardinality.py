"""Series are few and bounded: neither strangers, users nor time make more of them."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

import emu
from emu.observe.exposition import Exposition
from protocols.errors import RpcError
from tests.observe.pages import node_page, observed
from tests.observe.test_exposition import NODES

MOST_PER_NODE = 400
"""Of the busiest kind: a users node has a latency histogram for each operation."""


def series(page: bytes) -> int:
    return sum(1 for line in page.splitlines() if not line.startswith(b"#"))


async def annoy(c: emu.Scenario, exposition: Exposition) -> dict[str, tuple[int, int]]:
    """Ask for what does not exist, in a hundred ways of each protocol."""
    await c.sleep(2)
    for number in range(100):
        with suppress(RpcError):
            await c.call("web-1", f"method-{number}")
        with suppress(RpcError):
            await c.call("db-1", "query", f"SELECT {number} FROM nowhere_{number}")
        await raw(c, "web-1", 8080, f"GET /page-{number}?q={number} HTTP/1.0\r\n\r\n".encode())
        await raw(c, "web-1", 8080, f"VERB{number} / HTTP/1.1\r\nHost: {number}\r\n\r\n".encode())
        if number == 9:
            before = {name: series(await node_page(c, name)) for name in NODES}
            mine = series(await exposition.render())
    after = {name: series(await node_page(c, name)) for name in NODES}
    pairs = {name: (before[name], after[name]) for name in NODES}
    return {**pairs, "emu": (mine, series(await exposition.render()))}


async def raw(c: emu.Scenario, node: str, port: int, data: bytes) -> None:
    stream = await c.cluster.operator.ctx.network.open_stream(node, port)
    async with stream:
        with suppress(trio.BrokenResourceError), trio.move_on_after(1):
            await stream.send_all(data)
            await stream.receive_some(1000)


def test_strangers_make_no_series():
    for name, (before, after) in observed(annoy).items():
        routes_seen_later = 20 if name in ("web-1", "users-local-1", "lb-1", "emu") else 0
        assert after - before <= routes_seen_later, name
        assert after <= MOST_PER_NODE, name


async def twice(c: emu.Scenario, exposition: Exposition) -> list[int]:
    counts = []
    for _ in range(2):
        await c.kill("web-2", for_s=1)
        await c.crash("db", for_s=1)
        await c.sleep(25)  # whoever is back has been asked for everything by then
        pages = [await node_page(c, name) for name in NODES]
        counts.append(sum(map(series, pages)) + series(await exposition.render()))
    return counts


def test_time_and_restarts_make_no_series():
    first, second = observed(twice)
    assert second <= first * 1.05


@pytest.mark.parametrize("nodes", [10, 40])
def test_a_cluster_has_so_many_series_as_it_has_nodes(nodes: int):
    async def grown(c: emu.Scenario, exposition: Exposition) -> tuple[int, int]:
        await c.scale("web", nodes)
        await c.sleep(3)
        of_web = [series(await node_page(c, f"web-{place}")) for place in (1, nodes)]
        return max(of_web), series(await exposition.render())

    of_web, of_emu = observed(grown)
    assert of_web <= MOST_PER_NODE
    assert of_emu <= 250 + 3 * (nodes + 5)
