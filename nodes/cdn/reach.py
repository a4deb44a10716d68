"""States of an edge that a campaign of seeds has to meet, or it says little."""

from __future__ import annotations

from typing import Final

COLLAPSED: Final = "a request that waits for another one's answer"
NOT_SHARED: Final = "an answer that is not for those who waited"
WHILE: Final = "stale while it is revalidated"
IF_ERROR: Final = "stale because the origin fails"
GONE: Final = "a 304 about what is gone"
TOLD: Final = "a purge that reaches a shield by a request"
TAG: Final = "a tag was purged, and a shield still had it"
PURGED_ON_ITS_WAY: Final = "an answer that was purged on its way"
STATES: Final = (COLLAPSED, NOT_SHARED, WHILE, IF_ERROR, PURGED_ON_ITS_WAY, TOLD, TAG, GONE)
"""The last four take somebody who purges, and a shield that missed it."""
