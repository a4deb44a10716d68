"""A peer's snapshot that finds the disk full waits for room, wherever that happens."""

from __future__ import annotations

import trio

from emu.sim.world import SimWorld
from nodes.replica.files import LOG, ReplicaFiles
from protocols.replication.pieces import Pieces
from protocols.replication.replica import Snapshot
from tests.conformance.conftest import run_in_virtual_time, spec


def test_a_snapshot_is_installed_when_there_is_room_again() -> None:
    async def script() -> tuple[bool, list[str]]:
        async with SimWorld(7) as world:
            machine = world.machine(spec("server-1"))
            _, ctx = machine.boot(1)
            files = ReplicaFiles(ctx, "server-1", lambda payload: payload)
            data = Pieces()
            data.append(b"state")
            snapshot = Snapshot(9, 1, (("server-1", "voter"),), ((1, 1),), data)
            await files.receive(snapshot)
            installed = trio.Event()

            async def install() -> None:
                await files.install(snapshot)
                installed.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(install)
                machine.disk.full = True
                await trio.sleep(2.0)
                before = installed.is_set()
                machine.disk.full = False
                await installed.wait()
            return before, ctx.disk.names()

    before, names = run_in_virtual_time(script)
    assert not before
    assert names == [LOG, "snapshot"]
