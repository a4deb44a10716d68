"""States of a queue that a campaign of seeds has to meet; who is in one tells `ctx.reached`."""

from __future__ import annotations

from typing import Final

REPEATED: Final = "queue: a retry of a publisher that got its first offset"
PASSED: Final = "queue: a partition let go by one member for another"
OLD_GENERATION: Final = "queue: a commit of an old generation refused"
SESSION_ENDED: Final = "queue: a member that was silent for too long"
HELD_ON: Final = "queue: a member put out that did not let go of a partition in time"
LOCK_ENDED: Final = "queue: a lock that ended before its worker was done"
STALE_ACK: Final = "queue: an ack of a record that is another's by now"
FREED: Final = "queue: records freed by the end of their worker's connection"
BURIED: Final = "queue: a dead letter"
HEIR: Final = "queue: a leader that took over records that are with workers"
ALONE: Final = (
    REPEATED, PASSED, OLD_GENERATION, SESSION_ENDED, HELD_ON, LOCK_ENDED, STALE_ACK, FREED, BURIED,
)  # fmt: skip
