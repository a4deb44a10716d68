"""`Cache-Status` (RFC 9211): what this cache did, and the rule that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from protocols.caching.structured import string

Forward = Literal[
    "", "bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale"
]  # fmt: skip


@dataclass(slots=True)
class CacheStatus:
    """One cache's member of the list."""

    cache: str
    hit: bool = False
    forward: Forward = ""
    """Why it was asked of the next one."""
    forward_status: int = 0
    """What that answered, where it is not what is answered here."""
    ttl_s: int | None = None
    """For how long the answer is fresh from now; below 0, for how long it has been stale."""
    stored: bool = False
    collapsed: bool = False
    """It waited for what another request fetched."""
    key: str = ""
    detail: str = ""
    """In words: the rule, and its inputs."""

    def written(self) -> str:
        parts = [self.cache]
        if self.hit:
            parts.append("hit")
        if self.forward:
            parts.append(f"fwd={self.forward}")
        if self.forward_status:
            parts.append(f"fwd-status={self.forward_status}")
        if self.ttl_s is not None:
            parts.append(f"ttl={self.ttl_s}")
        if self.stored:
            parts.append("stored")
        if self.collapsed:
            parts.append("collapsed")
        if self.key:
            parts.append(f"key={string(self.key)}")
        if self.detail:
            parts.append(f"detail={string(self.detail)}")
        return "; ".join(parts)
