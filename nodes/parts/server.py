"""One backend server as a balancer sees it: its states, its load, its effective weight, and who
waits for it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from nodes.parts.health import Health, Outlier
from protocols.control import Member

READY: Final = "ready"
DRAIN: Final = "drain"
MAINT: Final = "maint"
DOWN: Final = "down"
ADMIN_STATES: Final = (READY, DRAIN, MAINT)
SLOW_START_LEAST: Final = 0.1
"""A server that slowly starts begins with this part of its weight."""


class Server:
    """`sessions` are connections that it was chosen for and that have not ended."""

    def __init__(self, member: Member, weight: int, health: Health) -> None:
        assert weight >= 0, f"weight {weight} of {member.name}"
        self.name = member.name
        self.region = member.region
        self.address = member.address
        self.port = member.port
        self.generation = member.generation
        self.weight = weight
        self.health = health
        self.outlier = Outlier()
        self.admin = READY
        """What an operator said."""
        self.leaving = False
        """It drains or has left the directory: it finishes what it has."""
        self.departed = False
        self.sessions = 0
        self.waiting: deque[Waiting] = deque()
        """Connections that can go to this server only (hashing algorithms)."""
        self.came_up_s = float("-inf")
        self.picked = 0
        """Number of the last pick, for round robin among equals."""
        self.credit = 0.0
        """Smooth weighted round robin's running balance."""

    def __repr__(self) -> str:
        return f"<Server {self.name} {self.state} {self.sessions}+{len(self.waiting)}>"

    @property
    def state(self) -> str:
        """ready, drain, maint or down."""
        if self.admin == MAINT:
            return MAINT
        if not self.health.up:
            return DOWN
        return DRAIN if self.leaving or self.admin == DRAIN else READY

    @property
    def wanted(self) -> bool:
        """Whether it should have new connections if it is healthy."""
        return self.admin == READY and not self.leaving and self.weight > 0

    def healthy(self, now_s: float) -> bool:
        return self.health.up and not self.outlier.ejected(now_s)

    @property
    def load(self) -> int:
        """Sessions and those that wait for this server."""
        return self.sessions + len(self.waiting)

    def effective_weight(self, now_s: float, slow_start_s: float) -> float:
        """Its weight, or the part that slow start has reached."""
        if slow_start_s <= 0:
            return self.weight
        reached = (now_s - self.came_up_s) / slow_start_s
        return self.weight * min(1.0, max(SLOW_START_LEAST, reached))

    def describe(self, now_s: float) -> dict[str, Any]:
        """One line of the admin method `servers`."""
        return {
            "name": self.name,
            "region": self.region,
            "address": f"{self.address}:{self.port}",
            "state": self.state,
            "sessions": self.sessions,
            "queued": len(self.waiting),
            "weight": self.weight,
            "check": "passed" if not self.health.why else self.health.why,
            "ejected": self.outlier.ejected(now_s),
            "departed": self.departed,
        }

    def still_asked(self) -> dict[str, str]:
        """What an operator may not expect of a server that gets no new connections."""
        if self.wanted or not self.sessions:
            return {}
        had = f"the {self.sessions} that it has go on until their clients close them"
        return {"note": f"no new connections; {had}"}


class Waiting:
    """A connection in the queue. `on_settled()` is called once `server` or `refused` is set."""

    __slots__ = ("key", "number", "on_settled", "refused", "server", "tried", "wanted")

    def __init__(
        self, number: int, key: str, tried: Sequence[Server], on_settled: Callable[[], None]
    ) -> None:
        self.number = number
        self.key = key
        self.tried = tried
        self.on_settled = on_settled
        self.wanted: Server | None = None
        self.server: Server | None = None
        self.refused = ""
