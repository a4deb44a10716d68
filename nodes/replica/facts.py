"""What a replica says of itself when it is asked to describe itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocols.replication.replica import LEARNER, NEVER, WITNESS

if TYPE_CHECKING:
    from nodes.replica.driver import ReplicaDriver


def facts_of(driver: ReplicaDriver) -> dict[str, Any]:
    """Role, epoch, positions, who is primary, who else there is."""
    core, lag_s = driver.core, driver.lag_s()
    return {
        "role": role_word(driver),
        "lag_s": round(lag_s, 3) if lag_s < NEVER else None,
        "epoch": core.epoch,
        "lsn": core.storage.last_lsn,
        "committed_lsn": core.visible_lsn,
        "applied_lsn": driver.state_lsn,
        "primary": core.name if driver.is_primary else core.primary,
        "divergent_records": driver.divergent_records,
        "members": dict(core.members),
        "lags_s": lags_s(driver),
    }


def role_word(driver: ReplicaDriver) -> str:
    """`primary`, `replica`, `witness` or `learner`."""
    if driver.is_primary:
        return "primary"
    own = driver.core.members.get(driver.core.name)
    return own if own in (WITNESS, LEARNER) else "replica"


def lags_s(driver: ReplicaDriver) -> dict[str, float]:
    """On the primary: how far each replica is behind (see lag.py)."""
    now_s, core = driver.ctx.clock.monotonic_s(), driver.core
    return {
        name: driver.lag.behind_s(progress.flushed_lsn, now_s)
        for name, progress in core.progress.items()
        if core.members.get(name) != WITNESS
    }
