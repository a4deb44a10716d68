"""The groups of the failover benchmark, and the writer that both are asked by.

`python -m tests.bench.failover_rig emu FAULT DETECTION_S` runs our group, prints its members, and
breaks the primary when a line arrives. Redis runs as a primary, two replicas and three sentinels.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgpack

from tests.bench import free_port
from tests.bench.balancer import ROOT

ATTEMPT_S: Final = 0.1
PAUSE_S: Final = 0.01
"""Between a refused attempt and the next."""
READY_S: Final = 30.0
GROUP: Final = "bench"
TOPOLOGY: Final = """
name: bench-failover
tiers:
  db: {{kind: database, nodes: 3, ack: quorum, public: true, detection_timeout: {detection_s}s}}
"""
SENTINEL: Final = """
port {port}
bind 127.0.0.1
dir {folder}
loglevel warning
sentinel monitor {group} 127.0.0.1 {primary} 2
sentinel down-after-milliseconds {group} {down_ms}
sentinel failover-timeout {group} 10000
"""
Address = tuple[str, int]


class Refused(Exception):
    """The server answered, and not with success: what it said."""


# --- the writer --------------------------------------------------------------------------------


class Writer:
    """One client that tries to write all the time; `find` gives it where to try next."""

    def __init__(
        self,
        request: Callable[[int], bytes],
        check: Callable[[bytes], bool],
        find: Callable[[Address | None, str], Address],
    ) -> None:
        """`check(bytes so far)`: whether the answer is whole; raises Refused.

        `find(the address that failed, what it said)`: where the primary may be.
        """
        self._request, self._check, self._find = request, check, find
        self._socket: socket.socket | None = None
        self._address: Address | None = None
        self._why = ""
        self._number = 0

    def attempt(self) -> bool:
        """Whether one write was acknowledged in time."""
        self._number += 1
        ends_s = time.monotonic() + ATTEMPT_S
        try:
            if self._socket is None:
                self._address = self._find(self._address, self._why)
                self._socket = socket.create_connection(self._address, ATTEMPT_S)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(self._request(self._number))
            data = b""
            while not self._check(data):
                self._socket.settimeout(max(0.001, ends_s - time.monotonic()))
                more = self._socket.recv(65536)
                if not more:
                    raise ConnectionError("closed")
                data += more
            return True
        except (OSError, Refused) as problem:
            self._why = str(problem) if isinstance(problem, Refused) else ""
            self.close()
            time.sleep(PAUSE_S)
            return False

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def outage_s(writer: Writer, break_it: Callable[[], object], steady_s: float = 1.0) -> float:
    """The longest time between two acknowledged writes, from before the fault until all was well
    for a while after it."""
    last_s = _write_until(writer, 0.0, steady_s)[1]
    break_it()
    longest_s = 0.0
    while longest_s < 2 * ATTEMPT_S:  # what was on its way may still be acknowledged
        gap_s, last_s = _write_until(writer, last_s, 0.0)
        longest_s = max(longest_s, gap_s)
    return max(longest_s, _write_until(writer, last_s, steady_s)[0])


def _write_until(writer: Writer, last_s: float, steady_s: float) -> tuple[float, float]:
    """Write for so long, and until one is acknowledged: the longest gap, and when that was."""
    begun_s, longest_s = time.monotonic(), 0.0
    acked = False
    while not acked or time.monotonic() - begun_s < steady_s:
        acked = writer.attempt()
        now_s = time.monotonic()
        if acked:
            longest_s, last_s = max(longest_s, now_s - last_s if last_s else 0.0), now_s
        if now_s - begun_s > steady_s + READY_S:
            raise RuntimeError(f"no write was acknowledged for {READY_S:g} s")
    return longest_s, last_s


# --- our group ---------------------------------------------------------------------------------


@contextmanager
def our_group(fault: str, detection_s: float) -> Iterator[tuple[Writer, Callable[[], object]]]:
    """A writer, and what breaks the primary."""
    command = [sys.executable, "-m", "tests.bench.failover_rig", "emu", fault, str(detection_s)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdin is not None and child.stdout is not None
            line = child.stdout.readline()
            if not line:
                raise RuntimeError("our group did not start")
            members: dict[str, Address] = {
                name: (address, port) for name, (address, port) in json.loads(line).items()
            }
            writer = Writer(_our_request, _our_check, _Finder(members).find)
            pipe = child.stdin
            yield writer, lambda: (pipe.write("go\n"), pipe.flush())
            writer.close()
        finally:
            child.kill()


class _Finder:
    """The next member in turn, or whom the refusal names, if that one has not just failed."""

    def __init__(self, members: dict[str, Address]) -> None:
        self._members = members
        self._silent = ""
        self._turn = 0

    def find(self, failed: Address | None, why: str) -> Address:
        if failed is not None and not why:
            self._silent = next(n for n, where in self._members.items() if where == failed)
        if why in self._members and why != self._silent:
            return self._members[why]
        names = [name for name in self._members if name != self._silent or not why]
        self._turn += 1
        return self._members[names[self._turn % len(names)]]


def _our_request(number: int) -> bytes:
    statement = ["INSERT OR REPLACE INTO bench VALUES (?, ?)", [number % 1000, number]]
    packed: bytes = msgpack.packb([0, number, "write", [[statement]]])
    return packed


def _our_check(data: bytes) -> bool:
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    for answer in unpacker:
        if answer[2] is not None:
            raise Refused(str(answer[2][2]) if len(answer[2]) > 2 else "refused")
        return True
    return False


async def emu_main(fault: str, detection_s: float) -> None:
    import trio

    import emu
    from emu.topology.loading import loads
    from tests.bench.commit_rig import primary_of

    topology = loads(TOPOLOGY.format(detection_s=detection_s))
    async with emu.cluster(topology) as c:
        primary = await primary_of(c)
        schema = "CREATE TABLE bench (id INTEGER PRIMARY KEY, v INTEGER)"
        await c.call(primary["name"], "write", [[schema]])
        rows = await c.ps("db")
        where = {row["name"]: row["address"].rpartition(":") for row in rows}
        members = {name: (address, int(port)) for name, (address, _, port) in where.items()}
        print(json.dumps(members), flush=True)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        await getattr(c, fault)("db primary")
        await trio.sleep_forever()


# --- Redis and its sentinels ---------------------------------------------------------------------


@contextmanager
def redis_group(
    program: str, fault: str, detection_s: float
) -> Iterator[tuple[Writer, Callable[[], object]]]:
    """A writer, and what breaks the primary: SIGKILL for a crash, SIGSTOP for a pause."""
    with TemporaryDirectory(prefix="bench-") as name, ExitStack() as running:
        folder = Path(name)
        primary, *others = (free_port() for _ in range(3))
        sentinels = [free_port() for _ in range(3)]
        server = running.enter_context(_redis(program, folder, primary))
        for port in others:
            running.enter_context(
                _redis(program, folder, port, "--replicaof", "127.0.0.1", str(primary))
            )
        _wait_for(primary, ("INFO", "replication"), b"connected_slaves:2", b"state=online")
        for port in sentinels:
            config = folder / f"sentinel-{port}.conf"
            config.write_text(
                SENTINEL.format(
                    port=port,
                    folder=folder,
                    group=GROUP,
                    primary=primary,
                    down_ms=int(detection_s * 1000),
                )
            )
            running.enter_context(_process(program, str(config), "--sentinel"))
        for port in sentinels:
            known = (b"num-slaves\r\n$1\r\n2\r\n", b"num-other-sentinels\r\n$1\r\n2\r\n")
            _wait_for(port, ("SENTINEL", "MASTER", GROUP), *known)
        writer = Writer(_redis_request, _redis_check, _Sentinels(sentinels).find)
        yield writer, lambda: server.send_signal(FAULT_SIGNALS[fault])
        writer.close()


FAULT_SIGNALS: Final = {"crash": signal.SIGKILL, "pause": signal.SIGSTOP}


@contextmanager
def _process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        try:
            yield child
        finally:
            child.kill()  # also what is stopped


def _redis(program: str, folder: Path, port: int, *words: str) -> Any:
    own = folder / str(port)
    own.mkdir()
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(own), "--save", ""]
    return _process(program, *where, "--loglevel", "warning", *words)


def _ask(port: int, *words: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), ATTEMPT_S) as asking:
        asking.settimeout(ATTEMPT_S)
        asking.sendall(_resp(*words))
        return asking.recv(65536)


def _wait_for(port: int, words: tuple[str, ...], *wanted: bytes) -> None:
    ends_s = time.monotonic() + READY_S
    while time.monotonic() < ends_s:
        with suppress(OSError):
            said = _ask(port, *words)
            if all(each in said for each in wanted):
                return
        time.sleep(0.05)
    raise RuntimeError(f"Redis at port {port} was not ready after {READY_S:g} s")


class _Sentinels:
    """Where the sentinels say that the primary is; one after the other is asked."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._turn = 0

    def find(self, failed: Address | None, why: str) -> Address:
        self._turn += 1
        port = self._ports[self._turn % len(self._ports)]
        parts = _ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", GROUP).split(b"\r\n")
        return parts[2].decode(), int(parts[4])


def _resp(*words: str) -> bytes:
    parts = [b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def _redis_request(number: int) -> bytes:
    return _resp("SET", f"key:{number % 1000}", str(number))


def _redis_check(data: bytes) -> bool:
    if data[:1] == b"-":
        raise Refused(data.decode().strip())
    return data.endswith(b"\r\n")


def main() -> None:
    match sys.argv[1:]:
        case ["emu", fault, detection_s]:
            import trio

            trio.run(emu_main, fault, float(detection_s))
        case other:
            sys.exit(f"not understood: {other}")


if __name__ == "__main__":
    main()
