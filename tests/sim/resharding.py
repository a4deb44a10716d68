"""A reshard from its first node to its last, waited for where a test needs what came of it."""

from __future__ import annotations

from typing import Any

from emu.operations.operating import Operating, cancel
from emu.running.supervisor import Cluster
from nodes.kv.resharding import RESHARD, Reshard


async def reshard(cluster: Cluster, group: str, to: int, **options: Any) -> dict[str, Any]:
    """What the coordinators say of it in the end."""
    operating = Operating(cluster, RESHARD, Reshard(group, to, **options))
    operating.check()
    await operating.run()
    assert operating.progress is not None
    return dict(operating.progress.answer)


async def cancel_reshard(cluster: Cluster, group: str) -> bool:
    return await cancel(cluster, RESHARD, group)
