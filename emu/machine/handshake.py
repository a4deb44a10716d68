"""How long it takes to open a connection, in both worlds: the handshake's time on the link.

A cut swallows the attempt until it heals or the dialler's patience ends, or turns it back.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from emu.machine.links import Links
from emu.machine.parking import Parked
from emu.machine.world import Timers

SYN_RETRY_S: Final = 0.2
SYN_BYTES: Final = 60


def _never() -> bool:
    return False


async def shake_hands(
    timers: Timers,
    links: Links,
    source: str,
    target: str,
    *,
    least_s: float = 0.0,
    dropped: Callable[[], bool] = _never,
) -> None:
    """Return when `source` would be connected; `least_s` is what it takes on plain links.

    `dropped` says whether the target ignores attempts just now (its backlog is full). Raises
    TimeoutError after `links.connect_timeout_s`, ConnectionResetError from a rejecting partition.
    """
    there, back = links.link(source, target), links.link(target, source)
    begun_s = timers.now_s()
    while True:
        while there.cut or back.cut or dropped():
            if "reject" in (there.cut, back.cut):
                raise ConnectionResetError(errno.ECONNRESET, f"{target}: reset by a partition")
            left_s = begun_s + links.connect_timeout_s - timers.now_s()
            if left_s <= 0:
                raise TimeoutError(errno.ETIMEDOUT, f"{target} does not answer")
            await sleep(timers, min(SYN_RETRY_S, left_s))
        took_s = least_s
        if not (there.plain and back.plain):
            now_s = timers.now_s()
            arrive_s = there.stream_arrival_s(now_s, SYN_BYTES)
            back_s = back.stream_arrival_s(now_s, SYN_BYTES, arrive_s)
            took_s = max(least_s, back_s - now_s)
        if took_s > 0:
            await sleep(timers, took_s)
        if not (there.cut or back.cut):
            return


async def sleep(timers: Timers, seconds: float) -> None:
    """Sleep in the world's true time."""
    parked = Parked()
    timer = timers.call_at(timers.now_s() + seconds, parked.wake)
    try:
        await parked.wait()
    finally:
        timer.cancel()
