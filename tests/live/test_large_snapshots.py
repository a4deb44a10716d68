"""A database of 100 MB: what its snapshots cost everybody else, who share one loop with it.

Held is what one step of a task takes of the processor: how busy the laptop is does not count.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

import emu
from emu.topology.loading import loads

ROWS = 1000
ROW_BYTES = 100_000
MOST_HELD_S = 0.03
PLAN = """
tiers:
  db:
    kind: database
    nodes: 3
    detection_timeout: 3s
    retained: 10MB
    snapshot_every: 60MB
    disk: {sync: real}
"""


class Held(trio.abc.Instrument):
    """The longest step of any node's task since the last look, and whose it was."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._longest = (0.0, "")

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began_s = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took_s = time.thread_time() - self._began_s
        if took_s > self._longest[0] and task.name.startswith("nodes."):
            self._longest = (took_s, task.name)

    def take(self) -> tuple[float, str]:
        longest, self._longest = self._longest, (0.0, "")
        return longest


async def fill(c: emu.Scenario, primary: str, rows: int, salt: int) -> None:
    for number in range(rows):
        blob = (number + salt).to_bytes(4, "big") * (ROW_BYTES // 4)
        insert = ["INSERT OR REPLACE INTO bulk VALUES (?, ?)", [number, blob]]
        await c.call(primary, "write", [insert])


async def until_taken(c: emu.Scenario, nodes: int) -> None:
    before = len(c.events("snapshot taken"))
    while len(c.events("snapshot taken")) < before + nodes:
        await c.sleep(0.1)


async def until_primary(c: emu.Scenario) -> str:
    while not (rows := [row for row in await c.ps("db") if row["role"] == "primary"]):
        await c.sleep(0.1)
    return str(rows[0]["name"])


async def script(c: emu.Scenario) -> dict[str, tuple[float, str]]:
    primary = await until_primary(c)
    await c.call(primary, "write", [["CREATE TABLE bulk (id INTEGER PRIMARY KEY, v BLOB)"]])
    absent = next(row["name"] for row in await c.ps("db") if row["role"] != "primary")
    held, found = Held(), {}
    trio.lowlevel.add_instrument(held)
    await fill(c, primary, ROWS, 0)
    await c.sleep(4)  # all have taken one, of 60 MB or more
    killed = await c.kill(absent)
    held.take()
    await fill(c, primary, ROWS * 6 // 10, 7)
    await until_taken(c, 2)
    found["made"] = held.take()
    await killed.undo()
    await c.until("snapshot installed", node=absent, timeout_s=60)
    found["shipped and installed"] = held.take()
    await c.kill(absent, for_s=0.1)
    await c.sleep(3)
    found["read back"] = held.take()
    (row,) = (await c.call(absent, "query", "SELECT count(*) FROM bulk", [], {}))["rows"]
    assert row == [ROWS]
    return found


@pytest.mark.soak
def test_a_snapshot_of_100_megabytes_never_holds_the_loop_for_long() -> None:
    found: dict[str, Any] = emu.run(script, loads(PLAN), world="live")
    for what, (held_s, who) in found.items():
        print(f"\n{what}: {held_s * 1000:.1f} ms ({who})", end="")
    assert max(held_s for held_s, _ in found.values()) < MOST_HELD_S
