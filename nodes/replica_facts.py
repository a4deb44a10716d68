"""What a replica says of itself when it is asked to describe itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocols.replication import LEARNER, NEVER, WITNESS

if TYPE_CHECKING:
    from nodes.replica import ReplicaDriver


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
        "lags_s": driver.lags_s(),
    }


def role_word(driver: ReplicaDriver) -> str:
    """`primary`, `replica`, `witness` or `learner`."""
    if driver.is_primary:
        return "primary"
    own = driver.core.members.get(driver.core.name)
    return own if own in (WITNESS, LEARNER) else "replica"
