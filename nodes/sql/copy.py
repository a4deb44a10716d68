"""A database as bytes and back, a few pages at a time, while its connection goes on writing.

SQLite's backup keeps a copy that is under way in line with what the same connection writes, but
only of a database that has a file: here that is SQLite's own file in memory, or one without a name.
What the bytes are for is state.py's business.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, Final

import apsw

from protocols.replication.pieces import Content, Pieces

Scratch = Callable[[], AbstractContextManager[str | None]]
"""See nodes.base.Disk."""
PAGE_BYTES: Final = 4096
STEP_PAGES: Final = 256
"""Copied at once: about a millisecond of a laptop's core."""
SPARE_STEPS: Final = 1000
_CACHED_PAGES: Final = 16
"""Of the copy: what is beyond goes to its file at once, not all of it at the end."""


def open_empty(vfs_name: str, scratch: Scratch) -> apsw.Connection:
    """An empty database that can be copied while it is written to; in memory, or in the file that
    `scratch` gives, with a few pages of it in memory. Nothing of it need survive."""
    with scratch() as path:
        db = apsw.Connection(path or ":memory:", vfs=vfs_name)
        if path is None:
            db.deserialize("main", _EMPTY)
        else:
            _be_quick(db, journal="MEMORY")
            db.execute("PRAGMA user_version=0")  # now it has its pages, and is locked
    return db


def copy_out(source: apsw.Connection, name: str) -> Generator[None, None, Pieces]:
    """The database as it is at the last step. `name` is free for a VFS of its own."""
    pages = Pieces()
    with _Opened(name, pages) as copy:
        _be_quick(copy, journal="OFF")
        yield from _back_up(copy, source)
    return pages


def copy_in(pages: Content, target: apsw.Connection, name: str) -> Generator[None]:
    """Make `target` what the pages are; it is of no use before the last step."""
    cached = next(target.execute("PRAGMA cache_size"))[0]
    with _Opened(name, pages) as source:
        yield from _back_up(target, source)
    target.execute(f"PRAGMA cache_size={cached}")


def _back_up(target: apsw.Connection, source: apsw.Connection) -> Generator[None]:
    """Raises apsw.Error if the source grows faster than it is copied."""
    target.execute(f"PRAGMA cache_size={_CACHED_PAGES}")
    steps = 0
    with target.backup("main", source, "main") as backup:
        while True:
            backup.step(STEP_PAGES)
            if backup.done:
                return
            steps += 1
            if steps > 2 * backup.page_count // STEP_PAGES + SPARE_STEPS:
                raise apsw.BusyError("the database changes faster than it is copied")
            yield


def _be_quick(db: apsw.Connection, *, journal: str) -> None:
    """Nobody else has its file, which need not survive anything."""
    for pragma in (f"journal_mode={journal}", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
        db.execute(f"PRAGMA {pragma}")


class _Opened:
    """A database whose file is these bytes."""

    def __init__(self, name: str, pages: Content) -> None:
        self._vfs = _PagesVfs(name, pages)
        self._db = apsw.Connection("pages", vfs=name)

    def __enter__(self) -> apsw.Connection:
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.close()
        self._vfs.unregister()


class _PagesVfs(apsw.VFS):
    """One file and no other: these pages."""

    def __init__(self, name: str, pages: Content) -> None:
        self._pages = pages
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> _PagesFile:
        return _PagesFile(self._pages)

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        return False

    def xDelete(self, filename: str, syncdir: bool) -> None:
        pass


class _PagesFile(apsw.VFSFile):
    """Nobody else has it open, and it need not survive anything."""

    def __init__(self, pages: Any) -> None:
        self._pages = pages

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._pages[offset : offset + amount])

    def xWrite(self, data: Any, offset: int) -> None:
        self._pages.write(offset, data)

    def xFileSize(self) -> int:
        return len(self._pages)

    def xTruncate(self, newsize: int) -> None:
        self._pages.truncate(newsize)

    def xSync(self, flags: int) -> None: ...
    def xLock(self, level: int) -> None: ...
    def xUnlock(self, level: int) -> None: ...
    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None: ...
    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return PAGE_BYTES

    def xDeviceCharacteristics(self) -> int:
        return 0


def _empty() -> bytes:
    """The smallest database that there is: SQLite takes no bytes at all for none."""
    db = apsw.Connection(":memory:")
    db.execute("PRAGMA user_version=1")
    db.execute("PRAGMA user_version=0")
    return bytes(db.serialize("main") or b"")


_EMPTY: Final = _empty()
