"""Any number of people, as one process of arrivals; and a sample of them that stands for all."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import pairwise
from math import sqrt
from typing import Any

import pytest

import emu
from emu.model.problems import TopologyError
from emu.topology.loading import loads
from nodes.users.config import UsersConfig
from nodes.users.node import UsersNode

SHOP = """\
tiers:
  web: {{kind: web, public: true, nodes: 2, cpu: {{cores: {cores}, service_time: 20ms}}}}
users:
  local: {{{people}, visits: web, mix: {{post: 0, asset: 0}}, retries: 0}}
"""


def run(people: str, *, cores: int = 1, for_s: float = 20.0):
    async def script(c):
        await c.sleep(for_s)
        return await c.finish()

    return emu.run(script, loads(SHOP.format(people=people, cores=cores)), seed=5)


def test_a_population_asks_as_often_as_so_many_clients_and_waits_as_long():
    each = run("clients: 120, think_time: 2s")
    together = run("population: 120, think_time: 2s")
    assert together["throughput_per_s"] == pytest.approx(each["throughput_per_s"], rel=0.05)
    assert together["latency_s"]["p50"] == pytest.approx(each["latency_s"]["p50"], rel=0.15)
    assert together["errors"] == each["errors"] == 0


def test_people_who_wait_do_not_ask():
    crowded = run("population: 400, think_time: 1s, timeout: 30s")
    assert (
        95 < crowded["throughput_per_s"] < 115
    )  # two cores, 20 ms each; and who waited at the end
    assert crowded["errors"] == 0


def test_a_sample_waits_as_long_as_all_would_and_keeps_cpus_as_busy():
    everybody = run("population: 1200, think_time: 10s, sample: 100%", cores=2)
    sample = run("population: 1200, think_time: 10s, sample: 10%", cores=2, for_s=80)
    assert sample["sample"] == 0.1 and everybody["sample"] == 1
    assert sample["throughput_per_s"] == pytest.approx(everybody["throughput_per_s"] / 10, rel=0.1)
    assert sample["latency_s"]["p50"] == pytest.approx(everybody["latency_s"]["p50"], rel=0.1)
    assert sample["latency_s"]["p99"] == pytest.approx(everybody["latency_s"]["p99"], rel=0.4)


def test_the_crowd_goes_where_its_sample_goes():
    async def script(c):
        await c.sleep(30)
        await c.scale("web", 1)
        await c.sleep(40)
        before = c.metrics("web-1", "cpu_busy_seconds_total")
        await c.sleep(20)
        return (c.metrics("web-1", "cpu_busy_seconds_total") - before) / 20

    people = "population: 4k, think_time: 100s, sample: 10%"
    topology = loads(SHOP.format(people=people, cores=1))
    alone = emu.run(script, topology, seed=5)
    assert alone == pytest.approx(40 * 0.020, rel=0.2)  # all of 40/s, where it had a half of them


def test_what_makes_no_sense_is_refused():
    for people, told in (
        ("population: 10, think_time: 0s", "needs a `think_time`"),
        ("population: 10, sample: 1%", "nobody is left"),
        ("population: 1B, sample: 50%", "take a smaller `sample`"),
        ("clients: 5, sample: 50%", "`clients` are all there"),
        ("population: 10, sample: 0%", "`sample` is from 0.01%"),
    ):
        with pytest.raises(TopologyError) as caught:
            loads(SHOP.format(people=people, cores=1))
        assert told in str(caught.value)


def test_all_people_of_a_file_sample_alike():
    text = SHOP.format(people="population: 10k, sample: 10%", cores=1)
    text = "regions: [local, far]\n" + text + "  far: {rate: 1/s, visits: web}\n"
    with pytest.raises(TopologyError, match="all people of a file sample alike"):
        loads(text)


def test_a_rate_is_sampled_too():
    config = UsersConfig(visits="web", rate_per_s=200.0, sample_ratio=0.05)
    assert config.rate().peak_per_s == pytest.approx(10)
    assert replace(config, sample_ratio=1.0).rate().peak_per_s == 200


@pytest.mark.parametrize(
    "option", ["order: lifo", "limit: gradient", "drop_expired: false", "drop_abandoned: false"]
)
def test_what_a_cpu_cannot_do_for_people_who_are_not_there_is_refused(option: str):
    cpu = f"cpu: {{cores: 1, service_time: 20ms, {option}}}"
    people = "users: {local: {population: 4k, think_time: 30s, sample: 1%, visits: web}}"
    text = f"tiers:\n  web: {{kind: web, public: true, {cpu}}}\n{people}\n"
    with pytest.raises(TopologyError) as caught:
        loads(text)
    (problem,) = caught.value.problems
    name = option.partition(":")[0]
    assert f"`{name}`" in problem.message and "`sample`" in problem.message
    assert (problem.line, problem.column) == (2, text.splitlines()[1].index(f"{option}") + 1)
    loads(text.replace(", sample: 1%", ""))


# --- as a thousand would -----------------------------------------------------------------------

STREET = """\
tiers:
  lb: {{kind: balancer, public: true, balances: web, check_interval: 500ms, fall: 2, rise: 1}}
  web: {{kind: web, nodes: 2, cpu: {{cores: 1, service_time: 15ms}}}}
users:
  local: {{{people}, think_time: 20s, visits: lb, mix: {{post: 0, asset: 0}}}}
"""
BY_ITSELF, ONE_IS_GONE = (0.0, 60.0), (60.0, 100.0)
"""From and to, in seconds: with both servers, and with one of them."""


def visits(people: str, swap: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """(when somebody came, seconds until the page was there); at last one server is gone."""
    seen, began_s = list[tuple[float, float]](), list[float]()
    sound = UsersNode._visit

    async def visit(self: UsersNode, user: Any, due_s: float) -> None:
        began_s[:] = began_s or [due_s]
        await sound(self, user, due_s)
        seen.append((due_s - began_s[0], self.ctx.clock.monotonic_s() - due_s))

    async def script(c):
        await c.sleep(ONE_IS_GONE[0])
        await c.kill("web-2")
        await c.sleep(ONE_IS_GONE[1] - ONE_IS_GONE[0])

    with swap.context() as inner:
        inner.setattr(UsersNode, "_visit", visit)
        emu.run(script, loads(STREET.format(people=people)), seed=5)
    return sorted(seen)


def furthest_apart(one: list[float], other: list[float]) -> float:
    """The statistic of Kolmogorov and Smirnov: how far two empirical distributions differ at most,
    as a multiple of what chance alone exceeds once in a hundred times."""
    one, other = sorted(one), sorted(other)
    apart = max(
        abs(bisect_right(one, x) / len(one) - bisect_right(other, x) / len(other))
        for x in (*one, *other)
    )
    return apart / (1.63 * sqrt((len(one) + len(other)) / (len(one) * len(other))))


@pytest.mark.soak
def test_a_thousand_together_come_and_wait_as_a_thousand_each_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    each, together = (visits(f"{how}: 1000", monkeypatch) for how in ("clients", "population"))
    for from_s, to_s in (BY_ITSELF, ONE_IS_GONE):
        came = [[at for at, _ in seen if from_s <= at < to_s] for seen in (each, together)]
        gaps = [[later - at for at, later in pairwise(times)] for times in came]
        waited = [sorted(s for at, s in seen if from_s <= at < to_s) for seen in (each, together)]
        tails = [times[int(0.95 * len(times))] for times in waited]
        apart = furthest_apart(*gaps)
        print(f"{from_s:.0f}-{to_s:.0f} s: arrivals {len(came[0])} and {len(came[1])}, apart "
              f"{apart:.2f} of the 1% bound; p95 {tails[0]:.4f} and {tails[1]:.4f} s")  # fmt: skip
        assert apart < 1
        assert len(came[1]) == pytest.approx(len(came[0]), rel=0.05)
        assert tails[1] == pytest.approx(tails[0], rel=0.15)
