"""A RabbitMQ of three nodes on this computer, for the queue benchmark: Debian's, in a folder of its
own, with its own port mapper, found by nobody else. Quorum queues sync before they confirm.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.bench import PeerMissing, find_peer, free_port

PROGRAM: Final = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""What Debian's command of that name starts as the user `rabbitmq`, whose folders it takes."""
NAMES: Final = ("one@localhost", "two@localhost", "three@localhost")
BOOT_S: Final = 120.0


@contextmanager
def rabbitmq(folder: Path) -> Iterator[int]:
    """The port of one of three nodes; the others have joined it."""
    find_peer("rabbitmq-server", "rabbitmq-server")
    if not Path(PROGRAM).exists():
        raise PeerMissing(f"rabbitmq-server is not Debian's: there is no {PROGRAM}")
    mapper_port = free_port()
    cookie = folder / ".erlang.cookie"
    cookie.write_text("BENCH")
    cookie.chmod(0o400)
    (folder / "plugins").write_text("[].\n")
    with ExitStack() as stack:
        mapper = [find_peer("epmd", "erlang-base"), "-port", str(mapper_port)]
        stack.enter_context(_ended(subprocess.Popen(mapper)))
        ports = [free_port() for _ in NAMES]
        for name, port in zip(NAMES, ports, strict=True):
            _begin(stack, folder, name, port, mapper_port)
        yield ports[0]


def _begin(stack: ExitStack, folder: Path, name: str, port: int, mapper_port: int) -> None:
    """One node, until it listens: by then it has joined those before it."""
    own = folder / name
    own.mkdir()
    nodes = (f"cluster_formation.classic_config.nodes.{number} = {each}"
             for number, each in enumerate(NAMES, 1))  # fmt: skip
    (own / "rabbitmq.conf").write_text("\n".join((
        f"listeners.tcp.1 = 127.0.0.1:{port}",
        "cluster_formation.peer_discovery_backend = classic_config", *nodes, "")))  # fmt: skip
    told = {
        "HOME": folder, "ERL_EPMD_PORT": mapper_port, "RABBITMQ_NODENAME": name,
        "RABBITMQ_NODE_PORT": port, "RABBITMQ_DIST_PORT": free_port(),
        "RABBITMQ_MNESIA_BASE": own / "mnesia", "RABBITMQ_LOG_BASE": own / "log",
        "RABBITMQ_CONFIG_FILE": own / "rabbitmq.conf", "RABBITMQ_PID_FILE": own / "pid",
        "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
    }  # fmt: skip
    with open(own / "said", "wb") as said:
        server = subprocess.Popen(
            [PROGRAM], env=os.environ | {key: str(each) for key, each in told.items()},
            stdout=said, stderr=said,
        )  # fmt: skip
    stack.enter_context(_ended(server))
    ends_s = time.monotonic() + BOOT_S
    while time.monotonic() < ends_s and server.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{name} did not begin: {(own / 'said').read_text()[-1000:]}")


@contextmanager
def _ended(server: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        server.terminate()
        server.wait()
