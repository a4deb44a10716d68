"""The directory's and the operator's words: who is a member of a tier, and what else than to dial
a member an edge may allow.

The directory answers at host `directory`. `members(tier)` and
`watch(tier, known_version, wait_ms)` give `[version, [member, ...]]`; `watch` answers when the
version differs from the known one, or the wait is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

MEMBERS: Final = "members"
WATCH: Final = "watch"
SCALE: Final = "scale"
PING: Final = "ping"
DESCRIBE: Final = "describe"
METRICS: Final = "metrics"
PURGE: Final = "purge"
RIGHTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {METRICS: (PING, DESCRIBE, METRICS), SCALE: (), PURGE: (PURGE,)}
)
"""What an edge may carry beside the right to dial, and the admin methods of the other tier's
members that each right opens. To scale is asked of the directory; of a purge a request may tell,
too."""


class Member(NamedTuple):
    """A node of a tier as the directory lists it. `ready`: its run() has reported started."""

    name: str
    tier: str
    kind: str
    region: str
    address: str
    port: int
    ready: bool
    generation: int = 1
    draining: bool = False
    founder: bool = True
    """Whether it was there from the cluster's first boot: a replicated group
    is founded by these."""

    def to_wire(self) -> list[Any]:
        return list(self)

    @classmethod
    def from_wire(cls, values: Any) -> Member:
        """Ignore what a newer directory appends."""
        return cls(*values[: len(cls._fields)])
