"""States of a balancer that a campaign of seeds has to meet; who is in one tells `ctx.reached`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nodes.parts.pool import ALL_DOWN, QUEUE_FULL

QUEUE_TIMEOUT: Final = "queue timeout"
NO_SERVER_ACCEPTS: Final = "no server accepts"

RETRIED: Final = "balancer: a connection tried again"
QUEUED: Final = "balancer: a connection that waits for a server"
REFUSED: Final[Mapping[str, str]] = {
    ALL_DOWN: "balancer: a connection while no server is up",
    QUEUE_FULL: "balancer: a connection that finds the queue full",
    QUEUE_TIMEOUT: "balancer: a connection that waited for too long",
    NO_SERVER_ACCEPTS: "balancer: a connection that no server takes",
}
"""By the reason that its client is refused for."""
NOTED: Final[Mapping[str, str]] = {
    "server down": "balancer: a server marked down with connections",
    "server draining": "balancer: a server drained with connections",
    "server left": "balancer: a server that has left with connections",
    "server ejected": "balancer: a server ejected for failures of traffic",
}
"""By what the pool notes of a server (nodes/parts/pool.py)."""
STATES: Final = (RETRIED, QUEUED, *REFUSED.values(), *NOTED.values())


def noted(event: str, fields: Mapping[str, Any]) -> str:
    """The state that this is, or ""."""
    return NOTED.get(event, "") if fields.get("sessions", 1) else ""
