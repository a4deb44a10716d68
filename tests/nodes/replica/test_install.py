"""A peer's snapshot on its way into the place of a replica's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import trio

from emu.sim.world import SimWorld
from nodes.base import Context
from nodes.replica.files import ReplicaFiles
from nodes.replica.install import Driver, Installer
from protocols.replication import snapshot_file
from protocols.replication.messages import SnapshotChunk
from protocols.replication.replica import Snapshot
from tests.conformance.conftest import run_in_virtual_time, spec
from tests.nodes.replica.test_segments import ALONE, Nothing

STATE = b"another"
WHOLE = snapshot_file.encode_head(len(STATE), ()) + snapshot_file.seal_piece(STATE, 0)
MADE = Snapshot(7, 2, ALONE, ((2, 7),))


def chunk(data: bytes, offset: int = 0) -> SnapshotChunk:
    return SnapshotChunk(
        "server-2", "server-1", 2, 7, 2, ALONE, ((2, 7),), offset, len(WHOLE), data, "server", 0
    )


def in_one_life(script: Callable[[Context], Awaitable[None]]) -> None:
    async def life() -> None:
        async with SimWorld(1) as world:
            alive, ctx = world.machine(spec("server-1")).boot(1)
            await script(ctx)
            alive.end(crash=True)

    run_in_virtual_time(life)


class Counting(Nothing):
    """A state machine that counts how often it was given a state."""

    def __init__(self) -> None:
        self.restored = 0

    def restore(self, data: Any) -> None:
        self.restored += 1


def test_a_snapshot_whose_chunks_come_again_is_loaded_once() -> None:
    async def script(ctx: Context) -> None:
        machine = Counting()
        files = ReplicaFiles(ctx, "server-1", machine)
        done: list[str] = []
        driver = SimpleNamespace(
            ctx=ctx, files=files, machine=machine, pump_soon=lambda: done.append("prepared"),
            replace_state=lambda become, lsn: become(),
            core=SimpleNamespace(snapshot_installed=lambda: None, snapshot_lost=lambda: None),
        )  # fmt: skip
        installer = Installer(cast(Driver, driver))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(installer.run)
            installer.take(chunk(WHOLE))
            installer.begin(MADE)
            while not ctx.disk.names():
                await ctx.clock.sleep(0.0001)
            while not installer.is_prepared:
                installer.take(chunk(b"", len(WHOLE)))
                await ctx.clock.sleep(0.0001)
            await installer.finish()
            await ctx.clock.sleep(1)
            assert not installer.is_prepared, "nothing more is to be put in place"
            nursery.cancel_scope.cancel()
        assert (done, machine.restored) == (["prepared"], 1)

    in_one_life(script)


def test_no_two_of_a_life_are_written_down_under_one_name() -> None:
    async def script(ctx: Context) -> None:
        snapshots = ReplicaFiles(ctx, "server-1", Nothing()).snapshots
        one, other = snapshots.receive(), snapshots.receive()
        one.add(WHOLE)
        snapshots.end(one)
        await snapshots.sweep()
        names = {one.name, other.name, snapshots.receive().name}
        assert len(names) == 3 and not ctx.disk.names()

    in_one_life(script)


def test_what_is_not_needed_any_more_may_be_removed_while_it_is_synced() -> None:
    async def script(ctx: Context) -> None:
        snapshots = ReplicaFiles(ctx, "server-1", Nothing()).snapshots
        receiving = snapshots.receive()
        receiving.add(WHOLE)
        snapshots.end(receiving)
        await snapshots.sweep()
        await receiving.sync()

    in_one_life(script)
