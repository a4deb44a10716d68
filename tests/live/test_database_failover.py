"""Step 5's database loses its primary in every way, under load, again and again: what writers see.

The scripts run in both worlds: simulated and short in every run, live and long by `make soak`,
which prints what it measured (pytest -s). Gaps: seconds until a promotion, and the longest time
between two acknowledged writes.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
import trio

import emu
from emu.checks.history import Recorder
from emu.machine.events import Event
from emu.model.topology import Topology
from emu.topology.loading import load, loads
from protocols.errors import RpcError

STEP = "topologies/05-replication.yaml"
LOADED = """
name: failover
seed: 5
links: {{defaults: {{within: 0.3ms, bandwidth: 1Gbit}}}}
tiers:
  db: {{kind: database, nodes: 3, ack: {ack}, detection_timeout: 1s, restart: on-failure}}
  load:
    kind: clients
    asks: db
    workload: set
    processes: {processes}
    think_time: 50ms
    timeout: 3s
"""
DETECTION_S = 1.15
"""1 s of silence, and up to 15% so that not all stand at once."""
ELECTION_S = 0.05
RETRY_S = 0.15
BUSY_S = {"sim": 0.0, "live": 1.0}
"""What a busy laptop may add to each gap."""
Script = Callable[[emu.Scenario], Awaitable[dict[str, Any]]]


def under_load(ack: str = "quorum", processes: int = 6) -> Topology:
    return loads(LOADED.format(ack=ack, processes=processes))


def acknowledged_s(c: emu.Scenario) -> list[float]:
    """When each acknowledged write was."""
    recorder = c.cluster.world.history
    assert isinstance(recorder, Recorder)
    written = (each for each in recorder.operations if each.f == "add" and each.is_ok)
    return sorted(each.completed_s for each in written if each.completed_s is not None)


def longest_gap_s(times: list[float], from_s: float, to_s: float) -> float:
    inside = [at_s for at_s in times if from_s - 0.2 <= at_s <= to_s]
    return max(after - before for before, after in pairwise(inside))


async def primary_of(c: emu.Scenario) -> str:
    while True:
        names = await c.resolve("db primary") if any_primary(await c.ps("db")) else []
        if len(names) == 1:
            return names[0]
        await c.sleep(0.1)


def any_primary(rows: list[dict[str, Any]]) -> bool:
    return any(row["role"] == "primary" for row in rows)


async def since(c: emu.Scenario, from_s: float, name: str, **wanted: Any) -> Event:
    """The first such event from then on, which may have been already."""
    while c.now_s < from_s + 20:
        for each in c.events(name, **wanted):
            if each["time_s"] >= from_s:
                return each
        await c.sleep(0.01)
    raise AssertionError(f"no event {name} {wanted}")


async def lose(c: emu.Scenario, verb: str, for_s: float = 2.0) -> tuple[float, float]:
    """Take the primary away; seconds until a promotion, and the longest gap of writers."""
    primary = await primary_of(c)
    at_s = c.now_s
    await getattr(c, verb)(primary, for_s=for_s)
    promoted = await since(c, at_s, "promoted")
    assert promoted["node"] != primary
    await c.sleep(for_s + 1.5)
    gap_s = longest_gap_s(acknowledged_s(c), at_s, c.now_s)
    return promoted["time_s"] - at_s, gap_s


def often(verbs: tuple[str, ...], times: int) -> Script:
    async def script(c: emu.Scenario) -> dict[str, Any]:
        await c.sleep(2)
        gaps = {verb: [await lose(c, verb) for _ in range(times)] for verb in verbs}
        return {**await c.finish(), "gaps": gaps}

    return script


def tell(what: str, found: dict[str, Any]) -> None:
    lost = found["lost_acknowledged_writes"]
    trusted = "" if found["trustworthy"] else " (the laptop was too busy to trust times)"
    print(f"\n{what}: {found['acknowledged_writes']} acknowledged, {lost} lost{trusted}", end="")
    for each in found["lost_writes"][:5]:
        print(f"\n    lost: {each['key']} {each['value']}", end="")
    for verb, pairs in found.get("gaps", {}).items():
        for name, values in zip(("promoted", "writers"), zip(*pairs, strict=True), strict=True):
            middle, worst = statistics.median(values), max(values)
            print(f"\n    {verb}, {name}: median {middle:.2f} s, worst {worst:.2f} s", end="")
    print()


def check_gaps(gaps: dict[str, list[tuple[float, float]]], world: str) -> None:
    for verb, pairs in gaps.items():
        for promoted_s, writers_s in pairs:
            assert promoted_s <= DETECTION_S + ELECTION_S + BUSY_S[world], verb
            assert writers_s <= DETECTION_S + ELECTION_S + RETRY_S + 2 * BUSY_S[world], verb


def check_whole(found: dict[str, Any]) -> None:
    assert found["anomalies"] == [] and found["undecided"] == []
    assert found["lost_acknowledged_writes"] == 0


def test_the_database_is_the_one_of_step_5():
    ours, theirs = under_load().tier("db"), load(STEP).tier("db")
    assert (ours.config, ours.members) == (theirs.config, theirs.members)


def test_a_killed_or_crashed_primary_costs_writers_a_detection_and_an_election():
    found = emu.run(often(("kill", "crash"), 2), under_load())
    check_whole(found)
    check_gaps(found["gaps"], "sim")


@pytest.mark.soak
def test_ten_kills_and_ten_power_cuts_live_lose_nothing():
    found = emu.run(often(("kill", "crash"), 10), under_load(processes=20), world="live")
    tell("quorum, 10 kills and 10 crashes, live", found)
    check_whole(found)
    assert found["acknowledged_writes"] > 1000
    if found["trustworthy"]:  # else the laptop was too busy, and the summary says so
        check_gaps(found["gaps"], "live")


# --- what async loses --------------------------------------------------------------------------


def cut_and(verb: str, times: int) -> Script:
    """The replicas hear nothing for half a second, then the primary is gone."""

    async def script(c: emu.Scenario) -> dict[str, Any]:
        await c.sleep(2)
        for _ in range(times):
            primary = await primary_of(c)
            others = ",".join(name for name in ("db-1", "db-2", "db-3") if name != primary)
            cut = await c.partition(primary, others)
            await c.sleep(0.5)
            await getattr(c, verb)(primary, for_s=2.0)
            await since(c, c.now_s, "promoted")
            await cut.undo()
            await c.sleep(4)
        return await c.finish()

    return script


def check_told(found: dict[str, Any]) -> None:
    """What was lost is a number, told by key, and no failure."""
    assert found["anomalies"] == []
    assert found["lost_acknowledged_writes"] > 0
    assert len(found["lost_writes"]) == min(100, found["lost_acknowledged_writes"])
    assert all(each["key"] and each["value"] for each in found["lost_writes"])
    (judged,) = found["judged"]
    assert "`ack: async` answers before a majority has the record" in judged["permitted"]


def test_under_async_the_lost_writes_are_told_by_key():
    check_told(emu.run(cut_and("kill", 1), under_load("async")))


def test_under_quorum_the_same_misfortune_loses_nothing():
    check_whole(emu.run(cut_and("kill", 1), under_load()))


@pytest.mark.soak
def test_ten_kills_and_ten_power_cuts_live_under_async_are_told_by_key():
    found = emu.run(often(("kill", "crash"), 10), under_load("async", 20), world="live")
    tell("async, 10 kills and 10 crashes, live", found)
    assert found["anomalies"] == []
    cut = emu.run(cut_and("kill", 5), under_load("async", 20), world="live")
    tell("async, 5 times cut off for 0.5 s and killed, live", cut)
    check_told(cut)


# --- a primary that sleeps, or is heard by half -------------------------------------------------


def sleeper(for_s: float) -> Script:
    async def script(c: emu.Scenario) -> dict[str, Any]:
        await c.sleep(2)
        primary = await primary_of(c)
        outcomes: list[str] = []

        async def write(number: int) -> None:
            sql = f"CREATE TABLE late_{number} (id INTEGER PRIMARY KEY)"
            try:
                await c.call(primary, "write", [[sql, []]], {})
                outcomes.append("acknowledged")
            except RpcError as error:
                outcomes.append(error.code)

        paused = await c.pause(primary)
        at_s = c.now_s
        async with trio.open_nursery() as nursery:
            await c.sleep(for_s / 2)
            for number in range(5):
                nursery.start_soon(write, number)  # it will find them when it wakes
            await since(c, at_s, "promoted")
            await c.sleep(max(0.0, at_s + for_s - c.now_s))
            woken_s = c.now_s
            await paused.undo()
        down = await since(c, woken_s, "role changed", node=primary, role="follower")
        await c.sleep(2)
        role = (await c.call_admin(primary, "describe"))[primary]["role"]
        waited_s = down["time_s"] - woken_s
        return {**await c.finish(), "late": outcomes, "down_after_s": waited_s, "role": role}

    return script


def check_slept(found: dict[str, Any], world: str) -> None:
    check_whole(found)
    assert len(found["late"]) == 5 and "acknowledged" not in found["late"]
    assert found["down_after_s"] <= 0.05 + BUSY_S[world]
    assert found["role"] == "replica"


def test_a_primary_that_slept_acknowledges_nothing_and_steps_down():
    check_slept(emu.run(sleeper(4.0), under_load()), "sim")


def half_heard(direction: str) -> Script:
    """The primary hears the others and is not heard, or the other way round."""

    async def script(c: emu.Scenario) -> dict[str, Any]:
        await c.sleep(2)
        primary = await primary_of(c)
        others = ",".join(name for name in ("db-1", "db-2", "db-3") if name != primary)
        ends = (primary, others) if direction == "mute" else (others, primary)
        at_s = c.now_s
        await c.partition(*ends, one_way=True, for_s=8.0)
        down = await since(c, at_s, "role changed", node=primary, role="follower")
        promoted = await since(c, at_s, "promoted")
        await c.sleep(10)
        gap_s = longest_gap_s(acknowledged_s(c), at_s, c.now_s)
        pair = (promoted["time_s"] - at_s, gap_s)
        down_s = down["time_s"] - at_s
        return {**await c.finish(), "gaps": {direction: [pair]}, "down_s": down_s}

    return script


def check_half_heard(found: dict[str, Any], world: str) -> None:
    """It steps down within its lease; the others' promises to it may last as long once more."""
    check_whole(found)
    assert found["down_s"] <= 1.0 + BUSY_S[world]
    ((promoted_s, writers_s),) = next(iter(found["gaps"].values()))
    assert found["down_s"] < promoted_s
    assert writers_s <= 1.0 + DETECTION_S + ELECTION_S + RETRY_S + 2 * BUSY_S[world]


@pytest.mark.parametrize("direction", ["mute", "deaf"])
def test_a_primary_that_is_cut_off_one_way_steps_down_and_loses_nothing(direction):
    check_half_heard(emu.run(half_heard(direction), under_load()), "sim")


@pytest.mark.soak
def test_sleeping_and_half_heard_primaries_live_acknowledge_nothing_in_vain():
    slept = emu.run(sleeper(4.0), under_load(processes=20), world="live")
    tell("a paused primary, live", slept)
    check_slept(slept, "live")
    for direction in ("mute", "deaf"):
        found = emu.run(half_heard(direction), under_load(processes=20), world="live")
        tell(f"cut off one way ({direction}), live", found)
        check_half_heard(found, "live")
