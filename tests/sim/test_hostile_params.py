"""Whatever params a method is called with, it refuses in words: no node answers `internal`."""

from __future__ import annotations

import random
from typing import Any

import pytest

import emu
from nodes.wire.service import Service
from protocols.errors import RpcError

WORDS = ("", "k", "{a}k", "db", "posts", "SELECT 1", "request_id", "min_lsn", "limit", "if",
         "ttl_ms", "count", "x" * 300, "*", b"\x00\xff")  # fmt: skip
NUMBERS = (0, -1, 1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, -1.0, float("nan"), float("inf"))
KEYS = (*WORDS[:-1], 1, True, None, 2.5)
PATIENCE_S = 0.5
"""A call that waits (for a lease, for news) is cancelled: that is an answer too."""
LEFT_ALONE = {"begin"}
"""It is always right, and would hold every writer up."""


def any_value(rng: random.Random, depth: int = 0) -> Any:
    match rng.randrange(8 if depth < 3 else 5):
        case 0:
            return rng.choice((None, True, False))
        case 1 | 2:
            return rng.choice(NUMBERS)
        case 3 | 4:
            return rng.choice(WORDS)
        case 5 | 6:
            return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        case _:
            return {rng.choice(KEYS): any_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def methods_by_node(services: list[Service], nodes: set[str]) -> dict[str, list[str]]:
    """The methods of one node of each tier."""
    found: dict[str, list[str]] = {}
    tiers: dict[str, str] = {}
    for service in services:
        name = service.ctx.name
        if name in nodes and tiers.setdefault(service.ctx.tier, name) == name:
            methods = (each for each in service.methods if each not in LEFT_ALONE)
            found.setdefault(name, []).extend(methods)
    return found


async def ask_everything(c: emu.Scenario, services: list[Service], times: int) -> dict[str, str]:
    """Call every method with anything; by node and method, what was answered `internal`."""
    await c.sleep(3)
    rng, operator, slots = random.Random(7), c.cluster.operator, c.cluster.instances
    internal: dict[str, str] = {}
    for name, methods in methods_by_node(services, set(slots)).items():
        client = operator.client(name, slots[name].spec.port)
        for method in [each for each in methods for _ in range(times)]:
            params = [any_value(rng) for _ in range(rng.randrange(5))]
            with operator.move_on_after(PATIENCE_S):
                try:
                    await client.call(method, *params)
                except RpcError as error:
                    if error.code == "internal":
                        internal[f"{name} {method}"] = f"{error} for {params!r}"
        client.close()
        (row,) = await c.ps(name)
        assert row["state"] == "up", name
    return internal


@pytest.mark.parametrize(
    "step", ["04-load-balancer", "05-replication", "06-cache", "10-message-queue", "11-sharding"]
)
def test_no_method_of_any_tier_answers_internal(step, monkeypatch):
    services: list[Service] = []
    make = Service.__init__

    def noted(self, *params, **options):
        services.append(self)
        make(self, *params, **options)

    monkeypatch.setattr(Service, "__init__", noted)

    async def script(c: emu.Scenario) -> dict[str, str]:
        return await ask_everything(c, services, times=6)

    assert emu.run(script, f"topologies/{step}.yaml", world="sim") == {}
