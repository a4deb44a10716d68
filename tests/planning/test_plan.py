"""From measurements to machines: what is measured, what is derived, what is said."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from emu.cli.verbs import app
from emu.model.topology import Topology
from emu.planning import prices
from emu.planning.checking import ANSWERED, MEAN, WORKED_OFF, Check, Unsampled, check
from emu.planning.measuring import Load, Measured, NoUsers, TierLoad, grown, measure, rate_of
from emu.planning.page import render
from emu.planning.plan import Cost, Model, Point, Queue, answer, model, requests_per_s
from emu.planning.probing import find
from emu.planning.queueing import wait_s
from emu.topology.loading import load, loads

THREE = str(Path(__file__).parents[2] / "topologies" / "03-vertical-scaling.yaml")


def measured(
    rate_per_s: float, *, busy: float, led: bool = False, mean_s: float = 0.02
) -> Measured:
    """A web tier of three, and a database without a `cpu:`; with `led` the first does half."""
    waited_s = 0.25 * wait_s(1, busy / rate_per_s, rate_per_s / 3, varies=1.0)
    shares = (1 / 2, 1 / 4, 1 / 4) if led else (1 / 3, 1 / 3, 1 / 3)
    members = tuple(
        Load(busy * each, rate_per_s * each, waited_s * rate_per_s * each) for each in shares
    )
    web = TierLoad(1, members, 1000.0 * rate_per_s, led)
    db = TierLoad(0, (Load(0.0, 0.0, 0.0),), 0.0, False)
    return Measured(rate_per_s, rate_per_s, mean_s, 0.001, {"web": web, "db": db})


def test_what_grows_with_requests_is_theirs_and_the_rest_is_there_anyway():
    found = model(measured(10, busy=0.15), measured(110, busy=0.65))
    (web,) = (each for each in found.costs if each.tier == "web")
    assert web.demand_s == pytest.approx(0.005)
    assert web.idle == pytest.approx(0.10)
    assert found.ceiling_per_s == pytest.approx((3 - 0.10) / 0.005)
    assert found.bottleneck is web


def test_a_leader_is_a_ceiling_that_more_members_do_not_lift():
    found = model(measured(10, busy=0.1, led=True), measured(110, busy=1.1, led=True))
    (web,) = (each for each in found.costs if each.tier == "web")
    assert found.ceiling_per_s == pytest.approx(1 / 0.005)
    assert web.needed(1000) == 3


def test_what_a_leader_does_without_requests_lowers_its_ceiling():
    found = model(measured(10, busy=0.3, led=True), measured(110, busy=1.3, led=True))
    assert found.ceiling_per_s == pytest.approx((1 - 0.1) / 0.005)


def test_those_that_follow_wait_less_than_who_leads():
    found = model(measured(10, busy=0.1, led=True), measured(110, busy=1.1, led=True))
    (web,) = (each for each in found.costs if each.tier == "web")
    leader, others = web.queues
    assert (leader.nodes, others.nodes) == (1, 2)
    assert leader.waiting_s(201) == math.inf
    assert 0 < others.waiting_s(201) < math.inf


def test_of_a_second_machine_beside_a_lone_one_half_the_work_is_expected():
    """Where one leads, too: reads are shared, and how many those are was not seen."""
    lone = Queue(1, 16, (Point(10, 0.1, 10, 0.5), Point(110, 1.1, 110, 0.5)))
    db = Cost("db", 1, 16, (lone,), 0.0, led=True)
    assert db.utilization(400) == pytest.approx(0.25)
    assert db.utilization(400, 2) == pytest.approx(0.125)


def test_a_plan_warns_of_a_leader_that_more_members_do_not_help():
    found = model(measured(10, busy=0.1, led=True), measured(110, busy=1.1, led=True))
    told = answer(found, 1e6, 180.0, 90.0, "05", prices.read())
    assert "its leader would be 90% busy" in told.cautions[0]
    assert "db: no `cpu:` is declared" in told.cautions[1]


def test_waiting_is_added_to_what_a_request_takes_alone():
    found = model(measured(10, busy=0.05), measured(110, busy=0.55))
    assert found.mean_s(10) == pytest.approx(0.02)
    assert found.mean_s(500) > found.mean_s(300) > found.mean_s(10)
    assert found.mean_s(700) == math.inf


def test_waits_are_as_long_as_they_were_seen_to_be():
    found = model(measured(10, busy=0.05), measured(110, busy=0.55))
    (web,) = (each for each in found.costs if each.tier == "web")
    assert web.queues[0].points[0].varies == pytest.approx(0.25)


def test_a_site_that_answers_no_more_when_asked_more_cannot_be_planned():
    with pytest.raises(ValueError, match="no more requests"):
        model(measured(50, busy=1.0), measured(50, busy=1.0))


def probed(monkeypatch: pytest.MonkeyPatch, busy: Callable[[float], float]) -> tuple[Model, int]:
    """What is found of a site of which one core is so busy at a rate, and after how many runs."""
    rates: list[float] = []

    def of_paper(_: Topology, rate_per_s: float, for_s: float, **__: Any) -> Measured:
        load = Load(min(1.0, busy(rate_per_s)), rate_per_s, 0.0)
        web = TierLoad(1, (load,), 0.0, False)
        ok_per_s = rate_per_s / max(1.0, busy(rate_per_s))
        return Measured(rate_per_s, ok_per_s, 0.02, 0.001, {"web": web})

    def starts(rate_per_s: float) -> Callable[[float], object]:
        rates.append(rate_per_s)
        return lambda share: None

    monkeypatch.setattr("emu.planning.probing.measure", of_paper)
    return find(load(THREE), starts), len(rates)


@pytest.mark.parametrize("ceiling_per_s", [3.0, 50.0, 80.0, 470.0])
def test_a_ceiling_is_found_wherever_it_is(monkeypatch, ceiling_per_s):
    found, runs = probed(monkeypatch, lambda rate_per_s: rate_per_s / ceiling_per_s)
    assert found.ceiling_per_s == pytest.approx(ceiling_per_s) and runs <= 10


def test_a_ceiling_is_found_where_waits_make_more_work(monkeypatch):
    found, runs = probed(
        monkeypatch, lambda rate_per_s: rate_per_s / 125 + max(0.0, rate_per_s - 90) / 100
    )
    assert found.ceiling_per_s == pytest.approx(105.6, rel=0.05) and runs <= 10


def test_people_ask_at_the_peak_what_the_day_says_times_the_peak():
    assert requests_per_s(1e6, 50, 2) == pytest.approx(1157.4, abs=0.1)


def test_a_prediction_holds_within_its_bounds():
    assert Check(0.5, "x", 100, 104, 5).held
    assert not Check(0.5, "x", 100, 94, 5).held


def test_demands_are_measured_and_not_read_off_the_file():
    topology = load(THREE)
    slow = measure(topology, 10, 8)
    assert slow.tiers["web"].busy == pytest.approx(slow.requests_per_s * 0.020, rel=0.15)
    disk = load(THREE, settings=["db.disk={sync_latency: 30ms}"])
    assert measure(disk, 10, 8).mean_s > slow.mean_s + 0.002


def test_of_people_who_are_a_sample_all_are_sent_and_none_stands_for_others():
    text = """\
tiers: {web: {kind: web, public: true, cpu: {cores: 2, service_time: 5ms}}}
users: {local: {population: 1M, think_time: 30s, sample: 0.1%, visits: web}}
"""
    seen = measure(loads(text), 20, 5)
    assert seen.tiers["web"].busy == pytest.approx(seen.requests_per_s * 0.005, rel=0.1)


def test_of_more_than_one_can_send_a_sample_is_sent_and_the_others_take_cores():
    topology = loads("""\
tiers: {web: {kind: web, public: true, cpu: {cores: 4, service_time: 5ms}}}
users: {local: {rate: 9/s, visits: web}}
""")
    told: list[float] = []
    seen = measure(topology, 400, 5.0, stands_for=20, passes=told.append)
    assert seen.requests_per_s == pytest.approx(400, rel=0.2)
    web = seen.tiers["web"]
    assert web.busy == pytest.approx(400 * 0.005, rel=0.1)
    assert web.works == pytest.approx(seen.requests_per_s, rel=0.1)
    assert told == sorted(told) and 0 < told[0] < told[-1] <= 1.001


def ceiling(per_s: float) -> Model:
    """Of one machine that is found to bear so many."""
    points = (Point(per_s / 10, 0.1, per_s / 10, 0.5), Point(per_s / 2, 0.5, per_s / 2, 0.5))
    return Model((Cost("web", 1, 1, (Queue(1, 1, points),), 0.0, led=False),), 0.02)


@pytest.mark.parametrize(("per_s", "sampled"), [(800.0, False), (50_000.0, True)])
def test_no_check_sends_more_requests_than_one_has_time_for(monkeypatch, per_s, sampled):
    sent: list[float] = []

    def of_paper(_: Topology, rate_per_s: float, *__: Any, stands_for: float, **___: Any):
        sent.append(rate_per_s / stands_for)
        return measured(rate_per_s, busy=min(1.0, rate_per_s / per_s))

    monkeypatch.setattr("emu.planning.checking.measure", of_paper)
    checks = list(check(load(THREE), ceiling(per_s), lambda *_: lambda share: None))
    assert [each.what for each in checks].count(MEAN) == (0 if sampled else 2)
    assert sent == pytest.approx([600] * 3 if sampled else [400, 640, 880])


def test_of_a_sample_the_busier_half_of_the_servers_says_what_is_full():
    loads = [Load(busy, 10.0, 0.0) for busy in (0.6, 1.0, 0.7, 0.98)]
    web = TierLoad(1, tuple(loads), 0.0, led=False)
    assert web.utilization == pytest.approx(0.82)
    assert web.busier_half == pytest.approx(0.99)
    assert replace(web, led=True).busier_half == 1.0


def test_of_a_cpu_that_wants_all_to_be_there_no_sample_is_simulated():
    lifo = loads("""\
tiers: {web: {kind: web, public: true, cpu: {cores: 1, service_time: 5ms, order: lifo}}}
users: {local: {rate: 9/s, visits: web}}
""")
    with pytest.raises(Unsampled, match="`order` of its cpu"):
        list(check(lifo, ceiling(50_000.0), lambda *_: lambda share: None))


def test_a_run_ends_when_its_mean_is_known_and_not_before():
    topology = loads("""\
tiers: {web: {kind: web, public: true, cpu: {cores: 1, service_time: 5ms}}}
users: {local: {rate: 9/s, visits: web}}
""")
    asked: list[float] = []

    def second(seen: Measured) -> bool:
        asked.append(seen.mean_within_s)
        return len(asked) == 2

    seen = measure(topology, 20, 10.0, enough=second)
    assert len(asked) == 2 and seen.mean_within_s == asked[1]
    assert seen.requests_per_s * 4.0 == pytest.approx(round(seen.requests_per_s * 4.0))


def test_a_tier_that_is_scaled_is_planned_with_the_most_that_it_may_have():
    topology = grown(
        loads("""\
tiers:
  web: {kind: web, public: true, nodes: 2, cpu: {cores: 1, service_time: 50ms}}
  hpa: {kind: autoscaler, scales: web, targets: {cpu: 60%}, max_nodes: 5}
users: {local: {rate: 9/s, visits: web}}
""")
    )
    assert [(tier.name, len(tier.members)) for tier in topology.tiers] == [
        ("web", 5),
        ("users-local", 1),
    ]


def test_a_site_without_users_says_so():
    nobody = loads("tiers: {web: {kind: web, public: true}}")
    assert rate_of(nobody) == 0
    with pytest.raises(NoUsers, match="nobody visits"):
        measure(nobody, 10, 1)


# --- the command ---------------------------------------------------------------------------------


def plan(*words: str):
    return CliRunner().invoke(app, ["plan", *words], env={"COLUMNS": "120"})


def test_the_plan_of_a_step_names_machines_bottleneck_and_cost(monkeypatch):
    monkeypatch.setattr("emu.planning.probing.LOOKED_S", 6.0)
    monkeypatch.setattr("emu.planning.measuring.WARM_UP_S", 6.0)
    result = plan(THREE, "--users", "1M", "--json", "--set", "users.local.rate=20/s")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["bottleneck"] == "web" and found["step"] == "03"
    assert found["ceiling_per_s"] == pytest.approx(50, rel=0.1)
    web = next(each for each in found["tiers"] if each["tier"] == "web")
    assert web["nodes"] == pytest.approx(math.ceil(1157.4 * 0.02 / 0.7) + 1, abs=2)
    assert web["after_losing_one"] > web["utilization"] > 0.5
    assert found["cost_per_month"] > 0 and found["requests_per_s"] == pytest.approx(1157.407)
    machines = sum(each["cost_per_month"] for each in found["tiers"])
    storage = found["storage_cost_per_month"]
    assert found["cost_per_month"] == pytest.approx(machines + storage, abs=0.02)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--users", "many"], "is no number of people"),
        (["--users", "0"], "is no number of people"),
        (["--peak", "0.5"], "--peak at least 1"),
        (["--prices", "/nowhere.yaml"], "--prices:"),
    ],
)
def test_what_cannot_be_planned_is_said(words, told):
    result = plan(THREE, *words)
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1", "prices are a mapping"),
        ("of: x\ncurrency: USD\nmachine: -1\ncore: 1\ngb_month: 1", "`machine` is a number from 0"),
        ("of: 7\ncurrency: USD\nmachine: 1\ncore: 1\ngb_month: 1", "`of` is a text"),
        ("of: x\ncurrency: USD\nmachine: .inf\ncore: 1\ngb_month: 1", "`machine` is a number"),
        ("of: [", "is not YAML"),
        ("of: " + "[" * 900, "is not YAML"),
        ("of: \udcff", "is not YAML"),
    ],
)
def test_a_file_of_prices_that_makes_no_sense_is_refused(tmp_path, text, told):
    file = tmp_path / "prices.yaml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="prices") as caught:
        prices.read(file)
    assert told in str(caught.value)


# --- the picture ---------------------------------------------------------------------------------


def drawn(checks: Sequence[Check] = ()) -> tuple[str, dict[str, Any]]:
    found = model(measured(10, busy=0.05), measured(110, busy=0.55))
    page = render("shop", found, checks, 0.001)
    data = re.search(r'id="plan">(.+)</script>', page)
    assert data is not None
    return page, json.loads(data[1])


def test_the_knee_is_where_more_asked_for_costs_more_waiting_than_it_brings():
    found = model(measured(10, busy=0.05), measured(110, busy=0.55))

    def power(rate_per_s: float) -> float:
        return rate_per_s / found.mean_s(rate_per_s)

    knee = found.knee_per_s
    assert 0.3 * found.ceiling_per_s < knee < found.ceiling_per_s
    assert power(knee) > power(0.9 * knee) and power(knee) > power(1.1 * knee)


def test_the_picture_has_curves_knee_ceiling_and_what_was_simulated():
    page, data = drawn([Check(0.5, ANSWERED, 300, 298, 15), Check(0.5, MEAN, 0.02, 0.05, 0.003),
                        Check(1.1, WORKED_OFF, 600, 590, 30)])  # fmt: skip
    assert "src=" not in page and "http://" not in page  # it needs nothing else
    assert [word in page for word in (">knee<", ">ceiling<", "planned: 70% busy")] == [True] * 3
    assert page.count('class="seen"') == 3 and page.count("not held") == 1
    assert "600k users ask 600 requests/s: there web has no core free" in page
    answered = [each["answered_per_s"] for each in data["curve"]]
    assert answered[-1] == pytest.approx(data["ceiling_per_s"]) == max(answered)
    waits = [each["mean_s"] for each in data["curve"] if each["mean_s"] is not None]
    assert waits == sorted(waits) and data["curve"][-1]["mean_s"] is None


def test_without_a_ceiling_there_is_nothing_to_draw(tmp_path, monkeypatch):
    for name in ("probing.LOOKED_S", "probing.FIRST_S", "measuring.LEAST_WARM_UP_S"):
        monkeypatch.setattr(f"emu.planning.{name}", 1.0)
    monkeypatch.setattr("emu.planning.measuring.WARM_UP_S", 1.0)
    file = tmp_path / "plain.yaml"
    file.write_text(
        "tiers: {web: {kind: web, public: true}}\nusers: {local: {rate: 9/s, visits: web}}"
    )
    result = plan(str(file), "--out", str(tmp_path / "page.html"))
    assert result.exit_code == 1
    assert "no tier has a ceiling" in " ".join(result.stderr.split())


DOCS = Path(__file__).parents[2] / "docs" / "planning.md"


@pytest.mark.soak
def test_a_site_that_is_known_is_planned_as_the_docs_say():
    text = " ".join(DOCS.read_text("utf-8").replace("\\\n", " ").split())
    command, said = re.findall(r"``` emu (plan 04 .+?) ``` (.+?) ## ", text)[0]
    found = json.loads(plan(*shlex.split(command)[1:], "--json").stdout)
    web, db = (
        next(each for each in found["tiers"] if each["tier"] == name) for name in ("web", "db")
    )
    assert f"says {found['requests_per_s']:,.0f} requests a second; {web['nodes']} web" in said
    assert f"16 cores {db['utilization']:.0%} busy" in said
    assert f"asks it {db['demand_s'] / 0.0012:.1f} times" in said
