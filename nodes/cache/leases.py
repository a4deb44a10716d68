"""Who may fill a key that was missed: one at a time, and nobody whose value may be old by then.

A token is given to one caller per key; whoever sets needs it, and a delete voids it. (Nishtala and
others, NSDI 2013.) Pure: time is passed in.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

MAX_LEASES: Final = 100_000
TOKENS_PER_LIFE: Final = 1 << 32
"""So that no token of this life is one of an earlier life's."""


class Lease(NamedTuple):
    """A caller that fills a key."""

    token: int
    until_s: float


class Leases:
    """One node's."""

    def __init__(self, generation: int, lease_s: float, most: int = MAX_LEASES) -> None:
        self._next = generation * TOKENS_PER_LIFE
        self._lease_s = lease_s
        self._most = most
        self.by_key: OrderedDict[str, Lease] = OrderedDict()
        """In the order in which they end; others only read it."""

    def __len__(self) -> int:
        return len(self.by_key)

    def held(self, key: str, now_s: float) -> Lease | None:
        """By another who still has time."""
        lease = self.by_key.get(key)
        return lease if lease is not None and now_s < lease.until_s else None

    def last_token(self, key: str) -> int:
        """Of whoever fills it, or was to; 0 if there is none."""
        lease = self.by_key.get(key)
        return lease.token if lease is not None else 0

    def give(self, key: str, now_s: float) -> int:
        """A token for a key that nobody holds; 0 where too many are out."""
        leases = self.by_key
        assert key not in leases, key
        if len(leases) >= self._most:
            return 0
        self._next += 1
        leases[key] = Lease(self._next, now_s + self._lease_s)
        return self._next

    def end_overdue(self, now_s: float) -> list[tuple[str, int]]:
        """The keys and tokens of those whose time is over."""
        ended = []
        while self.by_key:
            key, lease = next(iter(self.by_key.items()))
            if now_s < lease.until_s:
                break
            del self.by_key[key]
            ended.append((key, lease.token))
        return ended

    def redeem(self, key: str, token: int, now_s: float) -> bool:
        """Whether that token may fill the key now; it is used up."""
        lease = self.by_key.get(key)
        if lease is None or lease.token != token:
            return False
        del self.by_key[key]
        return now_s < lease.until_s

    def void(self, key: str) -> bool:
        """The key was deleted: what is being fetched may be old. Whether anybody was."""
        return self.by_key.pop(key, None) is not None

    def void_all(self) -> None:
        self.by_key.clear()
