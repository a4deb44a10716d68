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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

SOCKET: Final = "control.sock"
FACTS: Final = "run.json"
MAX_SOCKET_PATH_BYTES: Final = 100
TIERS: Final = "shards.json"
TOKEN: Final = "join.token"
RECORD: Final = ".record.json"
RUNS: Final = "runs.json"
"""Beside the disks: how many runs have had them."""
FORMAT_FILE: Final = "format.json"
FORMAT: Final = 3
"""Of what nodes write on their disks, and of what is beside them. Raise it with every change after
which this version cannot read what the one before has left."""
LOOK_S: Final = 0.2
"""Whoever only asks whether a folder is held holds it for a moment; a claim outlasts that."""


def _are_tiers(group: str, value: object) -> bool:
    """Whether these can be names of the group's tiers."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(each, str) and each.startswith(f"{group}-") for each in value)


class StateError(Exception):
    """Something about the state folder that the user can mend; the message says how."""


def root() -> Path:
    """The folder that holds one folder per cluster name."""
    given = os.environ.get("EMU_STATE_DIR")
    if given:
        return Path(given).absolute()
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "emu"


class Kept(NamedTuple):
    """Disks of earlier runs, with which a run goes on."""

    runs: int
    """0: nobody has counted them."""
    size_bytes: int


@dataclass(slots=True)
class StateFolder:
    """The claimed folder of one cluster; `temporary` ones vanish at `release`."""

    path: Path
    temporary: bool
    _lock: IO[str] | None = None
    kept: Kept | None = None
    """None: its disks are empty."""

    @property
    def socket(self) -> Path:
        return self.path / SOCKET

    @property
    def data(self) -> Path:
        return self.path / "data"

    def describe(self, facts: dict[str, Any]) -> None:
        """Say who runs here: pid, file, addresses. Readers see the old text or the new one."""
        new = self.path / f"{FACTS}.new"
        new.write_text(json.dumps(facts, indent=1))
        new.replace(self.path / FACTS)

    def keep_token(self, token: str) -> None:
        """For `emu node --join` on this computer: who may read it may bring nodes."""
        path = self.path / TOKEN
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "w") as file:
            file.write(token)

    def keep_tiers(self, tiers: dict[str, list[str]]) -> None:
        """Remember, with the disks, which tiers the groups have that may grow: more, or fewer, than
        the file says (shards, once slots have moved)."""
        self._say(TIERS, tiers)

    def kept_tiers(self) -> dict[str, list[str]]:
        """What `keep_tiers` was told last; {} where the disks are new. Raises StateError."""
        path = self.data / TIERS
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            found = error
        if not isinstance(found, dict) or not all(map(_are_tiers, found, found.values())):
            raise StateError(
                f"{path} does not say which shards there are ({found}): put back the file, or "
                f"`emu down --volumes -c {self.path.name}` forgets the disks"
            )
        return found

    def wipe(self) -> None:
        """Forget every node's disk."""
        shutil.rmtree(self.data, ignore_errors=True)

    def begin(self) -> None:
        """Have a place for disks; new ones are in this version's format."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        if not any(self.data.iterdir()):
            self._say(FORMAT_FILE, FORMAT)

    def count_run(self) -> None:
        """See what earlier runs have left: this one is the next."""
        try:
            runs = int(json.loads((self.data / RUNS).read_text()))
        except (TypeError, ValueError, OSError):
            runs = 0
        size_bytes = _size_bytes(self.data)
        self.kept = Kept(runs, size_bytes) if size_bytes else None
        self._say(RUNS, runs + 1)

    def _say(self, name: str, value: object) -> None:
        """In a file beside the disks. Readers see the old text or the new one."""
        new = self.data / f"{name}.new"
        new.write_text(f"{json.dumps(value)}\n")
        new.replace(self.data / name)

    def check_format(self) -> None:
        """Raises StateError unless this version can read the disks."""
        try:
            found = json.loads((self.data / FORMAT_FILE).read_text())
        except (ValueError, OSError):
            found = None
        if found != FORMAT:
            other = f"format {found}" if type(found) is int else "an unknown format"
            raise StateError(
                f"{self.data} was written by another version of emu ({other}; this one reads"
                f" {FORMAT}): run that version, or forget the disks by `emu up --fresh` or"
                f" `emu down --volumes -c {self.path.name}`"
            )

    def discard(self) -> None:
        """`release` it for good: nothing of the cluster stays, neither disks nor log."""
        if self._lock is None:
            return  # it may be another's by now
        with _one_at_a_time(self.path.parent):  # nobody may hold the lock of what goes
            self.temporary = True
            self.release()
            log_of(self.path.name).unlink(missing_ok=True)

    def release(self) -> None:
        if self._lock is None:
            return
        for name in (SOCKET, FACTS, TOKEN):
            with suppress(OSError):
                (self.path / name).unlink(missing_ok=True)
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def log_of(name: str) -> Path:
    """What `emu up -d` says, beside the cluster's folder."""
    return root() / f"{name}.log"


def claim(name: str, *, temporary: bool = False, fresh: bool = False) -> StateFolder:
    """Take the folder of `name` for this process.

    Raises StateError if another emu holds it, or if it cannot be used.
    """
    base = root()
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _one_at_a_time(base):
            _sweep(base)
            prefix = f".{name}-"
            path = Path(tempfile.mkdtemp(prefix=prefix, dir=base)) if temporary else base / name
            path.mkdir(mode=0o700, exist_ok=True)
            folder = StateFolder(path, temporary, _hold(path, name))
        folder.socket.unlink(missing_ok=True)
        (path / FACTS).unlink(missing_ok=True)
        if len(bytes(folder.socket)) > MAX_SOCKET_PATH_BYTES:
            folder.release()
            raise StateError(f"{base} is too long a path for a socket: set EMU_STATE_DIR")
        if fresh:
            folder.wipe()
        folder.begin()
    except OSError as error:
        raise StateError(f"cannot use {base}: {error.strerror}; set EMU_STATE_DIR") from error
    try:
        folder.check_format()
        folder.kept_tiers()
        folder.count_run()
    except StateError:
        folder.release()
        raise
    except OSError as error:
        folder.release()
        raise StateError(f"cannot write {folder.data}: {error.strerror}") from error
    return folder


def _size_bytes(data: Path) -> int:
    """Of what nodes have on their disks: a folder for each."""
    return sum(path.stat().st_size for path in data.glob("*/*") if path.is_file())


def _hold(path: Path, name: str) -> IO[str]:
    """The lock of a folder. Raises StateError if another emu has it."""
    lock = open(path / "lock", "w")  # noqa: SIM115 - held open: it is the claim
    give_up_s = time.monotonic() + LOOK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_s:
                lock.close()
                raise StateError(f"a cluster called `{name}` is running already") from None
            time.sleep(0.01)
        else:
            return lock


@contextmanager
def _one_at_a_time(base: Path) -> Iterator[None]:
    """Among the emus that begin: a folder is never seen before its lock is held."""
    with open(base / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sweep(base: Path) -> None:
    """Remove the temporary folders of emus that were killed."""
    for path in base.glob(".*-*/lock"):
        if not is_locked(path.parent):
            shutil.rmtree(path.parent, ignore_errors=True)


def facts_of(folder: Path) -> dict[str, Any]:
    """What the run of that folder says of itself. Raises OSError, ValueError."""
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return facts


def running() -> list[dict[str, Any]]:
    """run.json of every cluster that is running now, by name."""
    found = []
    for path in sorted(root().glob(f"*/{FACTS}")):  # temporary ones too: they begin with a dot
        if is_locked(path.parent):
            try:
                found.append({**facts_of(path.parent), "folder": str(path.parent)})
            except (OSError, ValueError, TypeError):
                continue
    return found


def keep_record(name: str, record: dict[str, Any]) -> None:
    """Remember a run that has ended, for `emu report`: the last of each name. Raises OSError."""
    new = root() / f".{name}.{os.getpid()}.new"
    try:
        new.write_text(json.dumps(record, allow_nan=False))
        new.replace(root() / f"{name}{RECORD}")
    finally:
        new.unlink(missing_ok=True)


def last_record(name: str = "") -> Path | None:
    """The file of the last run of that name (or of all) that has ended, if there is one."""
    found = [root() / f"{name}{RECORD}"] if name else list(root().glob(f"*{RECORD}"))
    found = [path for path in found if os.path.isfile(path)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def stopped() -> list[str]:
    """The names of clusters that do not run and have left their disks."""
    return [
        path.parent.name for path in sorted(root().glob("*/data")) if not is_locked(path.parent)
    ]


def is_locked(folder: Path) -> bool:
    """Whether a living emu holds this folder."""
    try:
        with open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, ValueError):  # also where no file can be called so
        return False
    return False


def wipe(name: str) -> bool:
    """Remove what a stopped cluster left behind. Returns whether there was anything."""
    path = root() / name
    if not path.is_dir():
        return False
    if is_locked(path):
        raise StateError(f"`{name}` is running: `emu down --volumes` ends and wipes it")
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        raise StateError(f"cannot remove {path}: look at who owns it")
    log_of(name).unlink(missing_ok=True)
    return True
