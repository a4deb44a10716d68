"""The same rules and the same series, asked of emu and of Prometheus' own promtool: random series,
with gaps, ends, counters that begin again, and values around what the rules ask for."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from emu.alerts import language, rules
from emu.alerts.states import Alerts
from tests.alerts.series_text import STALE, Values, feed
from tests.alerts.test_rules import told
from tests.peers import need

SECONDS = 110
ASKED_AT = range(3, SECONDS, 7)
GAUGES = {
    'emu_node_up{{cluster="c",node="n-{0}",tier="t"}}': (0, 1, 1),
    'emu_is_primary{{cluster="c",node="n-{0}",tier="t"}}': (0, 0, 1),
    'emu_replication_lag_seconds{{cluster="c",node="n-1",replica="n-{0}"}}': (
        0,
        4.5,
        5,
        6.25,
        4000,
    ),
    'emu_slots_owned{{cluster="c",node="n-{0}",tier="t"}}': (0, 8192, 16384),
    'emu_oldest_unacked_seconds{{cluster="c",group="g-{0}",tier="t",topic="x"}}': (0, 60, 61.5),
    'emu_cpu_queue{{cluster="c",node="n-{0}"}}': (0, 100, 101, 1e6),
    'emu_current_queue{{cluster="c",node="n-1",server="s-{0}",tier="lb"}}': (0, 49, 51, 101),
    'emu_link_queue_seconds{{cluster="c",source="a",target="b-{0}"}}': (0, 0.5, 0.501, 2),
}
COUNTERS = {
    'emu_dead_lettered_total{{cluster="c",node="n-{0}",tier="t"}}': 0.05,
    'emu_rebalances_total{{cluster="c",node="n-{0}",tier="t"}}': 0.5,
    'emu_host_withheld_seconds_total{{cluster="c",node="n-{0}"}}': 0.06,
    'emu_host_seconds_total{{cluster="c",node="n-{0}"}}': 0.5,
    'emu_user_requests_total{{cluster="c",node="n-{0}",outcome="ok"}}': 20,
    'emu_user_requests_total{{cluster="c",node="n-{0}",outcome="error"}}': 4,
    'emu_cache_requests_total{{cluster="c",node="n-{0}",result="hit",tier="t"}}': 4,
    'emu_cache_requests_total{{cluster="c",node="n-{0}",result="miss",tier="t"}}': 4,
    'emu_cache_loads_total{{cluster="c",node="n-{0}",tier="t"}}': 15,
    'emu_loop_lag_seconds_bucket{{cluster="c",le="0.01",node="n-{0}"}}': 30,
    'emu_loop_lag_seconds_bucket{{cluster="c",le="0.025",node="n-{0}"}}': 31,
    'emu_loop_lag_seconds_bucket{{cluster="c",le="0.1",node="n-{0}"}}': 32,
    'emu_loop_lag_seconds_bucket{{cluster="c",le="+Inf",node="n-{0}"}}': 33,
}


def drawn(seed: int) -> dict[str, Values]:
    rng = random.Random(seed)
    found: dict[str, Values] = {}
    for text, choices in GAUGES.items():
        for number in range(1, rng.randint(1, 3) + 1):
            found[text.format(number)] = broken(rng, steps(rng, choices))
    for text, per_s in COUNTERS.items():
        for number in range(1, rng.randint(1, 2) + 1):
            found[text.format(number)] = broken(rng, growth(rng, per_s))
    return found


def steps(rng: random.Random, choices: tuple[float, ...]) -> list[float]:
    points: list[float] = []
    while len(points) < SECONDS:
        points += [float(rng.choice(choices))] * rng.randint(1, 40)
    return points[:SECONDS]


def growth(rng: random.Random, per_s: float) -> list[float]:
    value, points = 0.0, []
    for _ in range(SECONDS):
        if rng.random() < 0.02:
            value = 0.0
        value += round(rng.choice((0, per_s, per_s, 3 * per_s)), 6)
        points.append(value)
    return points


def broken(rng: random.Random, points: list[float]) -> Values:
    """Some seconds are missing, and some series end for a while."""
    found: Values = list(points)
    if rng.random() < 0.5:
        begin = rng.randrange(SECONDS)
        end = min(SECONDS, begin + rng.randint(1, 30))
        found[begin:end] = [None] * (end - begin)
        if rng.random() < 0.7:
            found[begin] = STALE
    return found


def groups() -> list[str]:
    """The shipped ones, in the order in which emu evaluates them."""
    files = [YAML(typ="safe").load(rules.SHIPPED / name) for name in rules.FILES]
    return [group["name"] for file in files for group in file["groups"]]


def written(points: Values) -> str:
    return " ".join("_" if each is None else str(each) for each in points)


def question(seed: int) -> tuple[dict[str, Any], int]:
    """What emu says of the series, as a test that promtool must find right."""
    given, alerts, asked, firing = drawn(seed), Alerts(rules.shipped()), [], 0
    for turn in range(SECONDS):
        feed(alerts, given, turn)
        alerts.evaluate(float(turn))
        for name in rules.names(rules.shipped()) if turn in ASKED_AT else ():
            expected = [
                {
                    "exp_labels": dict(labels),
                    "exp_annotations": {
                        "summary": summary,
                        "description": description,
                        "mend": mend,
                    },
                }
                for labels, summary, description, mend in told(alerts, name)
            ]
            firing += len(expected)
            asked.append({"eval_time": f"{turn}s", "alertname": name, "exp_alerts": expected})
    assert not alerts.problems
    series = [{"series": text, "values": written(points)} for text, points in given.items()]
    return {"interval": "1s", "input_series": series, "alert_rule_test": asked}, firing


def ask_promtool(folder: Path, seeds: range) -> None:
    shutil.copytree(rules.SHIPPED, folder / "rules")
    asked = [question(seed) for seed in seeds]
    assert sum(firing for _, firing in asked) > 20 * len(seeds)
    with open(folder / "test.yaml", "w") as file:
        YAML(typ="safe").dump(
            {
                "rule_files": [f"rules/{name}" for name in rules.FILES],
                "evaluation_interval": "1s",
                "group_eval_order": groups(),
                "tests": [each for each, _ in asked],
            },
            file,
        )
    done = subprocess.run(
        ["promtool", "test", "rules", str(folder / "test.yaml")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_promtool_finds_what_emu_says_of_random_series_right(tmp_path: Path):
    need("promtool")
    ask_promtool(tmp_path, range(2))


@pytest.mark.soak
def test_promtool_agrees_with_emu_in_two_hundred_worlds(tmp_path: Path):
    need("promtool")
    ask_promtool(tmp_path, range(100, 300))


ATOMS = (
    "a", "b{x='1'}", "a[1m]", "rate(a[1m])", "2", "2*5", "0.5", "sum(a)", "max by (x) (b)", "1 + 1",
    "histogram_quantile(0.9, a)", "a offset 5s", "increase(b[30s] offset 1m)", r'a{x=~"v\\.1"}',
    r'a{x=~"v\.1"}', r"a{x=~'(?=v)'}", "a{x=~`v\\d`}", r'b{x="\x41\u00e9"}', r"b{x='it\'s'}",
    r'b{x="it\'s"}', r'a{x=~"v{,3}"}', r'a{x=~"v++"}', r'a{x=~"[[:alpha:]]"}', "a[1min]", "a[0s]",
)  # fmt: skip
SIGNS = ("and", ">", "<", "==", "+", "*", "/", "%", "> on (x)", "and on (x)", "* on ()")
WRAPS = ("sum({0})", "rate({0})", "({0})", "count by (x) ({0})", "{0}", "{0}", "{0}")


def an_expression(rng: random.Random, depth: int = 2) -> str:
    if not depth:
        return rng.choice(ATOMS)
    left, right = (an_expression(rng, rng.randrange(depth)) for _ in range(2))
    inner = f"{left} {rng.choice(SIGNS)} {right}" if rng.random() < 0.7 else left
    return rng.choice(WRAPS).format(inner)


def test_prometheus_takes_every_rule_that_emu_takes(tmp_path: Path):
    need("promtool")
    rng, taken, refused = random.Random(7), [], 0
    for _ in range(3000):
        text = an_expression(rng)
        try:
            language.parse(text)
        except ValueError:
            refused += 1
        else:
            taken.append(text)
    assert len(set(taken)) > 300 < refused
    given = [
        {"alert": f"A{place}", "expr": text} for place, text in enumerate(dict.fromkeys(taken))
    ]
    with (tmp_path / "all.yaml").open("w") as file:
        YAML().dump({"groups": [{"name": "all", "rules": given}]}, file)
    asked = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "all.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr[-3000:]
