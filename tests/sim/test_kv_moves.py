"""A move of slots is killed, paused and cut at every named point: it ends, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from emu.machine.events import Event
from emu.scenario import Scenario, run
from emu.topology.loading import loads
from tests.sim.resharding import cancel_reshard, reshard

STORE = """
seed: 3
links: {defaults: {within: 0.3ms}}
tiers:
  kv: {kind: kv, public: true, shards: 1, replicas: 1, slots_per_move: 8192, max_pause: 1s}
  registers: {kind: clients, asks: kv, workload: register, processes: 3, think_time: 80ms}
  lists: {kind: clients, asks: kv, workload: append, processes: 1, think_time: 80ms}
  limits: {kind: clients, asks: kv, workload: expiring, processes: 1, think_time: 80ms}
"""
POINTS = (
    "move.begun",
    "move.import-begun",
    "move.snapshot-sent",
    "move.copied",
    "move.source-fenced",
    "move.target-drained",
    "move.map-published",
    "move.target-adopted",
    "move.source-released",
    "move.done",
)
HAND_OVER = ("move.source-fenced", "move.target-drained", "move.map-published")
SOURCE, TARGET, COORDINATOR = VICTIMS = "kv-shard-1", "kv-shard-2", "kv-coordinator"
LASTS_S = 2.5


def moved_under(script: Any, *, text: str = STORE, seed: int = 3) -> dict[str, Any]:
    """Go from one shard to two under what `script` does; the run's summary, judged."""

    async def whole(c: Scenario) -> dict[str, Any]:
        await c.sleep(1.0)
        script(c)
        ended = await reshard(c.cluster, "kv", 2)
        await c.sleep(0.5)
        summary = await c.finish()
        return {**summary, "outcome": ended["outcome"], "events": c.events()}

    return run(whole, loads(text), seed=seed)


def at(c: Scenario, point: str, act: Callable[[], None]) -> None:
    """Do it at the very time at which that point is reached for the first time."""

    def look(event: Event) -> None:
        if event["event"] == point.replace("-", " "):
            c.cluster.events.listeners.remove(look)
            c.cluster.world.timers.call_at(c.now_s, act)

    c.cluster.events.listeners.append(look)


def primary(c: Scenario, tier: str) -> str:
    """Who was promoted last in that tier; its first node if nobody was."""
    promoted = [each["node"] for each in c.events("promoted", tier=tier)]
    return str(promoted[-1]) if promoted else f"{tier}-1"


def take_away(c: Scenario, how: str, tier: str) -> None:
    """Kill, crash or pause the tier's primary at once, and let it come back later."""
    name = primary(c, tier)
    getattr(c.cluster, how)(name)

    async def bring_back() -> None:
        await c.sleep(LASTS_S)
        if how == "pause":
            c.cluster.unpause(name)
        elif name in c.cluster.instances and not c.cluster.instances[name].running:
            await c.cluster.start(name)

    c.cluster.nursery.start_soon(bring_back)


def cut(c: Scenario, first: str, second: str, for_s: float = LASTS_S) -> None:
    c.cluster.nursery.start_soon(partial(c.partition, first, second, for_s=for_s))


def every_point_and_victim() -> list[Any]:
    """All of them; of the points that are not the hand-over itself, two victims in a soak only."""
    return [
        pytest.param(
            point,
            victim,
            marks=() if point in HAND_OVER or number % 3 == at else pytest.mark.soak,
        )
        for number, point in enumerate(POINTS)
        for at, victim in enumerate(VICTIMS)
    ]


def assert_whole(summary: dict[str, Any]) -> None:
    assert summary["anomalies"] == []
    assert summary["undecided"] == []
    assert summary["outcome"] == "done"


def test_an_undisturbed_move_costs_no_error_and_a_pause_of_milliseconds() -> None:
    summary = moved_under(lambda c: None)
    assert_whole(summary)
    assert summary["errors"] == 0
    moves = [each for each in summary["events"] if each["event"] == "move.done"]
    assert moves and max(each["pause_s"] for each in moves) < 0.05


def test_slots_that_nobody_writes_to_move_without_waiting_for_a_change() -> None:
    """The source of a move that sees no write says at once that there is none."""
    quiet = "tiers: {kv: {kind: kv, public: true, shards: 1, replicas: 1, slots_per_move: 1024}}"
    took_s: list[float] = []

    def watch(c: Scenario) -> None:
        at(c, "move.begun", lambda: took_s.append(-c.now_s))
        at(c, "reshard ended", lambda: took_s.append(c.now_s))

    summary = moved_under(watch, text=quiet)
    moves = [each for each in summary["events"] if each["event"] == "move.done"]
    assert len(moves) == 8
    assert sum(took_s) < 0.25 * len(moves)


def test_a_copy_that_takes_long_goes_on_when_the_question_that_began_it_is_over() -> None:
    """The coordinator asks every second or so; the target's task has no deadline but the move's."""

    async def script(c: Scenario) -> None:
        for number in range(60):
            await c.call("kv", "set", f"user:{number}", "x" * 20_000)
        began_s = c.now_s
        ended = await reshard(c.cluster, "kv", 2, rate_per_s=8)
        assert ended["outcome"] == "done" and c.events("move.aborting") == []
        assert 3.0 < c.now_s - began_s < 8.0

    run(script, loads(STORE.replace("registers", "#registers")))


@pytest.mark.parametrize(("point", "victim"), every_point_and_victim())
def test_whoever_is_killed_at_any_point_nothing_is_lost(point: str, victim: str) -> None:
    assert_whole(moved_under(lambda c: at(c, point, partial(take_away, c, "kill", victim))))


@pytest.mark.soak
@pytest.mark.parametrize("how", ["crash", "pause", "cut"])
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("point", POINTS)
def test_whoever_is_crashed_paused_or_cut_at_any_point_nothing_is_lost(
    point: str, victim: str, how: str
) -> None:
    def script(c: Scenario) -> None:
        if how == "cut":
            at(c, point, lambda: cut(c, primary(c, victim), "all"))
        else:
            at(c, point, partial(take_away, c, how, victim))

    for seed in range(3):
        assert_whole(moved_under(script, seed=seed))


@pytest.mark.parametrize("ends", [(SOURCE, TARGET), (COORDINATOR, SOURCE), (COORDINATOR, TARGET)])
def test_two_of_the_three_that_cannot_hear_each_other_only_delay_the_move(
    ends: tuple[str, str],
) -> None:
    assert_whole(moved_under(lambda c: at(c, "move.import-begun", lambda: cut(c, *ends))))


def test_whoever_watches_a_reshard_looks_elsewhere_when_the_coordinator_is_cut_off() -> None:
    """To ask how far it is changes nothing: the answer of one that loses its role is `unavailable`,
    not an unknown outcome, and the next coordinator is asked."""
    summary = moved_under(
        lambda c: at(c, "move.done", lambda: cut(c, primary(c, COORDINATOR), "all"))
    )
    assert_whole(summary)
    assert len([each for each in summary["events"] if each["event"] == "promoted"
                and each["tier"] == COORDINATOR]) > 1  # fmt: skip


def test_a_target_that_does_not_drain_in_time_lets_the_source_serve_again() -> None:
    """After `max_pause` the source is the owner in a new epoch; the target never adopts."""

    def script(c: Scenario) -> None:
        at(c, "move.source-fenced", lambda: cut(c, SOURCE, TARGET, for_s=4))

    summary = moved_under(script)
    assert_whole(summary)
    names = [each["event"] for each in summary["events"]]
    assert "move.aborting" in names and "move.source resumed" in names
    aborted = {each["move"] for each in summary["events"] if each["event"] == "move.aborting"}
    adopted = {each["move"] for each in summary["events"] if each["event"] == "move.target adopted"}
    assert not aborted & adopted


def test_a_cancelled_reshard_leaves_every_slot_with_one_owner() -> None:
    def script(c: Scenario) -> None:
        cancel = partial(c.cluster.nursery.start_soon, cancel_reshard, c.cluster, "kv")
        at(c, "move.done", cancel)

    summary = moved_under(script, text=STORE.replace("8192", "512"))
    assert summary["anomalies"] == []
    assert summary["outcome"] == "cancelled"
    assert 0 < len([each for each in summary["events"] if each["event"] == "move.done"]) < 16


def test_slots_whose_copy_was_given_up_are_served_where_they_were() -> None:
    """The map has a new epoch for them, which their shard must know, fenced or not."""

    async def script(c: Scenario) -> list[Any]:
        at(c, "move.begun", partial(cut, c, SOURCE, TARGET, 8.0))
        cancel = partial(c.cluster.nursery.start_soon, cancel_reshard, c.cluster, "kv")
        c.cluster.world.timers.call_at(1.0, cancel)
        await c.sleep(0.3)
        ended = await reshard(c.cluster, "kv", 2)
        assert ended["outcome"] == "cancelled" and c.events("move.aborting")
        assert not c.events("move.source fenced")
        return [await c.call("kv", "set", f"key-{number}", number) for number in range(20)]

    kv = "kv: {kind: kv, public: true, shards: 1, replicas: 1, slots_per_move: 8192}"
    assert run(script, loads(f"tiers: {{{kv}}}"), seed=1) == [True] * 20


def test_a_coordinator_that_comes_back_is_the_witness_of_every_shard_and_disturbs_none() -> None:
    """A shard of that name had been there before, and what shards say to their witness arrives
    before it knows of them: it must not be taken for the coordinators' own."""
    text = """
links: {defaults: {within: 20ms}}
tiers:
  kv: {kind: kv, public: true, shards: 1, replicas: 1, coordinators: 1}
accepts: {single-point: test}
"""

    async def script(c: Scenario) -> None:
        await c.sleep(2.0)
        for shards in (2, 1, 2):
            assert (await reshard(c.cluster, "kv", shards))["outcome"] == "done"
            await c.sleep(1.0)
        began_s, kills = c.now_s, 4
        for _ in range(kills):
            async with await c.kill("kv-coordinator"):
                await c.sleep(0.5)
            await c.sleep(1.5)
        since = [each for each in c.events() if each["time_s"] > began_s]
        joined = [each["shard"] for each in since if each["event"] == "witness joined"]
        assert sorted(joined) == ["kv-shard-1"] * kills + ["kv-shard-2"] * kills
        shaken = [each for each in since if each["event"] in ("role changed", "promoted")]
        assert not [each for each in shaken if each["tier"] != "kv-coordinator"]
        assert len(c.events("witness left", shard="kv-shard-2")) == 1

    run(script, loads(text), seed=3)
