"""States of a cache that a campaign of seeds has to meet; who is in one tells `ctx.reached`."""

from __future__ import annotations

from typing import Final

VOIDED: Final = "cache: a fill refused, because its key was deleted meanwhile"
WAITED: Final = "cache: a reader that waited for another's fill"
LEADER_GONE: Final = "cache: a token freed by the end of its holder's connection"
OVERDUE: Final = "cache: a token whose time ended before its fill came"
OTHER_LIFE: Final = "cache: a fill with a token of an earlier life"
NOT_FRESH: Final = "cache: a read refused, because the log was not heard for too long"
REPLAYED: Final = "cache: deletions replayed that a node had missed"
FLUSHED: Final = "cache: a node that forgot all, because it could not replay"
EARLY: Final = "cache: a value fetched anew before its time was over"
ABSENT: Final = "cache: a read of what is known not to be there"
EXPIRED: Final = "cache: a value whose time ended"
ALWAYS: Final = (VOIDED, WAITED, LEADER_GONE, OVERDUE, OTHER_LIFE, ABSENT, EXPIRED)
