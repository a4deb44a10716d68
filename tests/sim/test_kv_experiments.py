"""The experiments of topologies/experiments that concern the sharded store, as their files have it:
2 moved keys, 11 live reshard, 17 hot key.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from emu.machine.events import Event
from emu.scenario import Scenario, run
from emu.topology.loading import load
from nodes.kv.near_cache import MISSING, NearCache
from protocols.hashing.slots import SLOTS

EXPERIMENTS = Path(__file__).parents[2] / "topologies" / "experiments"
PAUSE_BUDGET_S = 0.1
HOT_FOR_S = 4.0


def played(name: str, for_s: float, after: Any = None) -> dict[str, Any]:
    """The file's own faults for so long: the summary, the events, and what `after(c)` says."""

    async def script(c: Scenario) -> dict[str, Any]:
        c.start_playing(c.cluster.topology.faults)
        await c.sleep(for_s)
        seen = after(c) if after is not None else None
        summary = await c.finish()
        return {**summary, "events": c.events(), "seen": seen}

    found = run(script, load(EXPERIMENTS / f"{name}.yaml"))
    assert found["anomalies"] == [] and found["undecided"] == []
    return found


# --- 2 ---------------------------------------------------------------------------------------


def moved_slots(events: list[Event]) -> Counter[str]:
    """Slots that changed their owner, by store."""
    slots = {
        (each["tier"], each["move"]): each["slots"]
        for each in events
        if each["event"] == "move.begun"
    }
    moved: Counter[str] = Counter()
    for each in events:
        if each["event"] == "move.done":
            store = each["tier"].removesuffix("-coordinator")
            moved[store] += slots[each["tier"], each["move"]]
    return moved


def test_2_modulo_moves_three_times_what_the_others_move() -> None:
    found = played("02-moved-keys", 8.0, keys_moved)
    moved = {store: slots / SLOTS for store, slots in moved_slots(found["events"]).items()}
    assert moved["modulo"] == pytest.approx(0.75, abs=0.01)
    assert moved["slots"] == pytest.approx(0.25, abs=0.001)
    assert moved["ring"] == pytest.approx(0.245, abs=0.03)
    assert moved["maglev"] < 0.4
    keys = found["seen"]
    assert keys["ring"] > 10 and keys["modulo"] > 1.8 * max(keys["ring"], keys["slots"])
    assert found["errors"] == 0


def keys_moved(c: Scenario) -> dict[str, float]:
    stores = ("modulo", "ring", "maglev", "slots")
    return {
        store: sum(
            c.metrics(f"{store}-shard-{number}", "keys_moved_total") for number in (1, 2, 3, 4)
        )
        for store in stores
    }


# --- 11 --------------------------------------------------------------------------------------


def test_11_a_live_reshard_loses_nothing_fails_nobody_and_pauses_briefly() -> None:
    found = played("11-live-reshard", 9.0)
    moves = [each for each in found["events"] if each["event"] == "move.done"]
    assert sum(moved_slots(found["events"]).values()) == 2 * (SLOTS // 4)
    assert len(moves) >= 6
    assert max(each["pause_s"] for each in moves) < PAUSE_BUDGET_S
    assert found["errors"] == 0 and found["verdict"] == "passed"
    assert found["requests"] > 700


# --- 17 --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hot() -> dict[str, Any]:
    return played("17-hot-key", HOT_FOR_S, hot_keys_seen)


def hot_keys_seen(c: Scenario) -> dict[str, Any]:
    """By store: operations of its clients, and how hot its hottest key is said to be."""
    stores = ("plain", "copied", "replicated", "cached")
    return {
        store: {
            "operations": c.metrics(f"{store}-clients", "client_operations_total"),
            "ratio": max(
                c.metrics(f"{store}-shard-{number}", "hot_key_ratio") for number in (1, 2, 3)
            ),
        }
        for store in stores
    }


def test_17_a_key_with_half_of_the_load_is_named_within_five_seconds(hot: dict[str, Any]) -> None:
    named = [each for each in hot["events"] if each["event"] == "hot key"]
    plain = [each for each in named if each["tier"].startswith("plain")]
    assert {each["key"] for each in plain} == {"hot"}
    assert plain[0]["time_s"] < 5
    assert hot["seen"]["plain"]["ratio"] > 0.3


@pytest.mark.parametrize(
    ("cured", "at_least"), [("copied", 1.25), ("replicated", 1.5), ("cached", 1.5)]
)
def test_17_each_cure_lets_the_other_shards_work_again(
    hot: dict[str, Any], cured: str, at_least: float
) -> None:
    operations = {store: seen["operations"] for store, seen in hot["seen"].items()}
    assert operations[cured] > at_least * operations["plain"], operations


def test_17_a_near_cache_never_shows_what_is_older_than_it_may() -> None:
    near = NearCache(0.5, entries=2)
    near.put("a", 1, asked_s=10.0)
    assert near.get("a", 10.49) == 1
    assert near.get("a", 10.5) is MISSING
    near.put("a", None, 11.0)
    assert near.get("a", 11.1) is None
    near.put("b", 2, 11.0)
    near.put("c", 3, 11.0)
    assert near.get("a", 11.1) is MISSING
    near.forget("b")
    assert near.get("b", 11.1) is MISSING and near.get("c", 11.1) == 3
