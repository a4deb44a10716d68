"""Deploys under load: members are replaced one after the other, and nothing fails or is lost; a
version that is worse is rolled back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import emu
from emu.model.faults import Scale
from emu.model.topology import FaultItem
from emu.topology.loading import loads
from protocols.errors import RpcError

SITE = """
name: deploys
tiers:
  lb: {kind: balancer, public: true, balances: web, check: http, check_path: /health/live,
       check_interval: 500ms, check_fast_interval: 200ms, rise: 1, fall: 2}
  web: {kind: web, nodes: 3, uses: db, reads: replicas, sessions: shared}
  db: {kind: database, nodes: 3, detection_timeout: 1s}
users:
  local: {rate: 30/s, visits: lb, timeout: 4s}
"""
SHOP = """
name: shop
tiers:
  lb: {kind: balancer, public: true, balances: web}
  web: {kind: web, nodes: 4, app: "shop1:app"}
users:
  local: {rate: 60/s, visits: lb, timeout: 2s}
"""
GOOD = '''
"""A shop."""

from protocols.http.message import Response


async def app(request, services):
    return Response(200, body=b"welcome")
'''
BAD = '''
"""A shop that fails now and then."""

import itertools

from protocols.http.message import Response

turns = itertools.count()


async def app(request, services):
    if next(turns) % 20 == 7:
        raise RuntimeError("a bug")
    return Response(200, body=b"welcome to the new shop")
'''
STORES = {
    "kv": """
name: deploys
tiers:
  kv: {kind: kv, public: true, shards: 1, replicas: 2, coordinators: 3}
  clients: {kind: clients, asks: kv, workload: register, processes: 3, think_time: 100ms}
""",
    "queue": """
name: deploys
tiers:
  queue: {kind: queue, public: true, brokers: 1, replicas: 2, topics: {orders: {partitions: 2}}}
""",
}


async def done(c: emu.Scenario, verb: str, *values: Any, **options: Any) -> dict[str, Any]:
    return await (await getattr(c, verb)(*values, **options)).ended()


async def restarted(c: emu.Scenario, tier: str) -> Any:
    await c.sleep(3)
    before = {row["name"]: row["generation"] for row in await c.ps(tier)}
    told = await done(c, "deploy", tier)
    after = {row["name"]: row["generation"] for row in await c.ps(tier)}
    assert after == {name: count + 1 for name, count in before.items()}
    await c.sleep(3)
    return told, await c.finish()


@pytest.mark.parametrize("tier", ["web", "db"])
def test_a_tier_is_restarted_under_load_without_an_error(tier: str) -> None:
    told, summary = emu.run(lambda c: restarted(c, tier), loads(SITE), seed=2)
    assert told["replaced"] == 3 and not told["rolled_back"]
    assert (summary["errors"], summary["lost_acknowledged_writes"]) == (0, 0)
    assert summary["anomalies"] == []


def test_the_primary_of_a_database_goes_last_and_hands_over() -> None:
    async def script(c: emu.Scenario) -> Any:
        await c.sleep(2)
        (primary,) = await c.resolve("db primary")
        await done(c, "deploy", "db")
        return primary, [each["member"] for each in c.events("member replaced")]

    primary, order = emu.run(script, loads(SITE), seed=3)
    assert order[-1] == primary and len(set(order)) == 3


@pytest.mark.parametrize("tier", list(STORES))
def test_stores_and_brokers_are_restarted_and_lose_nothing(tier: str) -> None:
    async def script(c: emu.Scenario) -> Any:
        await c.sleep(2)
        told = await done(c, "deploy", tier)
        await c.sleep(2)
        return told, await c.finish()

    told, summary = emu.run(script, loads(STORES[tier]), seed=4)
    assert told["replaced"] >= 3 and not told["rolled_back"], told
    assert summary["anomalies"] == [] and not summary["lost_acknowledged_writes"]


async def canary(c: emu.Scenario, app: str) -> Any:
    await c.sleep(3)
    told = await done(c, "deploy", "web", app=app, canary_ratio=0.25, watch_s=20.0)
    apps = [each.placement.config.app for each in c.cluster.tier_instances("web")]
    return told, apps


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    for name, text in (("shop1", GOOD), ("shop2", BAD), ("shop3", GOOD)):
        (tmp_path / f"{name}.py").write_text(text)
    yield loads(SHOP, path=tmp_path / "shop.yaml")
    for name in ("shop1", "shop2", "shop3"):
        sys.modules.pop(name, None)


def test_a_canary_that_fails_is_rolled_back(shop: Any) -> None:
    told, apps = emu.run(lambda c: canary(c, "shop2:app"), shop, seed=5)
    assert told["rolled_back"] and "of its answers failed" in told["why"], told
    assert apps == ["shop1:app"] * 4


@pytest.mark.soak
def test_a_canary_that_serves_as_well_is_followed_by_the_others(shop: Any) -> None:
    told, apps = emu.run(lambda c: canary(c, "shop3:app"), shop, seed=5)
    assert not told["rolled_back"], told
    assert apps == ["shop3:app"] * 4


def test_a_version_that_is_not_there_is_refused_before_anything_ends(shop: Any) -> None:
    async def script(c: emu.Scenario) -> str:
        await c.sleep(1)
        with pytest.raises((ValueError, RpcError)) as refused:
            await done(c, "deploy", "web", app="nowhere:app")
        assert all(row["generation"] == 1 for row in await c.ps("web"))
        return str(refused.value)

    assert "nowhere" in emu.run(script, shop, seed=6)


def test_who_is_down_or_comes_while_a_version_is_deployed_has_it_afterwards(shop: Any) -> None:
    async def script(c: emu.Scenario) -> Any:
        await c.kill("web-2")
        c.start_playing([FaultItem(Scale("web", 6), at_s=c.now_s + 2)], own=True)
        told = await done(c, "deploy", "web", app="shop3:app")
        await c.start("web-2")
        await c.scale("web", nodes=7)
        apps = [each.placement.config.app for each in c.cluster.tier_instances("web")]
        return told["rolled_back"], apps

    rolled_back, apps = emu.run(script, shop, seed=3)
    assert not rolled_back
    assert apps == ["shop3:app"] * 7


def test_a_tier_that_is_scaled_away_while_it_is_deployed_ends_the_deploy(shop: Any) -> None:
    async def script(c: emu.Scenario) -> Any:
        c.start_playing([FaultItem(Scale("web", 0), at_s=c.now_s + 0.1)], own=True)
        told = await done(c, "deploy", "web", app="shop3:app")
        await c.scale("web", nodes=1)
        apps = [each.placement.config.app for each in c.cluster.tier_instances("web")]
        return told, apps

    told, apps = emu.run(script, shop, seed=3)
    assert not told["rolled_back"]
    assert apps == ["shop3:app"]


async def blue_green(c: emu.Scenario, app: str) -> Any:
    """What came of it, and how many of both versions took traffic at each event."""
    await c.sleep(3)
    seen: list[tuple[str, ...]] = []

    def look(event: Any) -> None:
        if event["event"] in ("node up", "node stopped", "traffic switched"):
            instances = c.cluster.tier_instances("web")
            seen.append(tuple(sorted({
                each.placement.config.app for each in instances
                if each.state == "up" and not each.held
            })))  # fmt: skip

    c.cluster.events.listeners.append(look)
    told = await done(c, "deploy", "web", app=app, blue_green=True, watch_s=8.0)
    there = [(each.spec.name, each.placement.config.app, each.held)
             for each in c.cluster.tier_instances("web")]  # fmt: skip
    return told, there, seen, await c.finish()


def test_blue_green_never_serves_two_versions_and_ends_with_the_machines_it_began_with(
    shop: Any,
) -> None:
    told, there, seen, found = emu.run(lambda c: blue_green(c, "shop3:app"), shop, seed=5)
    assert not told["rolled_back"], told
    assert there == [(f"web-{number}", "shop3:app", False) for number in range(1, 5)]
    assert all(len(apps) == 1 for apps in seen), "one version at a time has the traffic"
    assert found["availability"] == 1.0


def test_blue_green_goes_back_at_once_where_the_new_version_is_worse(shop: Any) -> None:
    told, there, _, _ = emu.run(lambda c: blue_green(c, "shop2:app"), shop, seed=5)
    assert told["rolled_back"] and "of its answers failed" in told["why"], told
    assert there == [(f"web-{number}", "shop1:app", False) for number in range(1, 5)]


def test_a_group_with_a_leader_is_not_switched() -> None:
    async def script(c: emu.Scenario) -> None:
        await c.sleep(1)
        with pytest.raises((ValueError, RpcError), match="has a leader"):
            await done(c, "deploy", "db", blue_green=True)
        assert len(await c.ps("db")) == 3

    emu.run(script, loads(SITE), seed=6)
