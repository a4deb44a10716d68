"""Several data centres: regions die, are cut off and return; their people are served elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from emu.topology.loading import loads

TTL_S, DETECTION_S = 3.0, 2.5
"""A check each second, two of them failed, half a second each to fail."""
SITE = f"""
regions: [us, eu, ap]
links: {{defaults: {{within: 0.3ms, between: 40ms}}}}
tiers:
  dns: {{kind: dns, public: true, regions: [us, eu], per_region: 1, zone: a.test, answers: lb, ttl: {TTL_S}s,
        check: http, check_path: /health/live, check_interval: 1s, check_timeout: 500ms, fall: 2, rise: 2}}
  lb: {{kind: balancer, public: true, regions: [us, eu], per_region: 1, balances: web, check_interval: 1s}}
  web: {{kind: web, regions: [us, eu], per_region: 1, uses: db, reads: replicas}}
  db: {{kind: database, nodes: {{us: 2, eu: 2, ap: 1}}, prefers: [us, eu]}}
users:
  us: {{rate: 8/s, visits: lb, resolver: dns, timeout: 1s, retries: 0}}
  eu: {{rate: 8/s, visits: lb, resolver: dns, timeout: 1s, retries: 0}}
"""  # noqa: E501
AWAY_S = 15.0


def broken(verb: str, *words: str, text: str = SITE, seed: int = 1) -> dict[str, Any]:
    """The summary and the events of a run in which that is so from 4 s on, for AWAY_S."""

    async def script(c: emu.Scenario) -> dict[str, Any]:
        await c.sleep(4.0)
        await getattr(c, verb)(*words, for_s=AWAY_S)
        await c.sleep(AWAY_S + 6.0)
        summary = await c.finish()
        roles = {row["name"]: row["role"] for row in await c.ps("db")}
        return {**summary, "events": c.events(), "roles": roles}

    return emu.run(script, loads(text), seed=seed)


def promotions(found: dict[str, Any]) -> list[str]:
    return [each["node"] for each in found["events"] if each["event"] == "promoted"]


@pytest.fixture(scope="module", params=["kill", "partition"])
def without_us(request: pytest.FixtureRequest) -> dict[str, Any]:
    return broken(request.param, "region us" if request.param == "kill" else "us")


def test_a_regions_people_are_served_elsewhere_after_detection_and_what_caches_remember(without_us):
    bound_s = DETECTION_S + TTL_S + 2.5  # and a second and more for the primary's successor
    assert without_us["requests"] > 300
    assert without_us["outage_s"] <= bound_s
    assert without_us["errors"] <= 16 * bound_s
    late = [e for e in without_us["events"] if e["event"] == "address withdrawn"
            and e["node"] == "dns-2" and 4.0 < e["time_s"] < 4.0 + DETECTION_S]  # fmt: skip
    assert [each["server"] for each in late] == ["lb-1"]


def test_nothing_acknowledged_is_lost_with_a_region_and_nothing_when_it_returns(without_us):
    assert without_us["lost_acknowledged_writes"] == without_us["duplicated_writes"] == 0
    assert without_us["acknowledged_writes"] > 30
    assert without_us["anomalies"] == []
    assert set(without_us["roles"].values()) == {"primary", "replica"}, "all are back"


def test_the_regions_that_are_left_elect_in_the_order_of_the_file(without_us):
    first, *later = promotions(without_us)
    assert first in ("db-1", "db-4") and later and later[0] in ("db-2", "db-5"), "us, then eu"


@pytest.mark.parametrize("seed", range(1, 4))
def test_where_only_the_primary_dies_its_own_region_has_the_next_one(seed):
    tiers = SITE.replace("  us: {rate: 8/s, ", "  us: {rate: 1/s, ").partition("  eu: {rate")[0]
    found = broken("kill", "db primary", text=tiers, seed=seed)
    assert set(promotions(found)) == {"db-1", "db-4"}


def test_pages_are_read_near_and_writes_cross_the_ocean():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        await c.sleep(10)
        return await c.finish()

    found = emu.run(script, loads(SITE), seed=1)
    rows = {(each["region"], each["effect"]): each["latency_s"] for each in found["by_clients"]}
    assert rows["us", "read"]["p50"] < 0.03 and rows["eu", "read"]["p50"] < 0.03
    near_s, far_s = rows["us", "write"]["p50"], rows["eu", "write"]["p50"]
    assert 0.08 < near_s < 0.16, "a majority is on two continents"
    assert far_s > near_s + 0.06, "and the primary is on the other one"


def test_what_an_asynchronous_second_region_had_not_heard_is_told_by_key():
    text = SITE.replace("prefers: [us, eu]", "prefers: [us, eu], ack: async")

    async def script(c: emu.Scenario) -> dict[str, Any]:
        await c.sleep(4.0)
        await c.partition("us", "eu,ap", for_s=10.0)
        await c.sleep(0.8)
        await c.kill("region us", for_s=10.0)
        await c.sleep(16.0)
        return await c.finish()

    found = emu.run(script, loads(text.replace("timeout: 1s", "timeout: 1s, mix: {post: 200}")))
    lost = found["lost_writes"]
    assert 1 <= len(lost) == found["lost_acknowledged_writes"]
    assert all(4.0 <= each["acknowledged_s"] <= 5.5 for each in lost), "only what nobody heard"
    assert len({each["key"] for each in lost} | {each["value"] for each in lost}) >= len(lost)
    assert found["divergent_records"] >= 1, "and the old primary has saved it"
    assert found["anomalies"] == [], "the setting permits it"


STORES = """
regions: [us, eu, ap]
links: {defaults: {within: 0.3ms, between: 40ms}}
tiers:
  kv: {kind: kv, public: true, shards: 2, replicas: 2, prefers: [eu, ap]}
  queue: {kind: queue, public: true, topics: {jobs: {partitions: 2}}, prefers: [eu, ap]}
"""


@pytest.mark.parametrize("seed", [1])
def test_a_store_and_a_queue_have_their_primaries_where_they_are_preferred(seed):
    async def script(c: emu.Scenario) -> list[list[str]]:
        found = []
        for _ in range(2):
            await c.sleep(6.0)
            rows = await c.ps()
            found.append([each["region"] for each in rows if each["role"] == "primary"])
            await c.kill("region eu")
        return found

    primaries = emu.run(script, loads(STORES), seed=seed)
    members_in_eu = {"kv-shard-1", "kv-shard-2", "queue-broker-1"}
    assert primaries[0].count("eu") >= len(members_in_eu)
    assert primaries[1].count("ap") >= len(members_in_eu), "and then the next in the list"
