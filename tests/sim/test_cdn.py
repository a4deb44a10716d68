"""Edges in virtual time: one request followed over all tiers, a purge over a shield, an origin that
dies while its copies carry on.
"""

from __future__ import annotations

from typing import Any

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.cdn.operations import OPERATIONS
from protocols.errors import RpcError

_, OBJECTS = OPERATIONS

SITE = """
regions: [us, eu]
links: {defaults: {within: 0.3ms, between: 40ms}}
tiers:
  dns: {kind: dns, public: true, regions: [us], zone: example.test, answers: edge, ttl: 5s,
        check: rpc, near: {us: [us, eu], eu: [eu, us]}}
  edge: {kind: cdn, public: true, per_region: 1, origin: shield}
  shield: {kind: cdn, regions: [us], origin: lb}
  lb: {kind: balancer, regions: [us], balances: web, check: http, check_path: /health/live}
  web: {kind: web, regions: [us], nodes: 2, uses: db}
  db: {kind: database, regions: [us]}
users:
  us: {rate: 1/s, visits: edge, resolver: dns}
  eu: {rate: 1/s, visits: edge, resolver: dns}
"""


async def why(c: Scenario, url: str, region: str = "eu") -> dict[str, Any]:
    """What `emu why` prints."""
    answers = await c.call_admin(f"users-{region}", "why", url)
    return next(iter(answers.values()))  # type: ignore[no-any-return]


def word_at(told: dict[str, Any], tier: str) -> str:
    return next(hop["decision"] for hop in told["hops"] if hop["tier"] == tier)


async def warm(c: Scenario) -> None:
    for _ in range(100):
        rows = await c.ps("users-eu")
        if rows[0].get("phase") == "visiting":
            return
        await c.sleep(0.2)


def test_a_request_is_followed_over_all_tiers_and_its_times_add_up():
    async def script(c: Scenario) -> None:
        await warm(c)
        told = await why(c, "/u/grace")
        tiers = [hop["tier"] for hop in told["hops"]]
        assert tiers == ["dns", "edge", "shield", "lb", "web", "db"]
        assert sum(hop["time_s"] for hop in told["hops"]) == pytest.approx(told["time_s"], rel=0.05)
        assert all(hop["why"] for hop in told["hops"])
        near = await why(c, "/u/grace")
        assert word_at(near, "edge") == "HIT"
        assert near["time_s"] < told["time_s"] / 4
        assert sum(hop["time_s"] for hop in near["hops"]) == pytest.approx(near["time_s"], rel=0.05)

    run(script, loads(SITE), seed=1)


def test_a_purge_goes_to_the_shield_and_all_edges_and_outlives_their_restart():
    async def script(c: Scenario) -> None:
        await warm(c)
        for region in ("us", "eu"):
            await why(c, "/static/mark.svg", region)
        told = await (await c.cdn_purge("edge", url="/static/mark.svg")).ended()
        assert told["objects"] >= 2
        assert {"edge-1", "edge-2", "shield-1"} == set(told["nodes"])
        assert word_at(await why(c, "/static/mark.svg"), "edge") == "MISS"

    run(script, loads(SITE), seed=2)


def test_objects_names_the_edges_that_did_not_answer():
    async def script(c: Scenario) -> None:
        await warm(c)
        await why(c, "/static/mark.svg", "us")
        await c.kill("edge-2")
        told = await (await c.cdn_objects("edge", prefix="/static/mark")).ended()
        assert [row["url"] for row in told["objects"]] == ["www.example.test/static/mark.svg"]
        assert told["silent"] == {"edge-2": "it is down"}
        assert OBJECTS.shown(told).splitlines()[-1] == "edge-2: no answer: it is down"

    run(script, loads(SITE), seed=2)


def test_a_purge_that_would_miss_the_shield_is_refused():
    async def script(c: Scenario) -> None:
        await c.kill("edge")
        with pytest.raises(RpcError, match="nobody of edge runs"):
            await (await c.cdn_purge("edge", url="/static/mark.svg")).ended()
        await c.start("edge-1")
        told = await (await c.cdn_purge("edge", url="/static/mark.svg")).ended()
        assert set(told["nodes"]) == {"edge-1", "shield-1"} and told["down"] == ["edge-2"]

    run(script, loads(SITE.partition("users:")[0]), seed=2)


def test_copies_carry_on_when_the_origin_dies():
    async def script(c: Scenario) -> None:
        await warm(c)
        await why(c, "/static/mark.svg")
        await why(c, "/u/grace")
        await c.kill("lb")
        assert (await why(c, "/static/mark.svg"))["status"] == 200
        await c.sleep(10)
        told = await why(c, "/u/grace")
        assert (told["status"], word_at(told, "shield")) == (200, "STALE")
        await c.sleep(70)
        assert (await why(c, "/u/grace"))["status"] in (502, 503, 504)
        assert (await why(c, "/static/mark.svg"))["status"] == 200

    run(script, loads(SITE), seed=3)
