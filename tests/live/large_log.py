"""One log of many megabytes, of a state that is a few bytes: how much memory that takes.

`python -m tests.live.large_log MEGABYTES` prints a JSON line: resident megabytes before, and the
most while the log is written, read again by a restart, and followed from its begin by another.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from emu.live.world import LiveWorld
from emu.machine.machine import EmulatedMachine
from emu.machine.world import DiskSpec, MachineSpec
from nodes.base import RPC_PORT
from nodes.replica.driver import ReplicaDriver
from nodes.wire.service import Service
from protocols.replication.messages import LEARNER, VOTER, Members
from protocols.replication.replica import GroupConfig

NAMES: Final = ("group-1", "group-2")
RECORD_BYTES: Final = 4000
ON_THE_WAY: Final = 2000
"""Records that wait for their sync."""
ALL: Final = 1 << 40
ROOMY: Final = DiskSpec(capacity_bytes=ALL)


class Counter:
    """How many records there were."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, payload: bytes, lsn: int) -> None:
        self.count += 1

    def dump(self) -> bytes:
        return self.count.to_bytes(8, "big")

    def restore(self, data: Any) -> None:
        self.count = 0 if data is None else int.from_bytes(bytes(data), "big")

    def describe(self, payload: bytes) -> Any:
        return len(payload)


class Memory:
    """What the process has resident, and the most since the last look."""

    def __init__(self) -> None:
        self.most_mb = 0.0

    def now_mb(self) -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def take_mb(self) -> float:
        most_mb, self.most_mb = self.most_mb, 0.0
        return round(most_mb, 1)

    async def watch(self) -> None:
        while True:
            self.most_mb = max(self.most_mb, self.now_mb())
            await trio.sleep(0.05)


@asynccontextmanager
async def member(machine: EmulatedMachine, generation: int) -> AsyncIterator[ReplicaDriver]:
    """Up from here on, until the block ends; then its process is gone."""
    life, ctx = machine.boot(generation)
    founders: Members = ((NAMES[0], VOTER),) if ctx.name == NAMES[0] else ()
    async with trio.open_nursery() as outside:
        started = trio.Event()

        async def run() -> None:
            with life.scope:
                async with trio.open_nursery() as nursery:
                    config = GroupConfig(ctx.name, "group", retained_bytes=ALL)
                    outside.driver = driver = ReplicaDriver(  # type: ignore[attr-defined]
                        ctx, nursery, Counter(), config, founders, snapshot_every_bytes=ALL
                    )
                    await driver.recover()
                    service = Service(ctx)
                    driver.add_methods(service)
                    nursery.start_soon(service.serve, await ctx.network.listen(RPC_PORT))
                    nursery.start_soon(driver.run)
                    started.set()

        outside.start_soon(run)
        await started.wait()
        yield outside.driver  # type: ignore[attr-defined]
        life.end(crash=False)
        outside.cancel_scope.cancel()


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)


def can_write(driver: ReplicaDriver) -> bool:
    core, now_s = driver.core, driver.ctx.clock.monotonic_s()
    return core.can_write(now_s) and driver.state_lsn == core.last_lsn


async def write(driver: ReplicaDriver, megabytes: int) -> int:
    """So much; the last LSN."""
    lsn = 0
    for number in range(megabytes * 1_000_000 // RECORD_BYTES):
        lsn = driver.propose(number.to_bytes(8, "big") * (RECORD_BYTES // 8))
        if lsn % 16 == 0:
            driver.pump()
            await trio.lowlevel.checkpoint()
        if lsn % ON_THE_WAY == 0:
            await driver.acknowledged(lsn - ON_THE_WAY // 2)
    await driver.acknowledged(lsn)
    return lsn


async def main(megabytes: int) -> dict[str, Any]:
    memory = Memory()
    with tempfile.TemporaryDirectory() as folder:
        async with LiveWorld(1, Path(folder), temporary=True) as world, trio.open_nursery() as n:
            n.start_soon(memory.watch)
            first, second = (
                world.machine(
                    MachineSpec(name, "group", "test", "here", dials=("group",), disk=ROOMY)
                )
                for name in NAMES
            )
            found: dict[str, Any] = {"megabytes": megabytes, "before_mb": memory.now_mb()}
            async with member(first, 1) as driver:
                await until(lambda: can_write(driver))
                lsn = await write(driver, megabytes)
                found["log_bytes"] = driver.storage.size_bytes
            found["writing_mb"] = memory.take_mb()
            async with member(first, 2) as driver:
                await until(lambda: can_write(driver) and driver.state_lsn >= lsn)
                found["restarted_mb"] = memory.take_mb()
                driver.change_member(NAMES[1], LEARNER)
                async with member(second, 1) as follower:
                    await until(lambda: follower.state_lsn >= lsn)
                    found["following_mb"] = memory.take_mb()
                    found["kept_by_both"] = follower.storage.first_lsn == 1
            n.cancel_scope.cancel()
    return found


if __name__ == "__main__":
    print(json.dumps(trio.run(main, int(sys.argv[1]))))
