"""How a run ends: what is wrong is said in words, and what is permitted only counted."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import emu
from emu.running.supervisor import CHANGED
from emu.topology.loading import load, loads
from emu.verdict import judging
from emu.verdict.judging import Watch
from emu.verdict.promises import why_losses_are_permitted
from nodes.replica.driver import ReplicaDriver
from nodes.replica.log_digest import log_digest
from nodes.sql import database
from nodes.sql.state import SqlState
from protocols.stepping import Steps
from tests.sim.test_clients import topology

FORGETFUL = Path(__file__).parent / "forgetful" / "forgetful.yaml"


def stores(kind: str):
    text = FORGETFUL.read_text().replace("forgetful:STORE", f"forgetful:{kind}")
    return replace(loads(text, path=FORGETFUL), faults=())


def test_clients_without_success_after_healing_are_a_failure_with_its_reason():
    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        await c.kill("store", for_s=1)
        await c.sleep(2)
        return await c.finish()

    summary = emu.run(script, stores("SULKER"))
    (anomaly,) = summary["anomalies"]
    assert anomaly["kind"] == "liveness"
    assert re.search(r"^30 s after healing, at [\d.]+ s, asker-1 has had no", anomaly["text"])
    assert summary["verdict"] == "failed"


def test_a_node_that_breaks_by_itself_is_named_with_its_error():
    async def script(c: emu.Scenario) -> dict:
        await c.sleep(3)
        return await c.finish()

    summary = emu.run(script, stores("FRAGILE"))
    first = summary["anomalies"][0]
    assert first["kind"] == "failure"
    said = (
        r"store-1 failed by itself at [\d.]+ s: ZeroDivisionError: the third write \(\S+\.py:\d+ in"
    )
    assert re.match(said, first["text"])
    assert "store-1: node failed, error ZeroDivisionError" in first["operations"][-1]


def test_a_node_that_its_disk_fails_may_give_up_and_is_started_again():
    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        await c.disk("one db replica", fail="writes", for_s=1)
        await c.sleep(3)
        assert "OSError" in c.events("node failed")[0]["error"]
        return await c.finish()

    assert emu.run(script, topology("register"))["anomalies"] == []


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.3])
def test_a_run_that_ends_before_its_store_was_ready_has_lost_nothing(after_s: float):
    """Who asks for the end at once, or whose computer was busy until then."""

    async def script(c: emu.Scenario) -> dict:
        await c.sleep(after_s)
        return await c.finish()

    summary = emu.run(script, topology("register"))
    assert (summary["anomalies"], summary["verdict"]) == ([], "passed")


def test_a_long_judgement_does_not_make_the_run_before_it_untrustworthy(monkeypatch):
    held = []
    judged = judging.judge_history

    def judge_history(*arguments: Any) -> Any:
        held.append("the judge holds the loop")
        return judged(*arguments)

    monkeypatch.setattr(judging, "judge_history", judge_history)

    async def script(c: emu.Scenario) -> dict:
        said = c.cluster.world.fidelity
        monkeypatch.setattr(
            c.cluster.world, "fidelity", lambda: {**said(), "trustworthy": not held}
        )
        await c.sleep(1)
        return await c.finish()

    assert emu.run(script, topology("register"))["trustworthy"] is True
    assert held


def test_replicas_that_differ_in_the_end_are_told_apart_by_table(monkeypatch):
    true_digests = SqlState.digests_in_steps

    def digests(self: SqlState) -> Steps[dict[str, str]]:
        found = yield from true_digests(self)
        return {**found, "registers": "another"} if "db-2" in self._vfs_name else found

    monkeypatch.setattr(SqlState, "digests_in_steps", digests)

    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        return await c.finish()

    (anomaly,) = emu.run(script, topology("register"))["anomalies"]
    assert anomaly["kind"] == "state"
    assert "db-1 and db-2 differ" in anomaly["text"] and '"registers"' in anomaly["text"]


def test_logs_that_committed_different_records_are_a_failure(monkeypatch):
    async def digest(driver: ReplicaDriver) -> dict:
        found = await log_digest(driver)
        if driver.core.name == "db-3":
            del found["records"][:2]  # as if its log began later
            found["first_lsn"] += 2
            found["records"][5][1] += 1
        return found

    monkeypatch.setattr(database, "log_digest", digest)

    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        return await c.finish()

    (anomaly,) = emu.run(script, topology("register"))["anomalies"]
    assert anomaly["kind"] == "state"
    assert "db-1 and db-3 differ at record 5: [8, " in anomaly["text"]


def test_two_primaries_in_one_epoch_are_a_failure():
    watch = Watch(lambda event: event["event"] == "promoted")
    for node, epoch in (("db-1", 1), ("db-2", 2), ("db-1", 2)):
        watch.look({"event": "promoted", "tier": "db", "node": node, "epoch": epoch})
    (anomaly,) = watch.anomalies(damaged=False)
    assert anomaly.text == "db: epoch 2 had two primaries, db-2 and db-1"


def test_a_tier_that_was_gone_begins_again_with_its_epochs():
    watch = Watch(lambda event: event["event"] == "promoted")
    for node, gone in (("kv-1-1", ["kv-2"]), ("kv-1-2", ["kv-1"]), ("kv-1-1", [])):
        watch.look({"event": "promoted", "tier": "kv-1", "node": node, "epoch": 1})
        watch.look({"event": CHANGED, "added": 0, "removed": 2, "gone": gone})
    (anomaly,) = watch.anomalies(damaged=False)
    assert anomaly.text == "kv-1: epoch 1 had two primaries, kv-1-1 and kv-1-2"
    (again,) = [nodes for (_, times, _), nodes in watch.promotions.items() if times]
    assert list(again) == ["kv-1-1"]


@pytest.mark.parametrize(
    ("ack", "permitted"), [("quorum", False), ("async", True), ("ANY 1", False), ("local", True)]
)
def test_loss_is_permitted_where_a_tier_behind_the_clients_says_so(ack, permitted):
    plan = loads(
        f"""
tiers:
  db: {{kind: database, nodes: 3, ack: {ack}}}
  web: {{kind: web, uses: db}}
  lb: {{kind: balancer, public: true, balances: web}}
users:
  local: {{rate: 1/s, visits: lb}}
"""
    )
    why = why_losses_are_permitted(plan, "users-local")
    assert bool(why) == permitted
    assert not permitted or why.startswith(f"db: `ack: {ack}`")


def test_the_shipped_topologies_lose_nothing_by_their_settings():
    for path in sorted(Path("topologies").glob("0[1-4]-*.yaml")):
        plan = load(path)
        assert [why_losses_are_permitted(plan, tier.name) for tier in plan.users] == [""]


def test_an_error_that_ends_one_request_only_is_an_anomaly_unless_the_world_failed_it():
    watch = Watch(lambda event: False)
    fields = {"node": "web-1", "at_s": 1.0, "level": "error"}
    watch.look({**fields, "event": "handler failed", "error": "AssertionError('no')"})
    watch.look({**fields, "event": "connection failed", "error": "TimeoutError('no answer')"})
    watch.look({**fields, "event": "handler failed", "error": "AssertionError('no')"})
    found = [each.text for each in watch.anomalies(damaged=False)]
    assert found == ["web-1: handler failed: AssertionError('no')"]
    assert watch.anomalies(damaged=True) == []


WRONG_APP = """
async def app(request, services):
    return "a text is no Response"
"""


def test_a_site_that_never_answers_is_a_failure_although_nothing_was_measured(tmp_path: Path):
    (tmp_path / "wrong_app.py").write_text(WRONG_APP)
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "tiers: {web: {kind: web, public: true, app: 'wrong_app:app'}}\n"
        "users: {local: {rate: 5/s, visits: web}}\n"
        "accepts: {single-point: a test}\n"
    )

    async def script(c: emu.Scenario) -> dict:
        await c.sleep(3)  # users are warming up still
        return await c.finish()

    summary = emu.run(script, file)
    assert (summary["verdict"], summary["requests"]) == ("failed", 0)
    raised = "TypeError('the app returned str, not a Response')"
    assert any(raised in why for why in summary["why"]), summary["why"]
    assert any("users-local-1 never had a good answer: internal" in why for why in summary["why"])
