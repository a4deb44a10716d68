"""States of the store that a campaign of seeds has to meet; who is in one tells `ctx.reached`."""

from __future__ import annotations

from typing import Final

from nodes.kv.state import APPEND, DELETE, DONE, EXPIRE, SET
from nodes.replica import reach as replica

SECOND_PAGE: Final = "kv: a copy of two or more pages"
COPIED_AGAIN: Final = "kv: an import begun again, from nothing"
TAKEN_OVER: Final = "kv: an import continued by another primary"
DROPPED: Final = "kv: an import dropped"
RESUMED: Final = "kv: a source that resumed after its fence"
FENCED_TWICE: Final = "kv: a fence asked for again"
ASKED_AHEAD: Final = "kv: a query at the target before it owned the slot"
STREAMED: Final = {
    SET: "kv: a set streamed during a copy",
    DELETE: "kv: a delete streamed during a copy",
    APPEND: "kv: an append streamed during a copy",
    EXPIRE: "kv: an expire streamed during a copy",
    DONE: "kv: a request id streamed during a copy",
}
GROUPED: Final = "kv: two or more changes in a record"
TAKEN_BACK: Final = "kv: a transaction refused after its first change"
SHARD: Final = (
    *replica.DRIVER, GROUPED, TAKEN_BACK,
    SECOND_PAGE, COPIED_AGAIN, TAKEN_OVER, DROPPED, RESUMED, FENCED_TWICE, ASKED_AHEAD,
    *STREAMED.values(),
)  # fmt: skip

COPY_STALLED: Final = "kv: a move given up because its copy stood still"
DRAIN_LATE: Final = "kv: a move given up because its target did not drain in time"
MOVE_TAKEN_OVER: Final = "kv: a move continued by another coordinator"
COORDINATOR: Final = (*replica.DRIVER, COPY_STALLED, DRAIN_LATE, MOVE_TAKEN_OVER)
