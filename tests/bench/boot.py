"""Booting 1,000 web nodes in one process, against 1,000 listeners that are a Python process each.

Ours is a whole cluster of `emu up`'s kind: web servers with a site, a directory and a database. One
peer answers MessagePack with Trio; one only holds a socket. Memory is as `ps` has it (RSS) and with
shared pages shared out (PSS). Peers are sampled and scaled up: the output says how many really ran.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from emu.live.world import LiveWorld
from emu.operations.inject import inject
from emu.running.supervisor import Cluster
from emu.topology.loading import load
from tests.bench import alternate

NODES: Final = 1000
ROOT: Final = Path(__file__).parents[2]
Measure = Callable[[], dict[str, float]]
TOPOLOGY: Final = f"""
name: boot
tiers:
  db: {{kind: database}}
  web: {{kind: web, public: true, per_region: {NODES}, uses: [db]}}
"""


@dataclass(frozen=True)
class Listener:
    """A program that prints its port once it listens, and ends with its input."""

    what: str
    program: str
    run: int
    """So many are started at once; their figures are scaled up to NODES."""


ANSWERING: Final = Listener(
    "Trio processes",
    """
import sys, msgpack, trio

async def answer(stream):
    unpacker = msgpack.Unpacker()
    async for data in stream:
        unpacker.feed(data)
        for _, number, method, params in unpacker:
            await stream.send_all(msgpack.packb([1, number, None, params]))

async def main():
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        print(listener.socket.getsockname()[1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()

trio.run(main)
""",
    run=20,
)
BARE: Final = Listener(
    "bare processes",
    """
import socket, sys
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
""",
    run=50,
)


def memory(pid: int | str) -> dict[str, float]:
    """What that process takes, in MB: all pages it maps, and with its share of those shared."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("Rss", "Pss"):
            found[f"{name.lower()}_mb"] = int(value.split()[0]) * 1024 / 1e6
    return found


async def _boot() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boot.yaml"
        path.write_text(TOPOLOGY)
        topology = load(path)
        async with LiveWorld(7, Path(folder) / "data", temporary=True) as world:
            before, began_s = memory("self"), time.perf_counter()
            async with Cluster(world, topology, events=world.events, inject=inject) as cluster:
                await cluster.boot()
                took_s = time.perf_counter() - began_s
                assert all(slot.state == "up" for slot in cluster.instances.values())
                after = memory("self")
                return {"took_s": took_s, **{key: after[key] - before[key] for key in after}}


def ours() -> dict[str, float]:
    """Boot in a process of its own, so that nothing is warm or left over."""
    command = [sys.executable, "-m", "tests.bench.boot"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def peers(listener: Listener) -> dict[str, float]:
    """Start `listener.run` of them at once; what NODES would take."""
    command = [sys.executable, "-c", listener.program]
    with ExitStack() as stack:
        began_s = time.perf_counter()
        children = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for _ in range(listener.run)
        ]
        for child in children:
            assert child.stdout is not None and child.stdout.readline()
        took_s = time.perf_counter() - began_s
        sizes = [memory(child.pid) for child in children]
        for child in children:
            assert child.stdin is not None
            child.stdin.close()
    scale = NODES / listener.run
    totals = {key: sum(size[key] for size in sizes) * scale for key in sizes[0]}
    return {"took_s": took_s * scale, **totals}


def against(listener: Listener, runs: int) -> list[dict[str, Any]]:
    """Rows of time and memory against one kind of peer."""
    mine: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []

    def measured(measure: Measure, results: list[dict[str, float]]) -> Callable[[], float]:
        def once() -> float:
            results.append(measure())
            return results[-1]["took_s"]

        return once

    def of(results: list[dict[str, float]], key: str) -> Callable[[], float]:
        values = iter(results)
        return lambda: next(values)[key]

    boots = measured(ours, mine), measured(lambda: peers(listener), theirs)
    rows = [alternate(f"boot of {NODES}, against {listener.what}", "s", *boots, runs)]
    for key in ("rss_mb", "pss_mb"):
        sizes = of(mine, key), of(theirs, key)
        rows.append(alternate(f"memory ({key[:3]}), {listener.what}", "MB", *sizes, runs))
    for row in rows:
        row["times_better"] = round(1 / row["ratio"], 1)
        row["note"] = (
            f"{listener.run} {listener.what} really ran, scaled by {NODES / listener.run:g}"
        )
    return rows


def run(*, runs: int = 5) -> dict[str, Any]:
    """Rows: seconds until all are up, and megabytes. Less is better: `times_better` is peer's over
    ours."""
    rows = [row for listener in (ANSWERING, BARE) for row in against(listener, runs)]
    return {**rows[0], "name": "boot", "rows": rows}


if __name__ == "__main__":
    print(json.dumps(trio.run(_boot)))
