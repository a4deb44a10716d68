"""What each fault and operation does: those of every cluster, and those of one family.

Whoever opens a cluster gives it these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from emu.model import faults
from emu.operations import resharding, switchover
from emu.running import inject
from emu.running.supervisor import Cluster, Injector


async def _promote(cluster: Cluster, fault: faults.Promote) -> None:
    await switchover.promote(cluster, fault.target)


async def _reshard(cluster: Cluster, fault: faults.Reshard) -> None:
    options: dict[str, Any] = {"partitioner": fault.partitioner} if fault.partitioner else {}
    if fault.rate_per_s:
        options["keys_per_s"] = max(1, int(fault.rate_per_s))
    resharding.start(cluster, fault.tier, fault.to, **options)


INJECTORS: Final[Mapping[type[faults.Fault], Injector]] = {
    **inject.INJECTORS, faults.Promote: _promote, faults.Reshard: _reshard,
}  # fmt: skip
