"""What a node may see of its machine: the interfaces that both worlds
(live and simulated) implement.

A node gets one Context and nothing else. No class here does I/O; whatever opens a socket, reads a
clock or touches a file lives in emu/. Times are seconds on the node's own clock, sizes are bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import trio

from nodes.metrics import Metrics

DNS_PORT = 5300
HTTP_PORT = 8080
RPC_PORT = 7000
ADMIN_PORT = 7900
"""The private listener of every node: ping, describe, metrics. For emu itself, and for members of
tiers whose edges carry a right to it."""

RELAY_BYTES = 65536

DIRECTORY_HOST = "directory"
OUTSIDE = "outside"
"""The name `accept` reports for a client that is no node of this cluster (curl, dig, a browser)."""


OPERATE = "operate"
"""The right of emu itself: to ask everything."""


class Fenced(Exception):
    """This generation of the node is dead: whatever it tries to do now must not happen."""


class CpuBusy(Exception):
    """The bounded queue in front of the cpu is full."""


class CpuExpired(Exception):
    """The work's deadline passed while it waited for the cpu; it was dropped when dequeued."""


class Peer(NamedTuple):
    """Who is at the other end, as the network knows it: `name` is a node's name or OUTSIDE."""

    name: str
    address: str
    port: int
    rights: tuple[str, ...] = ()
    """What it may ask beside what everybody may: words of protocols.control.RIGHTS, or OPERATE. It
    holds for the neighbour itself: what a balancer passes on has the balancer's."""


class Stream(trio.abc.HalfCloseableStream):
    """A connection: trio's half-closeable stream that knows its peer and can be aborted at once."""

    peer: Peer
    """The node at the other end (or OUTSIDE)."""

    def abort(self) -> None:
        """Close now, without waiting: the peer sees a reset."""
        raise NotImplementedError

    def has_arrived(self) -> bool:
        """Whether anything has arrived that was not read: bytes, the peer's end, or a reset. Ask it
        before a kept connection is used again: what is there already answers no question."""
        raise NotImplementedError

    def send_nowait(self, data: bytes) -> int:
        """Send what can be sent without waiting; return how many bytes that was (0: `send_all`
        waits, or tells why not)."""
        return 0

    async def receive_each(self, take: Callable[[bytes | bytearray], bool]) -> None:
        """Give each piece that arrives to `take`, b"" at the end, until it returns False.

        `take` runs in the caller's context, but a world may call it without waking the caller's
        task: under many small messages that is a third of what they cost. It must not wait.
        """
        while take(await self.receive_some(RELAY_BYTES)):
            pass

    async def relay_to(self, sink: Stream, count: Callable[[int], object]) -> bytes | bytearray:
        """Forward to `sink` what can be forwarded at once, calling `count(bytes)` for it; return
        what the caller must send itself, b"" at the end.

        A world may make this cheaper than receiving and sending each piece.
        """
        return await self.receive_some(RELAY_BYTES)


class Listener(trio.abc.Listener[Stream]):
    """Accepts streams whose `peer` is set; strangers are refused before a byte
    of theirs is read."""

    port: int


class DatagramSocket(Protocol):
    """Unordered, lossy messages of up to 65,507 bytes."""

    async def send_to(self, data: bytes, address: str, port: int) -> None: ...
    async def receive_from(self) -> tuple[bytes, Peer]: ...
    def close(self) -> None: ...


class Network(Protocol):
    """The node's network card: one address, stable over restarts."""

    address: str
    """This node's own IP address, dotted."""

    async def open_stream(self, host: str, port: int) -> Stream:
        """Dial a node by name or IP address.

        Raises OSError: ConnectionRefusedError (nobody listens, or the edge is not
        declared), TimeoutError (a partition or a dead host swallowed the attempt),
        ConnectionResetError (a rejecting partition).
        """
        ...

    def after_arrivals(self, call: Callable[[], object]) -> None:
        """Call it when all that has arrived by now, at any stream, is handed out: at once, unless a
        world hands out several streams' bytes in a row. No task of the node runs in between."""
        ...

    async def listen(self, port: int) -> Listener: ...

    async def open_datagram(self, port: int = 0) -> DatagramSocket:
        """A datagram socket bound to `port` (0: any)."""
        ...


class Syncing(Protocol):
    """A sync that has begun."""

    async def wait(self, done: Callable[[], object] | None = None) -> None:
        """Return when it is done, having called `done`, or raise OSError; once.

        `done` must not raise. Where that is cheaper it is called before this task is woken, in the
        place of another."""
        ...


class Disk(Protocol):
    """The node's own folder. What was appended but not synced may be lost or torn by a power cut.

    Every call may raise OSError (EIO, ENOSPC). Names are flat: letters, digits, `.`, `-`, `_`.
    """

    def append(self, name: str, data: bytes) -> int:
        """Write at the end (creating the file), into the page cache; return the
        new size in bytes."""
        ...

    def check_room(self, size_bytes: int) -> None:
        """Raises OSError if so much could not be appended now."""
        ...

    async def sync(self, name: str) -> None:
        """Return when everything that was appended before this call is on the platter."""
        ...

    def begin_sync(self, name: str) -> Syncing:
        """Start what `sync` does; wait for it with `await (...).wait()`."""
        ...

    async def read(self, name: str, offset: int = 0, size_bytes: int | None = None) -> bytes: ...
    def peek(self, name: str, offset: int, size_bytes: int) -> bytes:
        """The same at once, of what this node itself has written or read: the page cache has it,
        and the device is not asked."""
        ...

    async def rename(self, old: str, new: str) -> None:
        """Replace `new` by `old` atomically; durable when it returns (sync `old` first)."""
        ...

    async def truncate(self, name: str, size_bytes: int) -> None:
        """Cut the file; durable when it returns."""
        ...

    async def remove(self, name: str) -> None: ...
    def size_bytes(self, name: str) -> int:
        """The file's size, or FileNotFoundError."""
        ...

    def names(self) -> list[str]:
        """The files that exist, sorted."""
        ...

    def scratch(self) -> AbstractContextManager[str | None]:
        """The path of an empty file for what need not survive, and would fill the memory. Open it
        inside: then its name goes, and it with whoever has it open. None: keep it in memory."""
        ...


class Timer(Protocol):
    """A call that will be made once, unless cancelled first."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The node's own idea of time: it may be off, drift, or be stepped; monotonic
    time never goes back."""

    def monotonic_s(self) -> float: ...
    def wall_s(self) -> float:
        """Seconds since the Unix epoch, as this node believes."""
        ...

    def outside_s(self) -> float:
        """As `monotonic_s`, but it goes on while the computer does not let emu run: the time by
        which somebody outside of emu lives."""
        ...

    def cpu_s(self) -> float:
        """Seconds of processor that all nodes have used together; a simulation's take none."""
        ...

    async def sleep(self, seconds: float) -> None: ...
    def call_at(self, monotonic_s: float, callback: Callable[[], object]) -> Timer:
        """Run a short synchronous callback at that time; never in a dead or paused node."""
        ...


NO_RANK: Final = 448
"""Of work in the name of no request: as urgent as most (nodes/parts/shedding.py)."""


class Cpu(Protocol):
    """A bounded first-in first-out queue in front of `cores` servers."""

    cores: int
    """0 when the topology declares no cpu: nothing is charged then."""

    async def run(
        self,
        cost_s: float | None = None,
        *,
        expires_at_s: float | None = None,
        rank: int = NO_RANK,
    ) -> None:
        """Wait for a core and hold it for `cost_s` (None: the declared service time).

        Of too many the highest `rank` is refused first (nodes/parts/shedding.py).

        Raises CpuBusy when the queue is full, or the work not urgent enough; CpuExpired when
        `expires_at_s` (monotonic) passed in it.
        """
        ...


class Log(Protocol):
    """Structured events: a short name in the past tense and fields. Nothing per request at info."""

    def debug(self, event: str, /, **fields: Any) -> Any: ...
    def info(self, event: str, /, **fields: Any) -> Any: ...
    def warning(self, event: str, /, **fields: Any) -> Any: ...
    def error(self, event: str, /, **fields: Any) -> Any: ...


class Access(Protocol):
    """Lines about requests, of which a few are kept: what is slow, and a sample."""

    samples: bool
    """Whether requests that are not slow may be told, too."""
    least_s: float
    """A request that took less is never told."""

    def told(self, what: str, seconds: float, outcome: str, request: int | None, peer: str) -> None:
        """A request was answered: what it asked (a route, a method), how (`200`, `ok`, an error's
        code), its id, and who asked. Cheap where nothing is kept."""
        ...


class Operation(Protocol):
    """An invoked operation of a client, waiting for its outcome (exactly one
    of these is called)."""

    def ok(self, value: Any = None) -> None: ...
    def fail(self, reason: str = "") -> None:
        """It did not happen, for certain."""
        ...

    def info(self, reason: str = "") -> None:
        """Nobody knows whether it happened: a timeout, a broken connection."""
        ...


class History(Protocol):
    """What this node did as a client, for the checkers (emu/checks/shapes.py has their words)."""

    def invoke(
        self, process: str, f: str, value: Any = None, key: Any = None, *, model: str = "kv"
    ) -> Operation:
        """`process` is one sequential client; `model` names the checker that
        shall judge this object."""
        ...

    def leave(self, key: Any, *, model: str = "kv") -> None:
        """This node asks that object no more: it can be judged before the run's end."""
        ...


class Context(Protocol):
    """The machine a node runs on."""

    name: str
    tier: str
    kind: str
    region: str
    generation: int
    """1 at first boot, one more at each restart; a name never has the same one twice in a run."""
    run: str
    """What tells this run from the others that used the same disks; "" if there are none."""
    network: Network
    disk: Disk
    clock: Clock
    cpu: Cpu
    metrics: Metrics
    log: Log
    access: Access | None
    """None: nobody reads it."""
    history: History

    def rng(self, name: str) -> random.Random:
        """The node's random stream of that name: the same seed gives the same
        stream in a simulation."""
        ...

    def rare(self, name: str) -> bool:
        """Whether to take a legal but rare branch just now. Always False in the live world."""
        ...

    @property
    def reached(self) -> Callable[[str], object]:
        """Say that a state that matters was met (one of those that the Kind names): a campaign
        of seeds counts them, and says which it never met. Live it does nothing."""
        ...


@runtime_checkable
class Node(Protocol):
    """A program. Built anew at each start; what survives a crash lives on
    `ctx.disk`, nothing else does."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled. Calls task_status.started() once it accepts work."""
        ...


class NodeFactory(Protocol):
    """A node class: constructed with its machine and its tier's Config."""

    def __call__(self, ctx: Context, config: Any, /) -> Node: ...
