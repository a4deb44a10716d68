"""The samples: what came since the last one, merged without loss, whole over restarts."""

from __future__ import annotations

import pytest

import emu
from emu.observe import sampling
from emu.observe.sampling import Counts, Sampler
from nodes.parts.metrics import LATENCY_BUCKETS_S
from tests.observe.pages import FOUR


def with_latencies(*latencies_s: float) -> Counts:
    counts = Counts(len(latencies_s))
    for latency_s in latencies_s:
        counts.buckets[sum(bound < latency_s for bound in LATENCY_BUCKETS_S)] += 1
    return counts


def test_quantiles_are_interpolated_within_their_bucket():
    assert Counts().quantile_s(0.99) is None
    ten = with_latencies(*[0.02] * 10)  # all in (0.01, 0.025]
    assert ten.quantile_s(0.5) == pytest.approx(0.0175)
    assert ten.quantile_s(1.0) == pytest.approx(0.025)
    assert with_latencies(60.0).quantile_s(0.5) == LATENCY_BUCKETS_S[-1], "beyond the last bound"


async def sampled(c: emu.Scenario) -> Sampler:
    sampler = Sampler(c.cluster)
    c.cluster.nursery.start_soon(sampler.run)
    await c.sleep(5)
    await c.crash("web-1", for_s=1)
    await c.sleep(5.5)
    return sampler


def test_samples_add_up_to_what_was_counted_even_when_a_node_begins_anew():
    async def script(c: emu.Scenario) -> None:
        sampler = await sampled(c)
        await sampler.sample()
        web = [each.tiers["web"] for each in sampler.samples]
        assert all(counts.requests >= 0 and min(counts.buckets) >= 0 for counts in web)
        for tier, name in (("users-local", "user_requests_total"), ("db", "requests_total")):
            counted = sum(each.tiers[tier].requests for each in sampler.samples)
            assert counted == c.metrics(tier, name) > 100, tier
        assert sum(each.seconds for each in sampler.samples) == pytest.approx(10.5)
        assert sampler.nodes["web-1"].cpu_busy_ratio > 0
        assert sampler.nodes["db-1"].cpu_busy_ratio is None, "none was declared"

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
