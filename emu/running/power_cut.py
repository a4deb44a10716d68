"""A power cut that falls into a write: the moment when a disk is weakest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from emu.running.supervisor import Cluster

MOST_S: Final = 1.0
MID_WRITE_S: Final = 0.0003
"""How far into a write the power may fail; a sync takes about 0.2 ms."""


async def crash_in_next_writes(cluster: Cluster, names: Sequence[str]) -> None:
    """Crash each of them while its next write is on the way to the disk, or after MOST_S."""
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(_crash_in_write, cluster, name)


async def _crash_in_write(cluster: Cluster, name: str) -> None:
    disk, begun = cluster.instances[name].handle.disk, trio.Event()
    disk.on_change = begun.set
    with cluster.operator.move_on_after(MOST_S):
        await begun.wait()
        await cluster.operator.sleep(cluster.rng.uniform(0.0, MID_WRITE_S))
    disk.on_change = None
    if name in cluster.instances:
        cluster.crash(name)
