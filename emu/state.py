"""Where a cluster lives on this computer: its state folder, its control socket, who is running.

`$XDG_STATE_HOME/emu/NAME/` (or ~/.local/state) holds `control.sock`, `run.json`, `lock` and
`data/NODE/`. The lock is a flock, so the kernel frees it however emu ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


class StateError(Exception):
    """Something about the state folder that the user can mend; the message says how."""


def root() -> Path:
    """The folder that holds one folder per cluster name."""
    given = os.environ.get("EMU_STATE_DIR")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "emu"


@dataclass(slots=True)
class StateFolder:
    """The claimed folder of one cluster; `temporary` ones vanish at `release`."""

    path: Path
    temporary: bool
    _lock: IO[str] | None = None

    @property
    def socket(self) -> Path:
        return self.path / "control.sock"

    @property
    def data(self) -> Path:
        return self.path / "data"

    def describe(self, facts: dict[str, Any]) -> None:
        """Say who runs here: pid, file, addresses."""
        (self.path / "run.json").write_text(json.dumps(facts, indent=1))

    def wipe(self) -> None:
        """Forget every node's disk."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700, parents=True)

    def release(self) -> None:
        for name in ("control.sock", "run.json"):
            (self.path / name).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)


def claim(name: str, *, temporary: bool = False, fresh: bool = False) -> StateFolder:
    """Take the folder of `name` for this process. Raises StateError if another emu holds it."""
    base = root()
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=base)) if temporary else base / name
        path.mkdir(mode=0o700, exist_ok=True)
        lock = open(path / "lock", "w")  # noqa: SIM115 - held open: it is the claim
    except OSError as error:
        raise StateError(f"cannot use {base}: {error.strerror}; set EMU_STATE_DIR") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StateError(f"a cluster called `{name}` is running already") from error
    folder = StateFolder(path, temporary, lock)
    folder.socket.unlink(missing_ok=True)
    if len(str(folder.socket).encode()) > 100:
        raise StateError(f"{folder.socket} is too long for a socket: set EMU_STATE_DIR")
    if fresh:
        folder.wipe()
    folder.data.mkdir(mode=0o700, exist_ok=True)
    return folder


def running() -> list[dict[str, Any]]:
    """run.json of every cluster that is running now, by name."""
    found = []
    for path in sorted(root().glob("*/run.json")) + sorted(root().glob(".*/run.json")):
        if is_locked(path.parent):
            try:
                found.append({**json.loads(path.read_text()), "folder": str(path.parent)})
            except (OSError, ValueError):
                continue
    return found


def is_locked(folder: Path) -> bool:
    """Whether a living emu holds this folder."""
    try:
        with open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def wipe(name: str) -> bool:
    """Remove what a stopped cluster left behind. Returns whether there was anything."""
    path = root() / name
    if not path.is_dir():
        return False
    if is_locked(path):
        raise StateError(f"`{name}` is running: `emu down --volumes` ends and wipes it")
    shutil.rmtree(path)
    return True
