"""A PostgreSQL primary and two streaming replicas on loopback, for as long as a block lasts.

Defaults but for replication: `synchronous_commit` on, `ANY 1` of the two. PostgreSQL refuses to run
as root, so for root it runs as the user `postgres`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.bench import PeerMissing, free_port

DEBIAN: Final = "/usr/lib/postgresql"
READY_S: Final = 30.0
PRIMARY: Final = "primary"
REPLICAS: Final = ("replica1", "replica2")
CONFIG: Final = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
logging_collector = off
"""
PRIMARY_CONFIG: Final = "synchronous_commit = on\nsynchronous_standby_names = 'ANY 1 ({names})'\n"
REPLICA_CONFIG: Final = (
    "primary_conninfo = 'host=127.0.0.1 port={port} user=bench application_name={name}'\n"
)


def find_programs() -> Path:
    """The folder of initdb, postgres and psql. Raises PeerMissing."""
    known = sorted(Path(DEBIAN).glob("*/bin")) if Path(DEBIAN).is_dir() else []
    on_path = shutil.which("initdb")
    for folder in [*known[::-1], *([Path(on_path).resolve().parent] if on_path else [])]:
        if all((folder / name).exists() for name in ("initdb", "postgres", "psql")):
            return folder
    raise PeerMissing("postgres is not installed (Debian: apt install postgresql)")


@contextmanager
def postgres_group(programs: Path) -> Iterator[int]:
    """The primary's port; `bench` may connect to the database `postgres` without a password."""
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as running:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        ports = {each: free_port() for each in (PRIMARY, *REPLICAS)}
        _make_folders(programs, folder, ports, user)
        for each, port in ports.items():
            running.enter_context(_postgres(programs, folder / each, user))
            _wait_for(programs, port, "SELECT 1", "1")
        _wait_for(programs, ports[PRIMARY], "SELECT count(*) FROM pg_stat_replication", "2")
        yield ports[PRIMARY]


def _make_folders(programs: Path, folder: Path, ports: dict[str, int], user: str | None) -> None:
    """Three copies of one new cluster: a replica is the primary's cold copy and a signal file."""
    primary = folder / PRIMARY
    command = [programs / "initdb", "-D", primary, "-U", "bench", "-A", "trust", "--no-sync"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, user=user, cwd="/")
    if done.returncode:
        raise RuntimeError(f"initdb: {done.stderr[-2000:]}")
    for name in REPLICAS:
        subprocess.run(["cp", "-a", primary, folder / name], check=True)
        (folder / name / "standby.signal").touch()
    for name, port in ports.items():
        lines = CONFIG.format(port=port)
        if name == PRIMARY:
            lines += PRIMARY_CONFIG.format(names=", ".join(REPLICAS))
        else:
            lines += REPLICA_CONFIG.format(port=ports[PRIMARY], name=name)
        with open(folder / name / "postgresql.conf", "a") as config:
            config.write(lines)


@contextmanager
def _postgres(programs: Path, data: Path, user: str | None) -> Iterator[None]:
    with (
        open(data.with_suffix(".log"), "w") as log,
        subprocess.Popen(
            [programs / "postgres", "-D", data], stdout=log, stderr=log, user=user, cwd="/"
        ) as server,
    ):
        try:
            yield
        finally:
            server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            with suppress(subprocess.TimeoutExpired):
                server.wait(10)
            server.kill()


def _wait_for(programs: Path, port: int, sql: str, wanted: str) -> None:
    ends_s = time.monotonic() + READY_S
    said = ""
    while time.monotonic() < ends_s:
        done = psql(programs, port, sql)
        if done.returncode == 0 and done.stdout.strip() == wanted:
            return
        said = done.stderr or done.stdout
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL was not ready after {READY_S:g} s ({sql}): {said[-500:]}")


def psql(programs: Path, port: int, sql: str) -> subprocess.CompletedProcess[str]:
    command = [str(programs / "psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "bench"]
    command += ["-d", "postgres", "-X", "-A", "-t", "-c", sql]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
