"""Machines on several computers (or in several pods): each process that joins from elsewhere runs
one, which has that process's own address; emu's own machines share emu's.

So an address says who dials, but for emu's: there it is the endpoint, which emu tells whom it
dials just before, over the control connection. That may come a moment later than the connection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from emu.live.addresses import Subnet
from emu.live.network import LOCALHOST, LiveNetwork
from emu.machine.world import OPERATOR
from nodes.base import OUTSIDE

TOLD_WITHIN_S: Final = 1.0
"""After that whoever dials from emu's address is somebody from outside."""


class OuterSubnet(Subnet):
    """emu's own: every machine is at emu's address until a process that runs it has come."""

    def __init__(self, outer: str) -> None:
        super().__init__(aliases=False)
        self.aliases = True
        self._outer = outer

    def know(self, name: str, address: str) -> None:
        self._by_name[name] = address

    def address(self, name: str, fixed: int | None = None) -> str:
        """emu itself, with its page, stays where only this computer sees it."""
        return self._by_name.get(name) or (LOCALHOST if name == OPERATOR else self._outer)


class GuestNetwork(LiveNetwork):
    """Of a process that has joined: it is told who dials from the address that many share."""

    def start_listening_to(self, emus: str, own: str) -> None:
        """`emus`: that address; `own`: this process's. Both "" where each machine has its own."""
        self._emus = emus
        self.outer = own
        self.shared = frozenset({emus, LOCALHOST}) if emus else frozenset()
        self._told: dict[tuple[str, int], str] = {}
        self._news = trio.Event()

    def hear_of(self, endpoint: tuple[str, int], name: str) -> None:
        """That machine is about to dial from there. (At most as many as emu has ports.)"""
        self._told[endpoint] = name
        self._news.set()
        self._news = trio.Event()

    def name_of(self, address: str, port: int) -> str:
        return self._told.get((address, port)) or super().name_of(address, port)

    async def who(self, endpoint: tuple[str, int]) -> str:
        if endpoint[0] == self._emus:
            with trio.move_on_after(TOLD_WITHIN_S):
                while endpoint not in self._told:
                    await self._news.wait()
            return self._told.pop(endpoint, OUTSIDE)
        return self.name_of(*endpoint)


def boot_id() -> str:
    """Of the kernel that runs here: whoever has the same reads the same monotonic clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
