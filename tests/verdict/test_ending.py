"""How a run ends: its figures are of one moment, and say what they rest on."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from emu.control.server import ControlServer
from emu.model.expectations import parse
from emu.observe.node_series import _node_series
from emu.observe.sampling import Sampler
from emu.scenario import Scenario, run
from emu.topology.loading import loads
from emu.verdict.judging import Judge
from emu.verdict.summary import LOST, _why
from nodes.wire.service import Call

FILE = """
tiers: {web: {kind: web, uses: db, public: true}, db: {kind: database, nodes: 3}}
users: {local: {rate: 80/s, visits: web, retries: 0}}
"""
FAILING = f"""links: {{defaults: {{within: 9ms}}}}
{FILE.replace("retries: 0", "retries: 0, timeout: 1ms")}"""


def test_no_more_failures_are_told_of_faults_than_of_the_run() -> None:
    """Hurried, while a node hangs that is asked what it is: 6 of 213 failed, beside 3 errors."""

    async def script(c: Scenario) -> None:
        sampler, judge = Sampler(c.cluster), Judge(c.cluster)
        judge.sample = sampler.sample
        c.cluster.nursery.start_soon(sampler.run)
        await c.sleep(3)
        await c.kill("web")
        await c.pause("db-3")
        await c.sleep(1.8)
        summary = await judge.hurry((), 5.0)
        sampled = sum(each.tiers["users-local"].errors for each in sampler.samples)
        assert summary["errors"] >= sampled > summary["errors"] - 10 > 50

    run(script, loads(FILE))


def test_what_an_end_waits_for_is_known_meanwhile() -> None:
    """Thirty seconds of silence look as if it hung."""

    async def script(c: Scenario) -> None:
        judge = Judge(c.cluster)
        await c.slow("web", for_s=1)
        await c.sleep(2)
        seen: dict[str, None] = {}

        async def look() -> None:
            while True:
                seen[judge.waits_for] = None
                await c.cluster.operator.sleep(0.5)

        c.cluster.nursery.start_soon(look)
        summary = await judge.finish((), 1.0)
        (stuck, *_) = summary["anomalies"]
        assert "no success yet; failures by reason: " in stuck["text"] and "{" not in stuck["text"]
        texts = list(seen)
        assert any("a request of users-local-1 to be answered well (30 s at" in t for t in texts)
        assert any("clients, who read back" in text for text in texts)

    run(script, loads(FAILING))


def test_what_somebody_deletes_by_hand_is_no_loss_of_the_site() -> None:
    async def script(c: Scenario) -> None:
        judge, control = Judge(c.cluster), ControlServer(c.cluster)
        expect, numbers = [parse("lost_acknowledged_writes == 0")], count()

        async def sql(statement: str, lease: Any = None) -> dict[str, Any]:
            options = {"lease": lease, "request_id": f"by hand {next(numbers)}"}
            return await control._sql(Call(), "db", statement, options)

        await c.sleep(6)
        await sql("SELECT count(*) FROM posts")
        await sql("CREATE TABLE mine (id INTEGER PRIMARY KEY)")
        lease = (await sql("BEGIN"))["lease"]
        await sql("DELETE  FROM posts", lease)
        assert judge.watch.by_hand == {}, "until it is done"
        await sql("COMMIT", lease)
        (told,) = judge.watch.by_hand["db"]
        assert told.startswith("`DELETE FROM posts` by hand at ")
        summary = await judge.finish(expect, 6.0)
        assert summary[LOST] > 3 and summary["anomalies"] == []
        assert summary["verdict"] == "unknown" and told in summary["why"][0]
        assert summary["written_by_hand"] == [told]

    run(script, loads(FILE))


def test_whom_nobody_runs_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process had joined by itself and was killed: `emu up` never ended."""

    async def script(c: Scenario) -> None:
        judge, gone = Judge(c.cluster), c.cluster.instances["db-3"].handle
        await c.sleep(1)
        await c.kill("db-3")
        boot, here = type(gone).boot, c.cluster.world.timers.now_s
        waits = property(lambda self: "a process" if self is gone else "")
        monkeypatch.setattr(type(gone), "waits_for", waits)
        monkeypatch.setattr(
            type(gone), "boot", lambda self, *a, **k: None if self is gone else boot(self, *a, **k)
        )
        asked_s = here()
        await c.heal()
        assert here() - asked_s < 1, "who may never come is not waited for"
        with monkeypatch.context() as booted:
            booted.setattr(type(gone), "running", True)
            series = _node_series(c.cluster, c.cluster.instances["db-3"])
            assert series.total("node_up") == 0, "it does not run while it waits"
        summary = await judge.finish((), 1.0)
        assert (summary["verdict"], summary["anomalies"]) == ("unknown", [])
        assert summary["why"] == ["db-3 could not be read: it waited for a process"]
        assert summary["lost_acknowledged_writes"] == 0, "of those who were there"

    run(script, loads(FILE))


@pytest.mark.parametrize(
    ("lost", "expected", "told"),
    [(43, [], 1), (0, [], 0), (None, [], 0), (43, ["lost_acknowledged_writes <= 50"], 0)],
)
def test_a_run_that_passed_and_lost_writes_says_that_nothing_forbids_it(
    lost: int | None, expected: list[str], told: int
) -> None:
    held = [{"text": text, "held": True} for text in expected]
    found = {
        "verdict": "passed", "anomalies": [], "expectations": held, LOST: lost,
        "written_by_hand": [],
    }  # fmt: skip
    why = list(_why(found, complete=True))
    assert len(why) == told and all("nothing forbids the lost writes" in each for each in why)
