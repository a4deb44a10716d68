"""The experiments of topologies/experiments that concern a replicated database, and what step 5
proposes: each shows what its file says, the bad arm by a number above 0, the good one by 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import emu
from emu.checks.history import Recorder
from emu.topology.loading import load, loads

KILLS_S = (5.0, 20.1)
ELECTION_S, RETRY_S = 0.05, 0.25
EXPERIMENTS = Path(__file__).parents[2] / "topologies" / "experiments"


def played(name: str, for_s: float, seed: int | None = None) -> dict[str, Any]:
    """Play the file's own faults for so long: the summary, `seen` by clients, and the events."""

    async def script(c: emu.Scenario) -> dict[str, Any]:
        topology = c.cluster.topology
        c.start_playing([each for each in topology.faults if (each.at_s or 0.0) < for_s])
        await c.sleep(for_s)
        summary = await c.finish()
        recorder = c.cluster.world.history
        assert isinstance(recorder, Recorder)
        judged = {each["clients"]: each for each in summary["judged"]}
        operations = recorder.operations
        return {**summary, "seen": judged, "events": c.events(), "operations": operations}

    found = emu.run(script, load(EXPERIMENTS / f"{name}.yaml"), seed=seed)
    assert found["anomalies"] == [] and found["undecided"] == []
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_step_5_with_async_loses_what_was_acknowledged_while_nobody_heard(seed: int):
    text = (EXPERIMENTS.parent / "05-replication.yaml").read_text()
    assert "ack: quorum  " in text, "what is changed here"

    async def script(c: emu.Scenario) -> dict[str, Any]:
        c.start_playing(c.cluster.topology.faults)
        await c.sleep(16)
        return await c.finish()

    found = emu.run(script, loads(text.replace("ack: quorum  ", "ack: async  ")), seed=seed)
    assert 3 <= found["lost_acknowledged_writes"] <= found["divergent_records"]
    assert found["verdict"] == "failed" and found["anomalies"] == []


@pytest.fixture(scope="module")
def two_levels() -> dict[str, Any]:
    return played("03-async-or-quorum", 17.0)


def test_3_async_loses_acknowledged_writes_where_quorum_loses_none(two_levels):
    seen = two_levels["seen"]
    assert seen["quorum-clients"]["lost"] == 0
    assert seen["async-clients"]["lost"] > 5
    assert seen["quorum-clients"]["acknowledged"] > 300


def test_3_the_lost_ones_are_told_by_key_and_the_old_primary_saved_them(two_levels):
    lost = two_levels["lost_writes"]
    assert len(lost) == two_levels["lost_acknowledged_writes"] <= two_levels["divergent_records"]
    assert {each["clients"] for each in lost} == {"async-clients"}
    # the replicas heard nothing from 5 s on; the primary died at 5.5 s
    assert all(5.0 <= each["acknowledged_s"] <= 5.51 for each in lost)
    gone = {(each["key"], each["value"]) for each in lost}
    written = {(each.key, each.value) for each in two_levels["operations"] if each.f == "add"}
    assert len(gone) == len(lost) and gone <= written


def test_4_without_a_lease_clients_beside_the_old_primary_read_what_was_overwritten():
    stale = {"fenced-clients": 0, "unfenced-clients": 0}
    for seed in (1, 3):
        found = played("04-lease-fencing", 35.0, seed=seed)
        for name in stale:
            stale[name] += found["seen"][name]["anomalies"]
    assert stale["fenced-clients"] == 0
    assert stale["unfenced-clients"] > 0


def test_4_with_a_lease_the_old_primary_steps_down_before_another_may_stand():
    events = played("04-lease-fencing", 20.0)["events"]
    for tier, both_served in (("fenced", False), ("unfenced", True)):
        promoted = [e for e in events if e["event"] == "promoted" and e.get("tier") == tier]
        (old, *_, new) = promoted[:2]
        stepped_down_s = next(
            each["time_s"]
            for each in events
            if each["event"] == "role changed" and each["node"] == old["node"]
            if each["time_s"] > 5.0
        )
        assert (stepped_down_s > new["time_s"]) == both_served, tier


@pytest.mark.parametrize(("tier", "timeout_s"), [("quick", 0.5), ("usual", 1.0), ("patient", 3.0)])
def test_5_a_failover_takes_as_long_as_its_formula_says(failovers, tier, timeout_s):
    taken = failovers[tier]
    assert len(taken) == len(KILLS_S)
    for promoted_s, writers_s in taken:
        assert 0.75 * timeout_s <= promoted_s <= 1.15 * timeout_s + ELECTION_S
        assert promoted_s <= writers_s <= promoted_s + RETRY_S


@pytest.fixture(scope="module")
def failovers() -> dict[str, list[tuple[float, float]]]:
    """By tier: for each kill, the seconds until a promotion and until a write was acknowledged."""
    found = played("05-failover-time", 28.0)
    taken: dict[str, list[tuple[float, float]]] = {"quick": [], "usual": [], "patient": []}
    for tier, times in taken.items():
        promoted = [e["time_s"] for e in found["events"] if e["event"] == "promoted"
                    and e.get("tier") == tier]  # fmt: skip
        clients = f"{tier}-clients-1."
        written = [each.completed_s for each in found["operations"] if each.f == "add"
                   and each.is_ok and each.process.startswith(clients)]  # fmt: skip
        for kill_s in KILLS_S:
            next_s = min(at_s for at_s in promoted if at_s > kill_s)
            write_s = min(at_s for at_s in written if at_s > kill_s + 0.01)
            times.append((next_s - kill_s, write_s - kill_s))
    return taken


def test_6_without_a_token_clients_miss_their_own_writes_and_with_it_never():
    seen = played("06-read-your-writes", 15.0)["seen"]
    assert seen["with-token"]["anomalies"] == 0
    assert seen["without-token"]["anomalies"] > 10
    assert seen["with-token"]["operations"] > 0.8 * seen["without-token"]["operations"]
