"""Users who leave hang up: their idle connections keep nobody out."""

from __future__ import annotations

from emu.scenario import Scenario
from tests.sim.queues import sim

TEXT = """
tiers:
  lb: {kind: balancer, public: true, balances: web, max_conn: 1, queue_timeout: 3s}
  web: {kind: web, nodes: 2}
users:
  local: {clients: 6, think_time: 200ms, visits: lb, mix: {post: 60}, timeout: 4s}
"""


def test_who_reads_back_finds_a_place_where_each_server_has_one() -> None:
    async def script(c: Scenario) -> None:
        await c.sleep(8)
        summary = await c.finish()
        unread = [each["text"] for each in summary["anomalies"] if "read back" in each["text"]]
        assert unread == []
        assert summary["acknowledged_writes"] > 0

    sim(script, TEXT)
