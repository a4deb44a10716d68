"""What each fault and operation does: those of every cluster, and those that its kinds bring.

Whoever opens a cluster gives it this.
"""

from __future__ import annotations

from typing import Any, Final

from emu.model.faults import Fault, from_record
from emu.model.vocabulary import operations, verbs_of
from emu.operations.console import seat_for
from emu.operations.operating import Operating
from emu.running import inject as general
from emu.running.active import Undo
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from nodes.operations import Operation

MAX_KEPT: Final = 100
"""Operations whose end is remembered; the oldest are forgotten."""


async def inject(cluster: Cluster, fault: Fault) -> Undo | None:
    """Do it now. An operation that takes its time goes on by itself. Raises TargetError, and
    RpcError where nodes refuse."""
    known = general.INJECTORS.get(type(fault))
    if known is not None:
        return await known(cluster, fault)
    operating = Operating(cluster, operation_of(cluster, fault.verb), fault)
    operating.check()
    _keep(cluster, operating)
    if operating.operation.undo is not None:
        return await operating.lasting()
    if operating.operation.progress is not None:
        cluster.nursery.start_soon(operating.run_aside)
    elif operating.operation.run is not None:  # once begun it is done, though who asked leaves
        cluster.nursery.start_soon(operating.run_aside)
        await operating.over.wait()
        if operating.error is not None:
            raise operating.error
    else:
        await operating.run()
    return None


def operation_of(cluster: Cluster, verb: str) -> Operation:
    """Raises TargetError."""
    found = operations(cluster.topology).get(verb)
    if found is None:
        raise TargetError(f"nothing here is told to `{verb}`")
    return found


def latest(cluster: Cluster, fault: Fault) -> Operating | None:
    """What was done last by this verb to what the word means."""
    found = cluster.operations.get((fault.verb, str(getattr(fault, fault.main))))
    return found if isinstance(found, Operating) else None


def read(cluster: Cluster, record: dict[str, Any]) -> Fault:
    """A fault of this cluster's vocabulary from its record. Raises ValueError, TargetError."""
    found = operations(cluster.topology)
    operation = found.get(str(record.get("verb")))
    if operation is not None and operation.word.main == "tier":
        record = {**record, "tier": meant(cluster, operation, str(record.get("tier") or ""))}
    return from_record(record, verbs_of(found))


def meant(cluster: Cluster, operation: Operation, tier: str) -> str:
    """That tier; where none is said, the only one that it can be done to. Raises TargetError."""
    if tier:
        return tier
    seat = seat_for(cluster, operation)
    there = seat.there()
    if len(there) != 1:
        raise seat.refusal("")
    return there[0]


def _keep(cluster: Cluster, operating: Operating) -> None:
    key = (operating.operation.verb, operating.main)
    cluster.operations.pop(key, None)
    cluster.operations[key] = operating
    for old in list(cluster.operations)[:-MAX_KEPT]:
        del cluster.operations[old]
