"""A peer's snapshot that finds the disk full is sent again until there is room."""

from __future__ import annotations

from typing import Any

import emu
from tests.sim.test_database_disks import BLOBS, group, with_table, write


def test_a_snapshot_is_installed_when_there_is_room_again() -> None:
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        replica = (await c.resolve("db replica"))[0]
        await c.kill(replica)
        for number in range(60):
            last = await write(c, primary, BLOBS, number % 10, "x" * 20_000)
            await c.sleep(0.1)
        disk = c.cluster.instances[replica].handle.disk
        await c.start(replica)
        full = await c.disk(replica, full=True)
        await c.sleep(3)
        before = len(c.events("snapshot installed", node=replica))
        lost = len(c.events("snapshot lost", node=replica))
        await full.undo()
        await c.until("snapshot installed", timeout_s=5)
        answer = await c.call(
            replica, "query", "SELECT count(*) FROM t", [], {"min_lsn": last, "wait_ms": 3000}
        )
        await c.sleep(1)
        unfinished = [name for name in disk.files.names() if name.startswith("snapshot.")]
        rows = answer["rows"][0][0]
        return {"before": before, "lost": lost > 0, "rows": rows, "unfinished": unfinished}

    more = ", snapshot_every: 50kB, retained: 50kB"
    found = emu.run(script, group(more=more), seed=7)
    assert found == {"before": 0, "lost": True, "rows": 10, "unfinished": []}
