"""What tests of the message queue in virtual time share."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from protocols.errors import RpcError

THREE = """
tiers:
  queue:
    kind: queue
    public: true
    topics:
      orders: {partitions: 3}
      jobs: {partitions: 2, ack_wait: 2s, max_deliver: 3, dead_letters: jobs.dead}
"""
BROKER = "queue-broker-1"
FRONT = "queue-front"


def sim(script: Any, text: str = THREE, **options: Any) -> Any:
    return run(script, loads(text), **options)


async def ready(c: Scenario, topic: str = "orders", *, calls: str = FRONT) -> None:
    """Return once the queue serves."""
    for _ in range(200):
        with suppress(RpcError):
            await c.call(calls, "offsets", topic)
            return
        await c.sleep(0.1)
    raise AssertionError("the queue does not come up")


async def primary_of(c: Scenario, tier: str = BROKER) -> str:
    """The primary, once there is one that serves."""
    for _ in range(200):
        for row in await c.ps(tier):
            if row["role"] == "primary":
                with suppress(RpcError):
                    await c.call(row["name"], "topics")
                    return str(row["name"])
        await c.sleep(0.1)
    raise AssertionError(f"{tier} has no primary")


def values(polled: Any) -> list[Any]:
    """Of what a poll answered."""
    return [value for _, _, _, value, _ in polled["records"]]
