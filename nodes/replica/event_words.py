"""What the replication core reports, as the events that people read. Pure."""

from __future__ import annotations

from typing import Any, Final

from protocols.replication.replica import PRIMARY, RoleChanged

PROMOTED: Final = "promoted"
LOG_DAMAGED: Final = "log damaged"
DIVERGED: Final = "divergent records saved"


def in_words(event: Any) -> tuple[str, dict[str, Any]]:
    """Name and fields: `SwitchoverEnded(...)` → `switchover ended`, its own fields."""
    if isinstance(event, RoleChanged):
        name = PROMOTED if event.role == PRIMARY else "role changed"
    else:
        words = type(event).__name__
        name = "".join(f" {c.lower()}" if c.isupper() else c for c in words).strip()
    return name, dict(event._asdict())
