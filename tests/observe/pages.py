"""What tests of the observations share: pages of a simulated or live cluster, read back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import emu
from emu.observe.exposition import Exposition

FOUR = "topologies/04-load-balancer.yaml"
T = TypeVar("T")


def parsed(page: bytes) -> dict[str, Metric]:
    """Family name (as Prometheus writes it) → family. Raises on text that Prometheus refuses."""
    return {family.name: family for family in text_string_to_metric_families(page.decode())}


def values(page: bytes, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name: label values in the order of their names → value."""
    return {
        tuple(each for _, each in sorted(sample.labels.items())): sample.value
        for family in parsed(page).values()
        for sample in family.samples
        if sample.name == name
    }


async def node_page(c: emu.Scenario, node: str) -> bytes:
    """What the node itself says, asked as a scrape asks it."""
    return bytes(await c.cluster.call_admin(node, "metrics"))


def observed(script: Callable[[emu.Scenario, Exposition], Awaitable[T]], topology: str = FOUR) -> T:
    """Run `script(c, exposition)` in virtual time."""

    async def run(c: emu.Scenario) -> T:
        return await script(c, Exposition(c.cluster))

    return emu.run(run, topology)
