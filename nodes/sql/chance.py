"""SQLite's clock and dice are the node's; and what was drawn once can be drawn again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import apsw

_UNIX_EPOCH_JULIAN_DAYS: Final = 2440587.5


class Moment(NamedTuple):
    """What chance and the clock give to statements that are to give the same when repeated."""

    seed: int
    now_s: float


class Chance:
    """`rng` is what random() of SQL draws from, the VFS what its time is read from."""

    def __init__(self, vfs_name: str, now_s: Callable[[], float], rng: random.Random) -> None:
        self.rng = rng
        self._vfs = _ClockVfs(vfs_name, now_s)

    def moment(self) -> Moment:
        """For `repeating`, from now on."""
        return Moment(self.rng.getrandbits(64), self._vfs.now_s())

    @contextmanager
    def repeating(self, moment: Moment) -> Iterator[None]:
        """What runs inside draws and sees the time as it will at every repetition of it."""
        state, now_s = self.rng.getstate(), self._vfs.now_s
        self.rng.seed(moment.seed)
        self._vfs.now_s = lambda: moment.now_s
        try:
            yield
        finally:
            self.rng.setstate(state)
            self._vfs.now_s = now_s

    def close(self) -> None:
        """SQLite itself would keep the VFS, and all behind it."""
        self._vfs.unregister()


class _ClockVfs(apsw.VFS):
    def __init__(self, name: str, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        super().__init__(name, "")

    def xCurrentTimeInt64(self) -> int:
        return int((self.now_s() + _UNIX_EPOCH_JULIAN_DAYS * 86400) * 1000)
