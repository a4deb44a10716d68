"""What the replication core reports, as the events that people read. Pure."""

from __future__ import annotations

from typing import Any, Final

from protocols.replication.replica import PRIMARY, RoleChanged

PROMOTED: Final = "promoted"
FILLED: Final = "snapshot installed"
LOG_DAMAGED: Final = "log damaged"
STATE_STOPPED: Final = "state stopped"
REFUSED: Final = "primary refused"
DIVERGED: Final = "divergent records saved"
EVENTS: Final = {
    "promoted": "A member has come to lead its group, and takes the writes.",
    "role changed": "A member is follower or candidate now, in that epoch.",
    "divergent records saved": "A member came back with records that its group lacks: they are "
    "in a file, and cut from its log.",
    "members changed": "The group has another set of voters.",
    "admitted": "The primary took a member into the group.",
    "primary refused": "The group was told not to let this member lead.",
    "switchover ended": "A planned change of the primary is over, handed over or not.",
    "foreign message": "A message of another group, or of another founding of it, was refused.",
    "member changed": "A member has another role in its group: voter, spare, witness.",
    "not left yet": "A member asks to leave its group, and is still waiting.",
    "state rebuilt": "A member replayed its log from there, as it has no snapshot to begin with.",
    "snapshot taken": "A member wrote its state down, and may forget the log before it.",
    FILLED: "A member took over a peer's snapshot in place of its own state.",
    "snapshot lost": "A peer's snapshot did not arrive whole: it is asked for again.",
    "state stopped": "A record does not apply to a member's state: it waits for a peer's.",
    "state refilled": "A member whose state had stopped has a peer's, and goes on.",
    "log damaged": "A member's log cannot be read there.",
    "log is healed from a peer": "What is damaged in a member's log comes from its peers again.",
    "torn log tail cut": "A power cut in the middle of a write: that record is cut.",
    "log cut": "Records that the group does not have are cut from a member's log.",
    "disk full: records wait": "A member's disk has no room for new records: they wait.",
    "disk full: waiting": "A member cannot begin: its disk is full.",
    "disk has room again": "Records that waited for room are on the disk.",
    "no snapshot: the disk is full": "A member's disk has no room for one: the log grows on.",
    "witness joined": "A coordinator votes in that shard.",
    "witness left": "A coordinator no longer votes in that shard.",
}


def in_words(event: Any) -> tuple[str, dict[str, Any]]:
    """Name and fields: `SwitchoverEnded(...)` → `switchover ended`, its own fields."""
    if isinstance(event, RoleChanged):
        name = PROMOTED if event.role == PRIMARY else "role changed"
    else:
        words = type(event).__name__
        name = "".join(f" {c.lower()}" if c.isupper() else c for c in words).strip()
    return name, dict(event._asdict())
