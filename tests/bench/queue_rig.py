"""The processes of the queue benchmark: our brokers, and the publishers (uvloop).

`python -m tests.bench.queue_rig emu BROKERS` or `client PROTOCOL ADDRESS PORT CLIENTS TIME_S`; each
prints one JSON line. A publish is one record of VALUE; each connection has one in flight, and every
answer is parsed, by the same few lines for all protocols.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any, Final, Protocol

import msgpack

from tests.bench import say
from tests.bench.commit_rig import primary_of

TOPIC: Final = "bench"
VALUE: Final = "x" * 200
WARM_UP_S: Final = 0.5
TOPOLOGY: Final = """
name: bench-queue
tiers:
  queue:
    kind: queue_broker
    nodes: {brokers}
    detection_timeout: 3s
    public: true
    disk: {{sync: real}}
    topics: {{bench: {{capacity: 16GiB}}}}
"""


# --- our brokers ---------------------------------------------------------------------------------


async def emu_main(brokers: int) -> None:
    import trio

    import emu
    from emu.topology.loading import loads

    async with emu.cluster(loads(TOPOLOGY.format(brokers=brokers))) as c:
        say(**await primary_of(c, "queue", ("offsets", TOPIC)))
        await trio.sleep_forever()


# --- what they speak -----------------------------------------------------------------------------


class Speaker(Protocol):
    """A protocol, from the publisher's side."""

    hello: bytes
    greetings: int
    """Answers before the first publish may leave."""

    def publish(self, number: int) -> bytes: ...
    def feed(self, data: bytes) -> int:
        """How many answers these bytes end."""
        ...


class Msgpack:
    """Our wire."""

    hello = b""
    greetings = 0

    def __init__(self) -> None:
        self._pack = msgpack.Packer().pack
        self._unpacker = msgpack.Unpacker()

    def publish(self, number: int) -> bytes:
        params = [TOPIC, [[None, VALUE]], {"partition": 0}]
        packed: bytes = self._pack([0, number & 0xFFFF, "publish", params])
        return packed

    def feed(self, data: bytes) -> int:
        self._unpacker.feed(data)
        found = 0
        for answer in self._unpacker:
            if answer[2] is not None:
                raise RuntimeError(f"refused: {answer[2]}")
            found += 1
        return found


class Lines:
    """What protocols of lines have in common: the answers are lines that begin with a word."""

    answers: tuple[bytes, ...] = ()

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> int:
        *lines, self._held = (self._held + data).split(b"\r\n")
        for line in lines:
            if line.startswith((b"-", b'{"error"')):
                raise RuntimeError(f"refused: {line!r}")
        return sum(line.startswith(self.answers) for line in lines)


class Nats(Lines):
    """JetStream: a publish names the inbox to which its acknowledgement goes."""

    answers = (b"PONG", b"MSG ")
    hello = b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB _INBOX.q 1\r\nPING\r\n'
    greetings = 1

    def __init__(self) -> None:
        super().__init__()
        inbox = b"_INBOX.%x" % (time.time_ns() ^ id(self))
        self.hello = self.hello.replace(b"_INBOX.q", inbox)
        value = VALUE.encode()
        self._publish = b"PUB %s %s %d\r\n%s\r\n" % (TOPIC.encode(), inbox, len(value), value)

    def publish(self, number: int) -> bytes:
        return self._publish


class Redis(Lines):
    """Streams: XADD answers with the entry's id, a line of its length and a line of text."""

    answers = (b"$",)
    hello = b""
    greetings = 0
    _command = (b"XADD", TOPIC.encode(), b"*", b"v", VALUE.encode())
    _publish = b"*%d\r\n" % len(_command) + b"".join(
        b"$%d\r\n%s\r\n" % (len(each), each) for each in _command
    )

    def publish(self, number: int) -> bytes:
        return self._publish


SPEAKERS: Final[dict[str, type[Any]]] = {"msgpack": Msgpack, "nats": Nats, "redis": Redis}


class Client(asyncio.Protocol):
    """One connection with one publish in flight."""

    def __init__(self, protocol: str) -> None:
        self.speaker: Speaker = SPEAKERS[protocol]()
        self.published = -self.speaker.greetings
        self.times_s: list[float] = []
        self._sent_s = 0.0
        self.greeted = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.speaker.hello)
        self._look()

    def begin(self) -> None:
        self._sent_s = time.perf_counter()
        self.transport.write(self.speaker.publish(self.published))

    def data_received(self, data: bytes) -> None:
        found = self.speaker.feed(data)
        self.published += found
        if found and self.greeted.done():
            self.times_s.append(time.perf_counter() - self._sent_s)
            self.begin()
        else:
            self._look()

    def _look(self) -> None:
        if self.published == 0 and not self.greeted.done():
            self.greeted.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(error or ConnectionError("the server closed"))


async def client_main(protocol: str, address: str, port: int, clients: int, time_s: float) -> None:
    """Print how many publishes a second there were after a warm-up, and how long they took."""
    loop = asyncio.get_running_loop()
    made: list[Client] = []
    for _ in range(clients):
        client = Client(protocol)
        await loop.create_connection(lambda client=client: client, address, port)
        async with asyncio.timeout(10):
            await client.greeted
        made.append(client)
    for client in made:
        client.begin()
    await asyncio.sleep(WARM_UP_S)
    for client in made:
        client.times_s.clear()
    before, began_s = sum(each.published for each in made), time.perf_counter()
    await asyncio.sleep(time_s)
    per_s = (sum(each.published for each in made) - before) / (time.perf_counter() - began_s)
    times_s = sorted(each for client in made for each in client.times_s)
    say(per_s=per_s, p50_ms=1000 * times_s[len(times_s) // 2],
        p99_ms=1000 * times_s[len(times_s) * 99 // 100])  # fmt: skip


def main() -> None:
    match sys.argv[1:]:
        case ["emu", brokers]:
            import trio

            trio.run(emu_main, int(brokers))
        case ["client", protocol, address, port, clients, time_s]:
            import uvloop

            uvloop.run(client_main(protocol, address, int(port), int(clients), float(time_s)))
        case other:
            sys.exit(f"not understood: {other}")


if __name__ == "__main__":
    main()
