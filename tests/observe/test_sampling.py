"""The samples: what came since the last one, merged without loss, whole over restarts."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import emu
from emu.observe import sampling
from emu.observe.sampling import Counts, Sampler
from nodes.metrics import LATENCY_BUCKETS_S, LATENCY_EDGES_S, Histogram
from tests.observe.pages import FOUR


def with_latencies(*latencies_s: float) -> Counts:
    counts = Counts(len(latencies_s))
    for latency_s in latencies_s:
        place = sum(edge < latency_s for edge in LATENCY_EDGES_S)
        counts.buckets[place] = counts.buckets.get(place, 0) + 1
    return counts


def test_there_is_no_quantile_of_nothing_and_none_beyond_the_last_edge():
    assert Counts().quantile_s(0.99) is None
    assert with_latencies(600.0).quantile_s(0.5) == LATENCY_EDGES_S[-1], "beyond the last edge"


@given(st.lists(st.floats(0.00002, 99.0), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_a_quantile_is_within_five_percent_of_an_observation(latencies_s, fraction):
    found = with_latencies(*latencies_s).quantile_s(fraction)
    rank = max(0, math.ceil(fraction * len(latencies_s)) - 1)
    truth = sorted(latencies_s)[rank]
    assert found == pytest.approx(truth, rel=0.045)


def test_what_prometheus_is_shown_adds_up_at_its_bounds():
    histogram = Histogram(LATENCY_BUCKETS_S)
    values_s = [0.00001, 0.0005, 0.00051, 0.0312, 0.25, 0.2500001, 9.9, 10.0, 10.1, 500.0]
    for value_s in values_s:
        histogram.observe(value_s)
    shown = [sum(value_s <= bound for value_s in values_s) for bound in LATENCY_BUCKETS_S]
    assert histogram.shown() == [*shown, len(values_s)]


async def sampled(c: emu.Scenario) -> Sampler:
    sampler = Sampler(c.cluster)
    c.cluster.nursery.start_soon(sampler.run)
    await c.sleep(5)
    await c.crash("web-1", for_s=1)
    await c.sleep(5.5)
    return sampler


def test_a_tier_and_its_nodes_are_told_over_the_same_seconds_however_often_one_looks():
    async def script(c: emu.Scenario) -> None:
        sampler = await sampled(c)
        for _ in range(5):
            await c.sleep(0.01)
            await sampler.sample()
        names = [each.spec.name for each in c.cluster.tier_instances("web")]
        of_tier, seconds = sampler.recent("web")
        of_nodes = [sampler.recent(node=name) for name in names]
        assert {each[1] for each in of_nodes} == {seconds} and 2 < seconds < 4
        assert sum(each[0].requests for each in of_nodes) == of_tier.requests > 10
        assert min(each.seconds for each in sampler.samples) > 0.4, "no rate is an accident"

    emu.run(script, FOUR, seed=1)


def test_samples_add_up_to_what_was_counted_even_when_a_node_begins_anew():
    async def script(c: emu.Scenario) -> None:
        sampler = await sampled(c)
        await sampler.sample()
        web = [each.tiers["web"] for each in sampler.samples]
        assert all(
            counts.requests >= 0 and min(counts.buckets.values(), default=0) >= 0 for counts in web
        )
        for tier, name in (("users-local", "user_requests_total"), ("db", "requests_total")):
            counted = sum(each.tiers[tier].requests for each in sampler.samples)
            assert counted == c.metrics(tier, name) > 100, tier
        assert sum(each.seconds for each in sampler.samples) == pytest.approx(10.5)
        assert sampler.nodes["web-1"].cpu_busy_ratio > 0
        assert sampler.nodes["db-1"].cpu_busy_ratio is None, "none was declared"

    emu.run(script, FOUR)


def test_reads_and_writes_of_clients_are_apart_and_add_up():
    async def script(c: emu.Scenario) -> None:
        sampler = await sampled(c)
        await sampler.sample()
        total = Counts()
        for sample in sampler.samples:
            total.add(Counts.from_json(sample.tiers["users-local"].to_json()))
        reads, writes = total.effects["read"], total.effects["write"]
        assert reads.requests > 3 * writes.requests > 30
        assert reads.requests + writes.requests == total.requests
        assert sum(writes.buckets.values()) + sum(reads.buckets.values()) == sum(
            total.buckets.values()
        )
        assert not sampler.samples[-1].tiers["web"].effects
        rows = (await c.finish())["by_clients"]
        assert [(each["clients"], each["effect"]) for each in rows] == [
            ("users-local", "read"), ("users-local", "write"),
        ]  # fmt: skip
        assert all(each["latency_s"]["p99"] > each["latency_s"]["p50"] > 0 for each in rows)

    emu.run(script, FOUR)


def test_a_long_run_keeps_coarser_samples_with_the_same_sums(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sampling, "MAX_SAMPLES", 6)

    async def script(c: emu.Scenario) -> None:
        sampler = await sampled(c)
        await sampler.sample()
        assert len(sampler.samples) <= 6
        assert sum(each.seconds for each in sampler.samples) == pytest.approx(10.5)
        assert sum(each.tiers["db"].requests for each in sampler.samples) == c.metrics(
            "db", "requests_total"
        )
        times = [each.time_s for each in sampler.samples]
        assert times == sorted(times)

    emu.run(script, FOUR)


def test_what_was_before_time_stood_still_keeps_its_place_in_the_calendar(monkeypatch):
    """Ten seconds were withheld in the sixth second of the run."""

    async def script(c: emu.Scenario) -> None:
        withheld_s = 0.0
        began_s = c.now_s
        calendar = SimpleNamespace(time=lambda: 1_000.0 + c.now_s - began_s + withheld_s)
        monkeypatch.setattr(sampling, "time", calendar)
        sampler = Sampler(c.cluster)
        c.cluster.nursery.start_soon(sampler.run)
        await c.sleep(5.5)
        withheld_s = 10.0
        await c.sleep(5.0)
        places = [sampler.unix_s(began_s + each) for each in (0.0, 2.0, 4.9, 7.0, 10.2)]
        assert places == pytest.approx([1000.0, 1002.0, 1004.9, 1017.0, 1020.2])

    emu.run(script, FOUR)
