"""What a replica says of itself when it is asked to describe itself."""

from __future__ import annotations

from typing import Any, Protocol

from nodes.base import Context
from nodes.replica.files import ReplicaFiles
from nodes.replica.lag import LagClock
from nodes.replica.refusals import without_room
from protocols.replication.replica import LEARNER, NEVER, WITNESS, Replica


class Driver(Protocol):
    """Who is asked (driver.ReplicaDriver)."""

    ctx: Context
    core: Replica
    files: ReplicaFiles
    lag: LagClock
    state_lsn: int
    divergent_records: int

    @property
    def is_primary(self) -> bool: ...
    def lag_s(self) -> float: ...


def facts_of(driver: Driver) -> dict[str, Any]:
    """Role, epoch, positions, who is primary, who else there is."""
    core, lag_s = driver.core, driver.lag_s()
    full = {"disk": "full"} if driver.files.lacks_room else {}
    return {
        **full,
        "role": role_word(driver),
        "lag_s": round(lag_s, 3) if lag_s < NEVER else None,
        "epoch": core.epoch,
        "serves": core.can_serve(driver.ctx.clock.monotonic_s()),
        "founding": core.founding,
        "lsn": core.storage.last_lsn,
        "committed_lsn": core.visible_lsn,
        "epochs": [list(each) for each in core.storage.epochs_until(core.storage.last_lsn)],
        "applied_lsn": driver.state_lsn,
        "primary": core.name if driver.is_primary else core.primary,
        "divergent_records": driver.divergent_records,
        "members": dict(core.members),
        "voters": [name for name, role in core.members.items() if role != LEARNER],
        "lags_s": lags_s(driver),
        "without_room": without_room(core),
    }


def role_word(driver: Driver) -> str:
    """`primary`, `replica`, `witness` or `learner`."""
    if driver.is_primary:
        return "primary"
    own = driver.core.members.get(driver.core.name)
    return own if own in (WITNESS, LEARNER) else "replica"


def lags_s(driver: Driver) -> dict[str, float]:
    """On the primary: how far each replica is behind (see lag.py)."""
    now_s, core = driver.ctx.clock.monotonic_s(), driver.core
    return {
        name: driver.lag.behind_s(progress.flushed_lsn, now_s)
        for name, progress in core.progress.items()
        if core.members.get(name) != WITNESS
    }
