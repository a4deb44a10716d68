"""From measurements to machines: what is measured, what is derived, what is said."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from emu.cli.verbs import app
from emu.planning import prices
from emu.planning.checking import ANSWERED, MEAN, WORKED_OFF, Check
from emu.planning.measuring import Measured, NoUsers, TierLoad, measure, rate_of
from emu.planning.page import render
from emu.planning.plan import answer, model, requests_per_s
from emu.planning.queueing import wait_s
from emu.topology.loading import load, loads

THREE = str(Path(__file__).parents[2] / "topologies" / "03-vertical-scaling.yaml")


def measured(
    rate_per_s: float, *, busy: float, led: bool = False, mean_s: float = 0.02
) -> Measured:
    waited = 0.25 * rate_per_s * wait_s(1, busy / rate_per_s, rate_per_s / 3, varies=1.0)
    web = TierLoad(
        3, 1, busy, busy / 2 if led else busy / 3, rate_per_s, waited, 1000.0 * rate_per_s, led
    )
    db = TierLoad(1, 0, 0.0, 0.0, 0.0, 0.0, 0.0, False)
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
    assert web.varies == pytest.approx(0.25)


def test_a_site_that_answers_no_more_when_asked_more_cannot_be_planned():
    with pytest.raises(ValueError, match="no more requests"):
        model(measured(50, busy=1.0), measured(50, busy=1.0))


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


def test_a_site_without_users_says_so():
    nobody = loads("tiers: {web: {kind: web, public: true}}")
    assert rate_of(nobody) == 0
    with pytest.raises(NoUsers, match="nobody visits"):
        measure(nobody, 10, 1)


# --- the command ---------------------------------------------------------------------------------


def plan(*words: str):
    return CliRunner().invoke(app, ["plan", *words], env={"COLUMNS": "120"})


def test_the_plan_of_a_step_names_machines_bottleneck_and_cost(monkeypatch):
    monkeypatch.setattr("emu.cli.plan.LOOKED_S", 6.0)
    result = plan(THREE, "--users", "1M", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["bottleneck"] == "web" and found["step"] == "03"
    assert found["ceiling_per_s"] == pytest.approx(50, rel=0.1)
    web = next(each for each in found["tiers"] if each["tier"] == "web")
    assert web["nodes"] == pytest.approx(math.ceil(1157.4 * 0.02 / 0.7) + 1, abs=2)
    assert web["after_losing_one"] > web["utilization"] > 0.5
    assert found["cost_per_month"] > 0 and found["requests_per_s"] == pytest.approx(1157.407)


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
        ("of: " + "[" * 5000, "is not YAML"),
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
    monkeypatch.setattr("emu.cli.plan.LOOKED_S", 1.0)
    monkeypatch.setattr("emu.cli.plan.MOST_PER_S", 20.0)
    file = tmp_path / "plain.yaml"
    file.write_text(
        "tiers: {web: {kind: web, public: true}}\nusers: {local: {rate: 9/s, visits: web}}"
    )
    result = plan(str(file), "--out", str(tmp_path / "page.html"))
    assert result.exit_code == 1
    assert "no tier has a ceiling" in " ".join(result.stderr.split())
