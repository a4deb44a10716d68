"""A run of which more is seen than can be kept: it says so at once, and what the verdict covers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import emu
from emu.checks import check
from emu.checks import history as history_of_runs
from emu.checks.history import OK, Operation, Recorder
from emu.checks.losses import Losses, find_losses
from emu.topology.loading import loads
from emu.verdict import judging, long
from emu.verdict.long import LongRun
from nodes.users import written
from tests.checks.random_histories import (
    few_values,
    history,
    listed,
    puts_and_takes,
    queued,
    register,
    unique_appends,
)
from tests.checks.test_true_objects import ACCOUNTS, a_bank, a_set, asks_bank, asks_set

TOPOLOGY = """
name: long
tiers:
  db: {kind: database, nodes: 3, public: true}
  clients: {kind: clients, asks: db, workload: set, processes: 2, think_time: 50ms}
"""


WEBSITE = """
name: long
tiers:
  web: {kind: web, public: true}
users:
  local: {rate: 25/s, visits: web, protocol: rpc, mix: {home: 0, timeline: 0, profile: 0}}
"""


def test_what_is_judged_of_a_long_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Recorder):
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, max_operations=9, **options)

    monkeypatch.setattr(judging, "Recorder", Short)

    async def script(c: emu.Scenario) -> Any:
        await c.sleep(4)
        return c.events("history full"), await c.finish()

    events, found = emu.run(script, loads(TOPOLOGY), seed=1)
    (full,) = events
    assert full["operations"] == 9
    assert found["verdict"] == "unknown"
    (why,) = found["undecided"]
    assert f"operations from {full['time_s']:.0f} s on were too many to keep" in why
    assert why.endswith("what 9 before that saw was judged")


# --- judged while it goes on ------------------------------------------------------------------

SEEDS = st.integers(0, 2**32)
TIER = "clients"
RUNS: dict[str, tuple[Any, Any, Any]] = {
    "kv": (register, few_values, None),
    "list-append": (listed, unique_appends, []),
    "queue": (queued, puts_and_takes, []),
    "set": (a_set, asks_set, []),
    "bank": (a_bank, asks_bank, dict.fromkeys(ACCOUNTS, 10)),
}


def replayed(
    operations: list[Operation], model: str, fold: Callable[[Recorder, float], None]
) -> Recorder:
    """The same once more, a second for each event; now and then `fold` is called."""
    now_s = 0.0
    recorder = Recorder(lambda: now_s)
    events = [(each.begin, True, each) for each in operations]
    events += [(each.completed, False, each) for each in operations if each.completed is not None]
    running: dict[Operation, Operation] = {}
    for place, begins, each in sorted(events, key=lambda event: event[0]):
        now_s = float(place)
        if begins:
            process = f"{TIER}-1.1/{each.process}"
            running[each] = recorder.invoke(process, each.f, each.value, each.key, model=model)
        elif each.outcome == OK:
            running[each].ok(each.result)
        else:
            running[each].info("lost")
        fold(recorder, now_s)
    return recorder


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(list(RUNS)), st.sampled_from([0.0, 0.2]), st.sampled_from([0, 0.1]))
def test_what_is_judged_on_the_way_is_judged_as_at_the_end(seed, model, lies, losses):
    rng = random.Random(seed)
    simulate, asks, initial = RUNS[model]
    operations = history(
        rng, simulate, asks, clients=3, operations=24, lies=lies, losses=losses, initial=initial
    )
    for each in operations:
        each.key = rng.choice("xy") if model == "kv" else "x"
    run = LongRun({})

    def fold(recorder: Recorder, now_s: float) -> None:
        if rng.random() < 0.2:
            for _ in run.fold(recorder, now_s, lambda each: (TIER, model), {TIER: ""}):
                pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long, "LEAST", 3)
        patch.setattr(long, "CHUNK", 2)
        recorder = replayed(operations, model, fold)
    came = run.end((TIER, model), recorder.operations, "")
    whole = check(operations, model)
    assert came.operations == len(operations)
    assert came.found.valid == whole.valid, (came.found, whole)
    assert _told(came.losses) == _told(find_losses(operations, model))


def _told(losses: Losses | None) -> Any:
    return losses and (losses.acknowledged, [each.value for each in losses.lost])


def test_objects_that_were_left_are_judged_and_forgotten():
    """Each list is used for a while, read a last time, and left; one of them has lost something."""
    now_s = 0.0
    recorder, run = Recorder(lambda: now_s), LongRun({})
    for number in range(40):
        for element in ("a", "b"):
            recorder.invoke("clients-1.1/1", "append", element, number, model="list-append").ok()
        seen = ["b"] if number == 7 else ["a", "b"]
        recorder.invoke("clients-1.1/1", "read", None, number, model="list-append").ok(seen)
        recorder.leave(number, model="list-append")
        now_s += 100.0
        for _ in run.fold(recorder, now_s, lambda each: (TIER, each.model), {TIER: ""}):
            pass
        assert len(recorder.operations) <= 3 * (long.LEFT_S / 100 + 1)
    came = run.end((TIER, "list-append"), recorder.operations, "")
    assert came.operations == 120 and came.left == 35
    assert came.losses is not None and [each.key for each in came.losses.lost] == [7]
    assert [each.key for each in came.found.anomalies] == [7]


def test_an_object_that_comes_again_is_not_judged_and_that_is_said():
    recorder, run = Recorder(lambda: 0.0), LongRun({})
    recorder.invoke("clients-1.1/1", "add", 1, "x", model="set").ok(1)
    recorder.leave("x", model="set")
    for _ in run.fold(recorder, 1e6, lambda each: (TIER, each.model), {TIER: ""}):
        pass
    recorder.invoke("clients-1.1/1", "read", None, "x", model="set").ok([1])
    came = run.end((TIER, "set"), recorder.operations, "")
    assert not came.found.anomalies
    assert came.found.unknown == [
        'set, key "x": asked again after its clients had left it, and it was judged'
    ]


def test_a_long_run_is_judged_whole_with_little_of_it_kept(monkeypatch):
    """Posts are looked for while others are written, and forgotten."""
    monkeypatch.setattr(history_of_runs, "MANY_OPERATIONS", 30)
    monkeypatch.setattr(written, "WINDOW", 10)
    monkeypatch.setattr(written, "SETTLE_S", 0.1)
    monkeypatch.setattr(written, "SAMPLE", 5)
    monkeypatch.setattr(long, "LEFT_S", 0.5)

    async def script(c: emu.Scenario) -> Any:
        await c.sleep(5)
        return len(c.cluster.world.history.operations), await c.finish()

    kept, found = emu.run(script, loads(WEBSITE), seed=1)
    posts = next(each for each in found["judged"] if each["model"] == "set")
    assert found["verdict"] == "passed" and posts["lost"] == 0
    assert kept < 60 < posts["acknowledged"] == found["acknowledged_writes"]
    assert posts["left"] > 3
