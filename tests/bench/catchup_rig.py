"""One catch-up: a replica is killed, much is written, foreground clients commit, it comes back.

`python -m tests.bench.catchup_rig MEGABYTES RETAINED_MB STEADY_S` prints one JSON line: seconds
until the replica has what the primary has, and commits a second before and while it catches up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, Final

import trio

from tests.bench.balancer import ROOT
from tests.bench.commit_rig import CREATE, primary_of

CLIENTS: Final = 16
CLIENT: Final = [sys.executable, "-m", "tests.bench.commit_rig", "client", "msgpack"]
ROW_BYTES: Final = 100_000
ROWS: Final = 100
"""The bulk goes to so many rows: the log is long, the state is not."""
CLOSE_LSNS: Final = 200
"""So few records behind the primary a replica has caught up: the clients go on meanwhile."""
WARM_UP_COMMITS: Final = 50
CLIENT_WARM_UP_S: Final = 0.6
"""The client counts from then on."""
LOOK_S: Final = 0.02
CATCH_UP_TIMEOUT_S: Final = 120.0
TOPOLOGY: Final = """
name: bench-catchup
tiers:
  db:
    kind: database
    nodes: 3
    ack: quorum
    detection_timeout: 3s
    public: true
    retained: {retained_mb}MB
    disk: {{sync: real}}
"""


async def catch_up(megabytes: float, retained_mb: int, steady_s: float) -> dict[str, Any]:
    import emu
    from emu.topology.loading import loads

    async with emu.cluster(loads(TOPOLOGY.format(retained_mb=retained_mb))) as c:
        primary = await primary_of(c)
        absent = next(row["name"] for row in await c.ps("db") if row["role"] != "primary")
        for sql in (CREATE, "CREATE TABLE bulk (id INTEGER PRIMARY KEY, v BLOB)"):
            await c.call(primary["name"], "write", [[sql]])
        killed = await c.kill(absent)
        had_lsn = await lsn_of(c, primary["name"])
        behind_bytes = await fill(c, primary["name"], int(megabytes * 1e6))
        while retained_mb < megabytes and not is_cut(c, primary["name"], had_lsn):
            await c.sleep(LOOK_S)
        where = [primary["address"], str(primary["port"]), str(CLIENTS)]
        command = [*CLIENT, *where, str(CATCH_UP_TIMEOUT_S)]
        client = await trio.lowlevel.open_process(command, cwd=ROOT, stdout=subprocess.PIPE)
        await c.sleep(CLIENT_WARM_UP_S)
        filled_lsn = await lsn_of(c, primary["name"])
        while await lsn_of(c, primary["name"]) < filled_lsn + WARM_UP_COMMITS:
            await c.sleep(LOOK_S)
        await c.sleep(2 * steady_s)
        began_s = time.time()
        await killed.undo()
        try:
            await until_caught_up(c, primary["name"], absent)
        finally:
            client.terminate()
        ended_s = time.time()
        assert client.stdout is not None
        answer = b"".join([data async for data in client.stdout])
        counts = json.loads(answer)["counts"]
        return {
            "behind_bytes": behind_bytes,
            "caught_up_s": ended_s - began_s,
            "before_per_s": rate(counts, began_s - steady_s, began_s),
            "during_per_s": rate(counts, began_s, ended_s),
            "snapshots": len(c.events("snapshot installed", node=absent)),
            "loop_lag_p99_s": c.cluster.world.fidelity()["loop_lag_s"]["p99"],
        }


async def fill(c: Any, primary: str, wanted_bytes: int) -> int:
    """Write until the log has grown by so much; by how much it has. A changed row is in it twice:
    as it was, and as it is."""
    written_bytes = number = 0
    value = b""
    while written_bytes < wanted_bytes:
        value = number.to_bytes(4, "big") * (ROW_BYTES // 4)
        row = [number % ROWS, value]
        await c.call(primary, "write", [["INSERT OR REPLACE INTO bulk VALUES (?, ?)", row]])
        written_bytes += ROW_BYTES if number < ROWS else 2 * ROW_BYTES
        number += 1
    return written_bytes


async def lsn_of(c: Any, name: str) -> int:
    """Where its log ends."""
    return int((await c.call_admin(name, "describe"))[name]["lsn"])


def is_cut(c: Any, primary: str, had_lsn: int) -> bool:
    """Whether the primary's log begins after that record: only a snapshot helps who has no more."""
    taken = c.events("snapshot taken", node=primary)
    return any(each["log_from_lsn"] > had_lsn + 1 for each in taken)


async def until_caught_up(c: Any, primary: str, name: str) -> None:
    ends_s = time.monotonic() + CATCH_UP_TIMEOUT_S
    while time.monotonic() < ends_s:
        said = await c.call_admin("db", "describe")
        there, here = said.get(primary), said.get(name)
        both = isinstance(there, dict) and isinstance(here, dict)
        if both and here["applied_lsn"] >= there["committed_lsn"] - CLOSE_LSNS:
            return
        await c.sleep(LOOK_S)
    raise RuntimeError(f"{name} has not caught up after {CATCH_UP_TIMEOUT_S:g} s")


def rate(counts: list[tuple[float, int]], from_s: float, to_s: float) -> float:
    """Commits a second between two times, from what the client counted at each tick."""
    first = ([each for each in counts[:-1] if each[0] <= from_s] or counts[:1])[-1]
    last = next((each for each in counts if each[0] >= to_s and each[0] > first[0]), counts[-1])
    return (last[1] - first[1]) / (last[0] - first[0])


def main() -> None:
    megabytes, retained_mb, steady_s = sys.argv[1:]
    found = trio.run(catch_up, float(megabytes), int(retained_mb), float(steady_s))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
