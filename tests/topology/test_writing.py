"""Timelines written as YAML read back as the very same, for every verb there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emu.model import faults
from emu.model.topology import FaultItem
from emu.model.vocabulary import verbs
from emu.topology.loading import load, loads
from emu.topology.writing import recorded, timeline_yaml, with_timeline
from nodes.cache.operations import Flush, Get, Stats, Warm
from nodes.cdn.operations import Objects, PurgeWord
from nodes.kv.resharding import Reshard
from nodes.parts.deploying import Deploy
from nodes.queue.operations import DeadLetters, Groups, Publish, Redrive, Tail, Topics
from nodes.replica.backing_up import Back, Restore
from nodes.replica.recovering import Recover
from nodes.sql.switchover import Promote

FULL = Path("topologies/full.yaml")
EVERY = (
    FaultItem(faults.Kill("one web"), 3.271, for_s=2.0),
    FaultItem(faults.Crash("web-1,web-2"), 0.25, on="promoted", for_s=1.5),
    FaultItem(faults.Kill("db primary"), 0.02, on="promoted", for_s=1.5, since_s=3.25),
    FaultItem(faults.Stop("web-2"), 1.0),
    FaultItem(faults.Start("web-2"), 2.0),
    FaultItem(faults.Restart("db"), 2.0),
    FaultItem(faults.Pause("db primary"), 2.5, for_s=0.333),
    FaultItem(faults.Unpause("db"), 2.6),
    FaultItem(faults.Partition(("web-1,web-2", "db"), one_way=True, mode="reject"), 1.0, for_s=0.5),
    FaultItem(
        faults.Slow("web", latency_s=0.123, jitter_s=0.05, to="db", one_way=True), 1.0, for_s=60.0
    ),
    FaultItem(faults.Loss("web", loss_ratio=0.073, to="db"), 9.0),
    FaultItem(faults.Throttle("web", 54321.0), 9.0),
    FaultItem(faults.Disk("db", slow_factor=12.5, fail="writes", full=True), 9.0),
    FaultItem(faults.Skew("db-1", step_s=-3.5, drift_ratio=-0.004), 2.0),
    FaultItem(faults.Cpu("web-1", cores=4), 2.0),
    FaultItem(faults.Storage("db", bandwidth_bytes_per_s=5e8, capacity_bytes=1 << 31), 2.0),
    FaultItem(faults.Scale("web", 5), 2.0),
    FaultItem(Reshard("kv", to=4, partitioner="ring", rate_per_s=500.0), 2.0),
    FaultItem(Promote("db db-1"), 2.0),
    FaultItem(Deploy("web", app="shop:app", canary_ratio=0.25, watch_s=5.0), 2.0),
    FaultItem(Back("db", file="db.backup"), 2.0),
    FaultItem(Recover("db", apply="all", epoch=2), 2.0),
    FaultItem(Restore("db", file="db.backup", at=7), 2.0),
    FaultItem(PurgeWord("edge", url="/static/hero.svg"), 2.0),
    FaultItem(Objects("edge", prefix="/static/", most=3), 2.0),
    FaultItem(Stats("cache"), 2.0),
    FaultItem(Get("cache", key="home"), 2.0),
    FaultItem(Flush("cache-1"), 2.0),
    FaultItem(Warm("cache-1,cache-2"), 2.0),
    FaultItem(Topics("queue"), 2.0),
    FaultItem(Groups("queue"), 2.0),
    FaultItem(Tail("queue", topic="photos", records=3), 2.0),
    FaultItem(Publish("queue", topic="photos", value="{}", key="ada"), 2.0),
    FaultItem(DeadLetters("queue", topic="photos"), 2.0),
    FaultItem(Redrive("queue", topic="photos", records=5), 2.0),
    FaultItem(faults.Wipe("web-1"), 3.0, for_s=1.0),
    FaultItem(faults.Late("web-2", up_to_s=0.2), 3.0, for_s=1.0),
    FaultItem(faults.Crash("db", in_write=True, file="log"), 4.0, for_s=1.0),
    FaultItem(faults.Call("lb", "set_state", ("web-3", "drain")), 2.0),
    FaultItem(faults.Heal(), 9.0),
)


def read(text: str) -> list[FaultItem]:
    return [replace(item, line=0) for item in loads(text, path=FULL).faults]


def test_every_verb_reads_back_as_it_was_written():
    assert {item.fault.verb for item in EVERY} == set(verbs())
    bare = with_timeline(FULL, ()).replace("faults: []\n", "")
    text = bare + timeline_yaml(EVERY)
    assert read(text) == list(EVERY)


def test_a_topology_with_another_timeline_is_otherwise_the_same_and_keeps_its_comments():
    text = with_timeline(FULL, EVERY)
    assert read(text) == list(EVERY)
    changed = loads(text, path=FULL)
    original = load(FULL)
    assert [replace(each, line=0) for each in changed.tiers] == [
        replace(each, line=0) for each in original.tiers
    ]
    assert "# What it teaches" in text
    assert read(with_timeline(FULL, ())) == []


def test_what_was_done_by_hand_becomes_a_timeline_from_the_runs_start():
    kill = {"number": 1, "verb": "kill", "target": "one web", "affected": ["web-2"]}
    cut = {"number": 2, "verb": "partition", "between": ("web", "db"), "one_way": False,
           "mode": "hold"}  # fmt: skip
    records = [{**kill, "at_s": 5.5, "ended_s": 7.75, "for_s": 10.0}, {**cut, "at_s": 6.0}]
    assert recorded(records, began_s=0.5) == [
        FaultItem(faults.Kill("web-2"), 5.0, for_s=2.25),
        FaultItem(faults.Partition(("web", "db")), 5.5),
    ]
