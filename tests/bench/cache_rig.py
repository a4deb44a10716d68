"""The processes of the cache benchmark: one cache node of ours, and the clients (uvloop).

`python -m tests.bench.cache_rig emu` or `client ADDRESS PORT PROTOCOL DEPTH WORK`; each prints one
JSON line. The loop that Python can at most is kv_rig's. Answers are parsed; a get must be a hit.
"""

from __future__ import annotations

import sys
from typing import Final

from tests.bench import kv_rig, say

TOPOLOGY: Final = """
name: bench-cache
tiers: {cache: {kind: cache, public: true, ttl: 1h}}
"""


async def emu_main() -> None:
    import trio

    import emu
    from emu.topology.loading import loads

    async with emu.cluster(loads(TOPOLOGY)) as c:
        (row,) = await c.ps("cache")
        say(address=row["address"].rpartition(":")[0])
        await trio.sleep_forever()


def memcached_requests(depth: int, work: str) -> list[bytes]:
    """Batches of `depth` requests in memcached's own text."""

    def one(number: int) -> bytes:
        key = f"key:{number % kv_rig.KEYS}"
        if work == "get":
            return f"get {key}\r\n".encode()
        return f"set {key} 0 0 {len(kv_rig.VALUE)}\r\n{kv_rig.VALUE}\r\n".encode()

    return [b"".join(one(at * depth + n) for n in range(depth)) for at in range(1000)]


class Client(kv_rig.Client):
    """The same clients, in the words of caches."""

    def __init__(self, protocol: str, depth: int, batches: list[bytes], work: str) -> None:
        super().__init__("msgpack", depth, batches)
        self.work = work
        self.in_value = False
        """Whether the last line that came belongs to a value whose end has not come yet."""
        if protocol == "memcached":
            self.count = self._count_lines
        elif protocol == "msgpack" and work == "get":
            self.count = self._count_hits

    def _count_hits(self, data: bytes) -> int:
        self.unpacker.feed(data)
        found = 0
        for _, _, error, result in self.unpacker:
            assert error is None and result == ["hit", kv_rig.VALUE], (error, result)
            found += 1
        return found

    def _count_lines(self, data: bytes) -> int:
        *lines, self.held = (self.held + data).split(b"\r\n")
        if self.work == "set":
            assert all(each == b"STORED" for each in lines), lines
            return len(lines)
        assert b"END" not in lines[:1] or self.in_value, "a miss"
        self.in_value = bool(lines) and lines[-1] != b"END"
        return sum(each == b"END" for each in lines)


async def client_main(address: str, port: int, protocol: str, depth: int, work: str) -> None:
    if protocol == "memcached":
        batches = memcached_requests(depth, work)
    else:
        batches = kv_rig.requests_of("msgpack", depth, work)
    await kv_rig.measure(address, port, lambda: Client(protocol, depth, batches, work))


def main() -> None:
    match sys.argv[1:]:
        case ["emu"]:
            import trio

            trio.run(emu_main)
        case ["client", address, port, protocol, depth, work]:
            import uvloop

            uvloop.run(client_main(address, int(port), protocol, int(depth), work))
        case other:
            sys.exit(f"not understood: {other}")


if __name__ == "__main__":
    main()
