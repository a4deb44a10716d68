"""Experiment 19: where too much is asked the least urgent is refused, at every server on its way.

CI plays a third of the file's rates, in the same ratios.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import emu
from emu.cli.top_screen import draw
from emu.observe import page
from emu.observe.sampling import Sampler
from emu.observe.status import status
from emu.scenario import Scenario
from emu.topology.loading import loads

FILE = Path(__file__).parents[2] / "topologies" / "experiments" / "19-shed-the-least.yaml"
BEHIND = """
name: behind
tiers:
  web: {kind: web, public: true, uses: db}
  db: {kind: database, cpu: {cores: 1, service_time: 30ms, max_queue: 100, shed_wait: 150ms}}
users:
  local:
    rate: 80/s
    visits: web
    retries: 0
    mix: {post: 10, profile: 90, home: 0, search: 0, asset: 0, timeline: 0}
    urgency: {post: 0, profile: 7}
accepts: {single-point: one of each is enough here, impossible-rate: the lesson}
"""


async def shares(c: Scenario, tier: str, seconds: float) -> dict[str, float]:
    """Operation → the share of it that succeeds."""

    def counted() -> dict[str, tuple[float, float]]:
        return {
            each: (
                c.metrics(tier, "user_requests_total", operation=each, outcome="ok"),
                c.metrics(tier, "user_requests_total", operation=each),
            )
            for each in operations
        }

    (users,) = [each for each in c.cluster.topology.users if each.name == tier]
    operations = [name for name, weight in users.config.mix.weights().items() if weight]
    before = counted()
    await c.sleep(seconds)
    after = counted()
    return {
        each: (after[each][0] - before[each][0]) / (after[each][1] - before[each][1])
        for each in operations
    }


THIRD = {"180/s": "60/s", "20ms": "60ms", "100ms": "300ms", "max_queue: 100": "max_queue: 40"}


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_19_every_post_is_taken_where_requests_say_how_urgent_they_are(whole: bool) -> None:
    async def script(c: Scenario) -> None:
        await c.sleep(2.0)
        found: dict[str, dict[str, float]] = {}

        async def look(arm: str) -> None:
            found[arm] = await shares(c, f"users-{arm}", 7.0)

        sampler = Sampler(c.cluster)
        async with trio.open_nursery() as nursery:
            for arm in ("alike", "urgent"):
                nursery.start_soon(look, arm)
            await c.sleep(5.0)
            await sampler.sample()
            await c.sleep(1.0)
            await sampler.sample()
        alike, urgent = found["alike"], found["urgent"]
        assert max(alike.values()) - min(alike.values()) < 0.12 and alike["post"] < 0.7
        assert urgent["post"] > 0.98 > urgent["home"] > urgent["search"] + 0.3
        at = "urgent-web"
        by_urgency = [c.metrics(at, "cpu_shed_total", urgency=str(each)) for each in (1, 3, 6)]
        assert by_urgency[2] > by_urgency[1] > 10 * by_urgency[0]
        shown = status(c.cluster, sampler)
        told = [line.plain for line in draw(shown, [], 120, 40) if "sheds " in line.plain]
        assert len(told) == 1 and told[0].startswith("urgent-web"), told
        assert "/s of urgency " in page.inside(shown, [])

    text = FILE.read_text()
    for old, new in () if whole else THIRD.items():
        assert old in text
        text = text.replace(old, new)
    emu.run(script, loads(text))


def test_urgency_travels_to_the_servers_behind() -> None:
    async def script(c: Scenario) -> None:
        await c.sleep(2.0)
        found = await shares(c, "users-local", 5.0)
        assert found["post"] > 0.97 and found["profile"] < 0.8
        assert c.metrics("db", "cpu_shed_total", urgency="7") > 30
        assert c.metrics("db", "cpu_shed_total", urgency="0") < 5

    emu.run(script, loads(BEHIND))
