"""States of a group that matter: what a campaign of seeds has to meet before it says much. The core
notes them in the Ready that follows; its driver tells whoever counts.

Words only, for people; no decision depends on one.
"""

from __future__ import annotations

from typing import Final

VOTE_OLDER_LOG: Final = "replica: a vote refused for an older log"
VOTE_PROMISED: Final = "replica: a vote refused because a primary has the promise"
VOTE_CAST: Final = "replica: a vote refused because another has it"
VOTE_NOT_STANDING: Final = "replica: a vote refused by a member that lost its disk"
NOT_ELECTED: Final = "replica: an election without a majority"
LEASE_ENDED: Final = "replica: a primary whose lease ended"
OUTRUN: Final = "replica: a primary in office that hears of a later one"
FOUND_UNDECIDED: Final = "replica: a new primary with records that no quorum is known to have"
OLD_EPOCH: Final = "replica: a message of an earlier epoch refused"
APPEND_REFUSED: Final = "replica: an append refused, the logs do not meet"
CUT: Final = "replica: records cut for those of a later primary"
MEMBERS_CUT: Final = "replica: a change of members cut"
CUT_BEFORE_WRITTEN: Final = "replica: records cut that were not yet written"
SENT_AGAIN: Final = "replica: records sent again while newer ones wait"
PEER_SNAPSHOT: Final = "replica: a peer's snapshot installed"
SNAPSHOT_RESUMED: Final = "replica: a peer's snapshot sent on from where it stopped"
SNAPSHOT_DROPS: Final = "replica: a peer's snapshot in the place of records that diverged"
ADMITTED: Final = "replica: a member that lost its disk admitted again"
HANDED_OVER: Final = "replica: a primary handed over"
KEPT_OFFICE: Final = "replica: a switchover given up"
LATE_TIMER: Final = "replica: a follower whose timer came late"
QUORUM_AHEAD: Final = "replica: a quorum that has what its primary has not synced"

STATES: Final = (
    VOTE_OLDER_LOG, VOTE_PROMISED, VOTE_CAST, VOTE_NOT_STANDING, NOT_ELECTED, LEASE_ENDED, OUTRUN,
    FOUND_UNDECIDED, OLD_EPOCH, APPEND_REFUSED, CUT, MEMBERS_CUT, CUT_BEFORE_WRITTEN, SENT_AGAIN,
    PEER_SNAPSHOT, SNAPSHOT_RESUMED, SNAPSHOT_DROPS, ADMITTED, HANDED_OVER, KEPT_OFFICE,
    LATE_TIMER, QUORUM_AHEAD,
)  # fmt: skip
