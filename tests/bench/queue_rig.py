"""The processes of the queue benchmark: our brokers, and the publishers (uvloop).

`python -m tests.bench.queue_rig emu BROKERS`, `bare FOLDER` or `client PROTOCOL ADDRESS PORT
CLIENTS TIME_S`; each prints one JSON line. A publish is one record of VALUE; each connection has
one in flight, and every answer is parsed, by the same few lines for all protocols.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any, Final, Protocol

import msgpack

from tests.bench import bare, say
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


# --- the most that Python can --------------------------------------------------------------------


def bare_main(folder: str) -> None:
    """One file and a sync for all that is there: no replicated state, nobody to read it."""
    log = os.open(f"{folder}/bare.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    pack, offset = msgpack.Packer().pack, 0
    for asked in bare.rounds(connections=64):
        answers: list[tuple[socket.socket, bytes]] = []
        records: list[bytes] = []
        for sock, unpacker in asked:
            for _, msgid, _, params in unpacker:
                records.append(pack((offset, *params)))
                answers.append((sock, pack((1, msgid, None, [offset]))))
                offset += 1
        if records:
            os.write(log, b"".join(records))
            os.fdatasync(log)
        for sock, answer in answers:
            with suppress(ConnectionResetError, BrokenPipeError):
                sock.sendall(answer)


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
        params = [TOPIC, [[None, VALUE]], {"partition": 0}]
        self._publish: bytes = msgpack.packb([0, 1, "publish", params])
        self._unpacker = msgpack.Unpacker()

    def publish(self, number: int) -> bytes:
        return self._publish

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


class Amqp:
    """RabbitMQ: a publish has three frames; the server confirms them by number, perhaps many at
    once. The handshake's answers are what any server's are, so that they can be sent unasked."""

    CONFIRM_SELECT_OK: Final = (85, 11)
    ACK: Final = (60, 80)
    NACK: Final = (60, 120)
    CLOSES: Final = ((10, 50), (20, 40))
    """Of a connection, and of a channel: with a code and a text that say why."""
    QUORUM: Final = b"\x0cx-queue-typeS" + struct.pack(">I", 6) + b"quorum"
    greetings = 1

    def __init__(self) -> None:
        plain = b"\0guest\0guest"
        self.hello = b"AMQP\0\0\x09\x01" + b"".join(
            (
                self.method(0, 10, 11, bytes(4) + b"\x05PLAIN", self.long(plain), b"\x05en_US"),
                self.method(0, 10, 31, struct.pack(">HIH", 2047, 131072, 0)),
                self.method(0, 10, 40, b"\x01/\0\0"),
                self.method(1, 20, 10, b"\0"),
                # its queue, unless it is there: durable, of the kind that is replicated
                self.method(
                    1, 50, 10, bytes(2), self.short(TOPIC), b"\x02", self.long(self.QUORUM)
                ),
                self.method(1, 85, 10, b"\0"),
            )
        )
        value = VALUE.encode()
        header = struct.pack(">HHQHB", 60, 0, len(value), 0x1000, 2)  # to be kept on the disk
        self._publish = (
            self.method(1, 60, 40, bytes(3), self.short(TOPIC), b"\0")
            + self.frame(2, 1, header)
            + self.frame(3, 1, value)
        )
        self._held = b""
        self._confirmed = 0

    @staticmethod
    def short(text: str) -> bytes:
        return bytes([len(text)]) + text.encode()

    @staticmethod
    def long(data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + data

    @staticmethod
    def frame(kind: int, channel: int, payload: bytes) -> bytes:
        return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"

    @classmethod
    def method(cls, channel: int, family: int, number: int, *arguments: bytes) -> bytes:
        return cls.frame(1, channel, struct.pack(">HH", family, number) + b"".join(arguments))

    def publish(self, number: int) -> bytes:
        return self._publish

    def feed(self, data: bytes) -> int:
        held, at, found = self._held + data, 0, 0
        while len(held) >= at + 7:
            kind, _, size = struct.unpack_from(">BHI", held, at)
            if len(held) < at + size + 8:
                break
            if kind == 1:
                found += self._answered(held[at + 7 : at + 7 + size])
            at += size + 8
        self._held = held[at:]
        return found

    def _answered(self, payload: bytes) -> int:
        """How many answers that method is."""
        word = struct.unpack_from(">HH", payload)
        if word == self.NACK or word in self.CLOSES:
            raise RuntimeError(f"refused: {payload[4:]!r}")
        if word == self.ACK:
            last = struct.unpack_from(">Q", payload, 4)[0]
            several, self._confirmed = last - self._confirmed, max(last, self._confirmed)
            return int(several) if payload[12] & 1 else 1
        return int(word == self.CONFIRM_SELECT_OK)


SPEAKERS: Final[dict[str, type[Any]]] = {
    "msgpack": Msgpack, "nats": Nats, "redis": Redis, "amqp": Amqp,
}  # fmt: skip


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
        case ["bare", folder]:
            bare_main(folder)
        case ["client", protocol, address, port, clients, time_s]:
            import uvloop

            uvloop.run(client_main(protocol, address, int(port), int(clients), float(time_s)))
        case other:
            sys.exit(f"not understood: {other}")


if __name__ == "__main__":
    main()
