"""States of a SQL database that a campaign of seeds has to meet; who is in one tells `ctx.reached`.
What it shares with every replicated tier is in nodes/replica/reach.py."""

from __future__ import annotations

from typing import Final

from nodes.replica import reach

READ_WAITS: Final = "sql: a read at the primary that waits for what it saw"
TOKEN_WAITS: Final = "sql: a read at a replica that waits for its token"
BEHIND: Final = "sql: a write behind an open transaction"
OVERDUE: Final = "sql: an open transaction whose time ended"
ORPHANED: Final = "sql: an open transaction of an office that is over"
HALF_REFUSED: Final = "sql: a transaction refused after some of its statements"

STATES: Final = (
    *reach.DRIVER, *reach.GATHERED, READ_WAITS, BEHIND, OVERDUE, HALF_REFUSED,
)  # fmt: skip
TOGETHER: Final = (*reach.TOGETHER, reach.CUT_OFF_READ, reach.LOST, TOKEN_WAITS, ORPHANED)
