"""What the file says of a database tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nodes.replica.kind import expect_detection
from protocols.replication.replica import AckRule

MAX_TRANSACTION_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """`ack`: quorum, async, or one of off, local, remote_write, on, remote_apply,
    ANY n, FIRST n."""

    ack: str = "quorum"
    """When a write is acknowledged: quorum (a majority has it on disk), async (the primary alone),
    or one of off, local, remote_write, on, remote_apply, `ANY n`, `FIRST n`."""
    detection_timeout_s: float = 1.0
    """Silence after which the replicas elect another primary; also the length of its lease."""
    lease: bool = True
    """False (to see what it is good for): a primary that is cut off goes on serving until it hears
    that another was elected, so two of them do."""
    prefers: tuple[str, ...] = ()
    """Regions whose members stand first when the primary is gone, the best first: each further one
    waits half of `detection_timeout` more: `prefers: [us-east, eu-west]`."""
    snapshot_every_bytes: int = 2 << 20
    """A snapshot is taken when the log has grown by so much since the last one."""
    retained_bytes: int = 64 << 20
    """Log kept for replicas that are away; who is away for longer gets a snapshot."""
    witnesses: int = 0
    """The last so many nodes vote and hold no data: a group of two fails over with one."""
    spares: int = 0
    """The last so many nodes have the data, and do not vote until one replaces a dead voter."""
    replace_after_s: float = 10.0
    """How long a voter may be silent before a spare takes its place."""
    transaction_timeout_s: float = 5.0
    """How long an interactive transaction may hold the writers' lease, unless its client asks for
    more (at most MAX_TRANSACTION_S)."""

    def __post_init__(self) -> None:
        AckRule.parse(self.ack)
        expect_detection(self.detection_timeout_s)
        if self.witnesses < 0 or self.spares < 0:
            raise ValueError("`witnesses` and `spares` are counts of nodes: at least 0")


def may_lose(config: DatabaseConfig, members: int) -> str:
    """Why a failover may lose what this setting has acknowledged, or ""."""
    if not config.lease:
        return "`lease: false` lets an old primary serve beside the new one"
    if AckRule.parse(config.ack).survives_failover(members):
        return ""
    return f"`ack: {config.ack}` answers before a majority has the record"
