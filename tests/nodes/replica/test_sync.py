"""A replica's driver and its disk: everything that is written is synced, whoever asks when."""

from __future__ import annotations

from typing import Any

import trio

from emu.live.world import LiveWorld
from emu.machine.life import current_life
from emu.machine.world import MachineSpec
from nodes.replica.driver import ReplicaDriver
from protocols.replication.replica import VOTER, GroupConfig

NAME = "db-1"


class Tape:
    """A state machine that needs no state."""

    def apply(self, payload: bytes, lsn: int) -> None: ...
    def restore(self, data: Any) -> None: ...
    def dump(self) -> bytes:
        return b""

    def describe(self, payload: bytes) -> Any:
        return payload.hex()


async def test_what_is_written_once_a_sync_has_begun_gets_another_without_a_further_write(
    tmp_path: Any,
) -> None:
    """Both are written before the task that waits for syncs has run once."""
    async with LiveWorld(7, tmp_path) as world:
        life, ctx = world.machine(MachineSpec(NAME, "db", "test", "here")).boot(1)
        current_life.set(life)
        async with trio.open_nursery() as nursery:
            driver = ReplicaDriver(ctx, nursery, Tape(), GroupConfig(NAME), ((NAME, VOTER),))
            await driver.recover()
            nursery.start_soon(driver.run)
            with trio.fail_after(10):
                while not driver.core.can_write(ctx.clock.monotonic_s()):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                await driver.acknowledged(driver.state_lsn)
                for _ in range(20):
                    for payload in (b"first", b"second"):
                        lsn = driver.propose(payload)
                        driver.pump()
                    await driver.acknowledged(lsn)
            nursery.cancel_scope.cancel()
