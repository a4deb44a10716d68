"""Machines on several computers (or in several pods): a process that joins from elsewhere runs one,
which has its address. emu's own machines share emu's: each has an address in emu's network only, as
has a node whose process is not there. emu tells whom it dials from which endpoint, just before:
that may come after the connection. Whoever waits at a door for it holds up nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from emu.live.addresses import LAST_SUBNET, Subnet
from emu.live.network import LOCALHOST, LOOPBACK, LiveNetwork
from emu.machine.world import OPERATOR
from nodes.base import OUTSIDE, Timer

UNREAL_SUBNET: Final = LAST_SUBNET + 1
"""Of 127.N: of these addresses nothing is ever opened."""
TOLD_WITHIN_S: Final = 1.0
"""After that whoever dials from emu's address is somebody from outside."""
MOST_SILENT: Final = 256
"""Who may wait to be announced, at all doors of a process; beyond that whoever has waited longest
is somebody from outside."""


def is_unreal(address: str) -> bool:
    """Whether that is an address in emu's network only."""
    return address.startswith(f"{LOOPBACK}{UNREAL_SUBNET}.")


class OuterSubnet(Subnet):
    """emu's own: a machine has an address of the network's until a process that runs it comes."""

    def __init__(self) -> None:
        super().__init__(aliases=False)
        self.aliases = True
        self.number = UNREAL_SUBNET
        self._joined: dict[str, str] = {}

    def know(self, name: str, address: str) -> None:
        """A process has come with that machine."""
        self._joined[name] = address

    def forget(self, name: str) -> None:
        """It has gone."""
        self._joined.pop(name, None)

    def address(self, name: str, fixed: int | None = None) -> str:
        """emu itself, with its page, stays where only this computer sees it."""
        if name == OPERATOR:
            return LOCALHOST
        return self._joined.get(name) or super().address(name, fixed)

    def is_real(self, address: str) -> bool:
        return not is_unreal(address)


class GuestNetwork(LiveNetwork):
    """Of a process that has joined: it is told who dials from the address that many share."""

    def start_listening_to(self, emus: str, own: str) -> None:
        """`emus`: that address; `own`: this process's. Both "" where each machine has its own."""
        self._emus = self.common = emus
        self.outer = own
        self.shared = frozenset({emus, LOCALHOST}) if emus else frozenset()
        self._told: dict[tuple[str, int], str] = {}
        """Who has a socket of emu's address, until that is closed."""
        self._closing: dict[tuple[str, int], Timer] = {}
        """Those of them that are: connections from there may still be on their way."""
        self._silent: dict[tuple[str, int], tuple[Timer, Callable[[str], object]]] = {}
        """Connections that nobody has announced, those that wait longest first."""

    def hear_of(self, endpoint: tuple[str, int], name: str) -> None:
        """That machine is about to dial (or send) from there."""
        closing = self._closing.pop(endpoint, None)
        if closing is not None:
            closing.cancel()
        self._told[endpoint] = name
        silent = self._silent.pop(endpoint, None)
        if silent is not None:
            timer, call = silent
            timer.cancel()
            call(name)

    def hear_no_more(self, endpoint: tuple[str, int]) -> None:
        """That socket is closed: in a moment it may be anybody's."""
        if endpoint in self._told and endpoint not in self._closing:
            self._closing[endpoint] = self._in_a_moment(partial(self._forget_told, endpoint))

    def _forget_told(self, endpoint: tuple[str, int]) -> None:
        del self._closing[endpoint]
        del self._told[endpoint]

    def _in_a_moment(self, call: Callable[[], object]) -> Timer:
        return self.timers.call_at(self.timers.now_s() + TOLD_WITHIN_S, call)

    def name_of(self, address: str, port: int) -> str:
        return self._told.get((address, port)) or super().name_of(address, port)

    def identify(self, endpoint: tuple[str, int], call: Callable[[str], object]) -> None:
        if endpoint[0] != self._emus or endpoint in self._told:
            call(self.name_of(*endpoint))
            return
        if endpoint in self._silent:
            self._is_outside(endpoint)
        elif len(self._silent) >= MOST_SILENT:
            self._is_outside(next(iter(self._silent)))
        timer = self._in_a_moment(partial(self._is_outside, endpoint))
        self._silent[endpoint] = timer, call

    def _is_outside(self, endpoint: tuple[str, int]) -> None:
        timer, call = self._silent.pop(endpoint)
        timer.cancel()
        call(OUTSIDE)


def boot_id() -> str:
    """Of the kernel that runs here: whoever has the same reads the same monotonic clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
