"""What a group's members agree on, the words for their roles, and how a request is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from protocols.replication.quorum import AckRule

FOLLOWER: Final = "follower"
CANDIDATE: Final = "candidate"
PRIMARY: Final = "primary"
NEVER: Final = float("inf")


class Refused(Exception):
    """The request did not take effect, for the reason given."""


class NotPrimary(Refused):
    """Only the primary can do this; `primary` is who that may be."""

    def __init__(self, primary: str | None) -> None:
        super().__init__(f"not the primary; that may be {primary}")
        self.primary = primary


class Rng(Protocol):
    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """What all members of a group agree on, and this member's name."""

    name: str
    group: str = ""
    """The group's own name: what is said in another is refused."""
    witness: bool = False
    """This member votes and holds no data."""
    ack: AckRule = field(default_factory=AckRule)
    detection_timeout_s: float = 1.0
    """Silence after which a replica asks for an election; also the length of the lease."""
    syncs_late: bool = False
    """With `off` or `remote_write`: the primary's own copy counts when it is written, too, for its
    disk is synced only now and then."""
    lease: bool = True
    """False: a primary serves until it hears that there is another, however long it was cut off."""
    detection_jitter: float = 0.15
    failover_delay_s: float = 0.0
    """Added to this member's detection, so that others (of the same region) are tried first."""
    heartbeats_per_timeout: int = 4
    announce_delay_s: float = 0.0
    """How long replicas may hear nothing of what became visible, so that the next records say it.
    (Whatever waits for them to apply it waits so long, too.)"""
    max_clock_drift: float = 0.01
    """The largest error of a clock's rate that leases bear."""
    max_batch_bytes: int = 256 * 1024
    max_in_flight_bytes: int = 4 << 20
    max_in_flight_messages: int = 64
    max_entry_bytes: int = 512 * 1024
    max_ahead_records: int = 100_000
    """More proposals than this beyond the quorum's LSN are refused."""
    max_snapshot_bytes: int = 1 << 40
    snapshot_bytes_per_s: float = 50e6
    """A snapshot is sent no faster than this to each member: commits come first."""
    retained_bytes: int = 64 << 20
    """Log kept before the snapshot for absent replicas; who needs more gets the snapshot."""
    catch_up_records: int = 1000
    """A learner this close to the quorum's LSN may become a voter."""
    switchover_timeout_s: float = 5.0

    @property
    def heartbeat_interval_s(self) -> float:
        return self.detection_timeout_s / self.heartbeats_per_timeout
