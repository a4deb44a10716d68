"""States of a replicated group and of group commit that a campaign of seeds has to meet; who is in
one tells `ctx.reached`. Those of the core alone are in protocols/replication/reach.py."""

from __future__ import annotations

from typing import Final

from protocols.replication import reach as core

OWN_SNAPSHOT: Final = "replica: a snapshot of its own"
WRITTEN_TO: Final = "replica: records applied while the state is dumped"
HALF_SNAPSHOT: Final = "replica: a start that finds half a snapshot"
TORN_TAIL: Final = "replica: a start that cuts a torn tail"
TORN_OVER: Final = "replica: a torn tail over more than one file of the log"
LONG_LOG: Final = "replica: a log of several files"
READ_BACK: Final = "replica: records for a peer that are read back from the log's files"
FULL: Final = "replica: records that waited for room on the disk"
CUT_OFF_READ: Final = "replica: a read at a primary that has not heard a majority for half a lease"
FAR_BEHIND: Final = "replica: a state that follows its log in slices"

DRIVER: Final = (
    OWN_SNAPSHOT, WRITTEN_TO, HALF_SNAPSHOT, TORN_TAIL, TORN_OVER, LONG_LOG, FULL,
)  # fmt: skip

GROUP: Final = "group commit: two or more requests in a record"
MIXED: Final = "group commit: a record of which some requests were refused"
REPEATED: Final = "group commit: a retry in the record of what it repeats"
REPEATED_OPEN: Final = "group commit: a retry of what is on its way"
REPEATED_DONE: Final = "group commit: a retry of what is done"
REFUSED_OPEN: Final = "group commit: a refusal that rests on what is on its way"
NOT_TAKEN: Final = "group commit: a record that the log did not take"
LOST: Final = "group commit: a role lost while a record is on its way"
GATHERED: Final = (
    GROUP, MIXED, REPEATED, REPEATED_OPEN, REPEATED_DONE, REFUSED_OPEN, NOT_TAKEN,
)  # fmt: skip

TOGETHER: Final = (*core.STATES, FAR_BEHIND, READ_BACK)
"""What takes two members at least."""
