"""A power cut that falls into a write: the moment when a disk is weakest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from emu.running.supervisor import Cluster

MOST_S: Final = 1.0
MOST_FOR_FILE_S: Final = 3.0
"""One file may be written seldom."""
MID_WRITE_S: Final = 0.0003
"""How far into a write the power may fail; a sync takes about 0.2 ms."""
CHANGES: Final = (1, 1, 2, 3)
"""Which change of the file that is: written aside, synced, renamed."""


async def crash_in_next_writes(cluster: Cluster, names: Sequence[str], file: str = "") -> None:
    """Crash each of them while its next write is on the way to the disk, or after MOST_S; with
    `file` a write of a file whose name begins so."""
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(_crash_in_write, cluster, name, file)


async def _crash_in_write(cluster: Cluster, name: str, file: str) -> None:
    disk, begun = cluster.instances[name].handle.disk, trio.Event()
    left = cluster.rng.choice(CHANGES) if file else 1

    def changing(changed: str) -> None:
        nonlocal left
        left -= changed.startswith(file)
        if left:
            disk.on_change = changing
        else:
            begun.set()

    disk.on_change = changing
    with cluster.operator.move_on_after(MOST_FOR_FILE_S if file else MOST_S):
        await begun.wait()
        await cluster.operator.sleep(cluster.rng.uniform(0.0, MID_WRITE_S))
    disk.on_change = None
    if name in cluster.instances:
        cluster.crash(name)
