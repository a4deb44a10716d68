"""The purges on an edge's disk: each is there before it is told, and there again after a crash.

The file is one log; when it has grown to twice what is remembered it is written anew.
"""

from __future__ import annotations

from typing import Final

from nodes.base import Context
from nodes.cdn.purges import MOST_KEPT, Purge, decoded
from protocols.replication import log

FILE: Final = "purges"
NEW: Final = "purges.new"
EPOCH: Final = 1


class Journal:
    """Of one edge."""

    def __init__(self, ctx: Context, most: int = MOST_KEPT) -> None:
        self._disk = ctx.disk
        self._most = most
        self._records = 0
        self._synced = 0
        self._names: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        """Whether that purge is on the platter, as far as it is remembered."""
        return name in self._names

    async def load(self) -> list[Purge]:
        """What was told, in its order. Raises OSError where the disk cannot be believed."""
        disk = self._disk
        if NEW in disk.names():
            await disk.remove(NEW)
        if FILE not in disk.names():
            return []
        found = log.scan(await disk.read(FILE))
        if found.problem is not None:
            raise OSError(f"{FILE} is damaged at byte {found.problem.position}")
        await disk.truncate(FILE, found.good_length)
        self._records = self._synced = len(found.records)
        purges = [decoded(payload) for _, _, _, payload in found.records]
        for purge in purges:
            self._note(purge)
        return purges

    async def add(self, purge: Purge, kept: list[Purge]) -> None:
        """On the platter when it returns; `kept` is all that is remembered, this one too."""
        if self._records >= 2 * self._most:
            await self._rewrite(kept)
        else:
            self._records += 1
            number = self._records
            self._disk.append(FILE, _encoded(number, purge, self._synced))
            await self._disk.sync(FILE)
            self._synced = max(self._synced, number)
        self._note(purge)

    def _note(self, purge: Purge) -> None:
        self._names[purge.name] = None
        if len(self._names) > self._most:
            del self._names[next(iter(self._names))]

    async def _rewrite(self, kept: list[Purge]) -> None:
        if NEW in self._disk.names():
            await self._disk.remove(NEW)
        for number, each in enumerate(kept, 1):
            self._disk.append(NEW, _encoded(number, each, number - 1))
        await self._disk.sync(NEW)
        await self._disk.rename(NEW, FILE)
        self._records = self._synced = len(kept)


def _encoded(number: int, purge: Purge, synced: int) -> bytes:
    return log.encode_batch([(EPOCH, number, log.DATA, purge.encoded().encode())], synced)
