"""The first screen says what fits the tiers that run, by what their kinds say of themselves."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from emu.cli.screen import by_itself, old_disks, summary_screen, to_break
from emu.running.instance import Instance
from emu.topology.loading import loads

WEB = "web: {kind: web, nodes: 2, uses: db}"


def tried(text: str) -> list[str]:
    machine: Any = None
    slots = [Instance(each, machine) for each in loads(f"tiers: {{{text}}}").placements()]
    return [command for command, _ in to_break(slots)]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("web: {kind: web}",
         ["kill web --for 5s", "slow web --latency 80ms --for 10s", "cpu web --cores 1"]),
        (f"dns: {{kind: dns, zone: example.test, answers: lb}}, db: {{kind: database}}, {WEB}, "
         "lb: {kind: balancer, balances: web}",
         ["kill 'one web' --for 5s", "crash db --for 3s", "slow web --latency 80ms --for 10s",
          "partition lb web --for 5s", "scale web=4"]),
        (f"{WEB}, db: {{kind: database, nodes: 3}}",
         ["kill 'one web' --for 5s", "kill 'db primary' --for 10s",
          "slow web --latency 80ms --for 10s", "cpu web --cores 1"]),
        ("kv: {kind: kv, shards: 2}",
         ["kill 'one kv-shard-1' --for 5s", "kill 'kv-shard-1 primary' --for 10s",
          "slow kv-shard-1 --latency 80ms --for 10s", "cpu kv-shard-1 --cores 1"]),
    ],
)  # fmt: skip
def test_it_breaks_the_server_behind_all_others_and_the_first_that_keeps_data(
    text: str, commands: list[str]
) -> None:
    assert tried(text) == commands


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (None, []),
        ((0, 800), ["the disks of earlier runs, 800 B: --fresh"]),
        ((1, 41_000), ["the disks of an earlier run, 41 kB: --fresh"]),
        ((12, 22_900_000), ["the disks of 12 earlier runs, 23 MB: --fresh"]),
    ],
)
def test_the_first_screen_says_whose_disks_a_run_goes_on_with(kept: Any, told: list[str]) -> None:
    lines = list(old_disks(kept))
    assert len(lines) == len(told) and all(text in lines[0] for text in told)


def planned(text: str, for_s: float | None = None) -> str:
    told = StringIO()
    said = Console(file=told, width=100)
    said.print(*by_itself(loads(text).faults, for_s), sep="\n")
    return told.getvalue()


def test_what_is_due_after_the_end_is_marked() -> None:
    text = "tiers: {web: {kind: web}}\nfaults: [{at: 5s, kill: web}, {at: 41s, kill: web}]"
    _, soon, late, *_ = planned(text, 40.0).splitlines()
    assert "not in" not in soon and late.endswith("not in 40.0 s")


def test_it_says_what_breaks_by_itself_and_how_nothing_does() -> None:
    tiers = "tiers: {web: {kind: web, nodes: 2}, db: {kind: database, nodes: 3}}\n"
    assert planned(tiers) == "\n"
    faults = "faults: [{at: 5s, kill: one web, for: 2s}, {on: promoted, slow: db, latency: 80ms}]"
    assert planned(tiers + faults).splitlines()[:3] == [
        "It breaks by itself  as its file says; `--faults none`: it does not",
        "  5.0 s           kill one web, for 2.0 s",
        "  after promoted  slow db: latency 80ms",
    ]
    here = list(by_itself(loads(tiers + faults).faults, None, 2.53))
    assert "as its file says, whose 0 s is 2.5 s here; " in str(here[0])
    assert "7.5 s" in str(here[1]), "the clock of the events below"
    many = "faults: [" + ", ".join("{at: 1s, kill: web}" for _ in range(14)) + "]"
    assert "  and 4 more" in planned(tiers + many)


def finished(**fields: Any) -> dict[str, Any]:
    """A run's summary, of `emu up`."""
    return {
        "name": "two-regions", "ran_s": 30.0, "requests": 1860, "throughput_per_s": 62.0,
        "errors": 3, "errors_by_code": {"timeout": 3}, "availability": 0.9984,
        "latency_s": {"p50": 0.004, "p99": 0.2}, "by_clients": [],
        "lost_acknowledged_writes": 0, "acknowledged_writes": 270, "lost_writes": [],
        "judged": [], "loop_lag_s": {"p99": 0.0004}, "expectations": [], "trustworthy": True,
        "reasons": [], "verdict": "passed", "why": [], "consequences": [], **fields,
    }  # fmt: skip


def asked(clients: str, effect: str, **fields: Any) -> dict[str, Any]:
    quiet = {"region": "us-east", "requests": 900, "errors": 0,
             "latency_s": {"p50": 0.004, "p99": 0.02}}  # fmt: skip
    return {"clients": clients, "effect": effect, **quiet, **fields}


def drawn(summary: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(width=width, file=StringIO(), color_system=None)
    console.print(summary_screen(summary))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_end_tells_reads_and_writes_of_each_population_apart() -> None:
    writes = {"requests": 60, "errors": 3, "latency_s": {"p50": 0.1, "p99": 1.2}}
    rows = [asked("users-us", "read"), asked("users-us", "write", **writes),
            asked("users-eu", "read", region="eu-west")]  # fmt: skip
    shown = drawn(finished(by_clients=rows))
    first = shown.index("Who asked for what") + 1
    assert [" ".join(line.split()) for line in shown[first : first + 4]] == [
        "requests failed p50 p99",
        "users-us in us-east reads 900 0 4.0 ms 20.0 ms",
        "users-us in us-east writes 60 3 100.0 ms 1.2 s",
        "users-eu in eu-west reads 900 0 4.0 ms 20.0 ms",
    ]
    assert max(map(len, shown)) <= 80
    one_region = drawn(finished(by_clients=rows[:2]), width=60)
    assert " in " not in one_region[first + 1]
    assert "1.2 s" in one_region[first + 2], "it fits"


def test_of_the_lost_writes_twenty_are_named_and_all_counted_with_their_time() -> None:
    lost = [{"key": "u/u", "value": f"u-{n}", "acknowledged_s": 5 + n / 10} for n in range(22)]
    six = finished(lost_writes=lost[:6], lost_acknowledged_writes=6)
    told = " ".join(" ".join(drawn(six, width=120)).split())
    assert "u-0, u-1, u-2, u-3, u-4, u-5, acknowledged from 5.0 to 5.5 s" in told
    for total, more in ((22, "and 2 more, acknowledged from 5.0 to 7.1 s"), (420, "and 400 more")):
        many = finished(lost_writes=lost, lost_acknowledged_writes=total)
        told = " ".join(" ".join(drawn(many, width=120)).split())
        assert f"u-18, u-19 {more}" in told and "u-20" not in told


def test_who_only_reads_is_told_by_the_totals() -> None:
    assert "Who asked for what" not in drawn(finished(by_clients=[asked("users-us", "read")]))


def test_what_was_judged_before_the_end_is_said():
    judged = {"clients": "lists", "anomalies": 0, "permitted": "", "left": 1200}
    told = " ".join(" ".join(drawn(finished(judged=[judged]))).split())
    assert "lists 1,200 objects were judged when their clients had left them, and not read" in told
    assert "objects" not in " ".join(drawn(finished(judged=[{**judged, "left": 0}])))


def test_who_broke_more_than_the_file_hears_that_its_expectations_did_not_count_on_that() -> None:
    missed = {"text": "availability >= 95%", "held": False, "told": "it was 91%", "actual": 0.91}
    shown = drawn(finished(expectations=[missed], verdict="failed", by_hand=2))
    assert "  (the file expects that of its own faults alone; you did 2 more)" in shown
    for fine in ({"by_hand": 0}, {"by_hand": 2, "expectations": [{**missed, "held": True}]}):
        shown = drawn(finished(**{"expectations": [missed], **fine}))
        assert not any("you did" in line for line in shown)


@pytest.mark.parametrize(
    ("verdict", "trustworthy", "last"),
    [("passed", True, "verdict: passed, trusted"), ("failed", True, "verdict: failed, trusted"),
     ("failed", False, "verdict: failed"), ("untrusted", False, "verdict: untrusted"),
     ("unknown", True, "verdict: unknown")],
)  # fmt: skip
def test_a_verdict_says_that_it_is_trusted(verdict: str, trustworthy: bool, last: str) -> None:
    assert drawn(finished(verdict=verdict, trustworthy=trustworthy))[-1] == last


def test_what_was_undone_is_told_with_how_long_it_lasted_and_whose_figures_those_are() -> None:
    done = {"start_s": 6.0, "end_s": 18.0, "text": "scale web: nodes 5", "of": [], "errors": 0,
            "requests": 120, "before": None, "p99_s": None, "follow_ups": [], "shared": False,
            "within_s": 10.0}  # fmt: skip
    told = " ".join(" ".join(drawn(finished(consequences=[done]), width=120)).split())
    assert (
        "6.0 s scale web: nodes 5 for 12.0 s: 0 of 120 requests failed in the 10.0 s after it began"
        in told
    )
