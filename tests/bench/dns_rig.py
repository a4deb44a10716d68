"""Our DNS server for the benchmark: `python -m tests.bench.dns_rig` prints where it listens."""

from __future__ import annotations

import trio

import emu
from emu.topology.loading import loads
from tests.bench import say

TEXT = """
name: bench-dns
regions: [us, eu]
tiers:
  dns:
    kind: dns
    public: true
    nodes: {us: 1}
    zone: example.test
    answers: web
    check: none
    ttl: 5s
    networks: {us: [198.51.100.0/24], eu: [203.0.113.0/24]}
  web: {kind: web, public: true, per_region: 1}
accepts: {single-point dns: one is measured, plain-regions: no way is measured}
"""


async def main() -> None:
    async with emu.cluster(loads(TEXT), world="live") as c:
        (row,) = await c.ps("dns")
        address, _, port = row["address"].rpartition(":")
        say(address=address, port=int(port))
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
