"""A live reshard of 200,000 keys under load: `emu reshard` against `redis-cli --cluster reshard`.

Three shards hold the keys, clients write 1,000 times a second, and a quarter of the slots moves to
a fourth, which is empty. The figure is keys moved a second, from the command to its end; what the
clients saw is beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bench import alternate, find_peer, free_port
from tests.bench.balancer import ROOT, process
from tests.live.running import Running, emu_up

RIG = [sys.executable, "-m", "tests.bench.reshard_rig"]
KEYS = 200_000
WRITES_PER_S = 1_000
SLOTS_MOVED = 16384 // 4
TIMEOUT_S = 300.0
MOST_RUNS = 3
"""Each takes half a minute."""
STORES = {
    "memory": ("shards: 3, replicas: 0, durability: none", False),
    "log + replica": ("shards: 3, replicas: 1", True),
}


@contextmanager
def writing(
    protocol: str, address: str, port: int, keys: int = KEYS, per_s: int = WRITES_PER_S
) -> Iterator[dict[str, Any]]:
    """Clients fill a store, then write while the block lasts; what they saw is in the map after
    it."""
    command = [*RIG, protocol, address, str(port), str(keys), str(per_s)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            seen: dict[str, Any] = json.loads(child.stdout.readline())
            yield seen
            child.stdin.close()
            seen.update(json.loads(child.stdout.readline()))
        finally:
            child.kill()


# --- Redis Cluster -----------------------------------------------------------------------------


def redis_reshard(logged: bool) -> dict[str, Any]:
    """Three masters and an empty fourth; `logged`: each with an append-only file and a replica."""
    server, cli = find_peer("redis-server", "redis-server"), find_peer("redis-cli", "redis-tools")
    copies = 2 if logged else 1
    with ExitStack() as stack:
        ports = [stack.enter_context(_redis_node(server, logged)) for _ in range(4 * copies)]
        nodes = [f"127.0.0.1:{port}" for port in ports]
        founders, (fourth, *its_replica) = nodes[: 3 * copies], nodes[3 * copies :]
        replicas = ["--cluster-replicas", str(copies - 1)]
        _run(cli, "--cluster", "create", *founders, *replicas, "--cluster-yes")
        _run(cli, "--cluster", "add-node", fourth, nodes[0])
        _wait_until_known(cli, ports[: 3 * copies + 1])
        port = fourth.rpartition(":")[2]
        target = _run(cli, "-p", port, "cluster", "myid").strip()
        for each in its_replica:
            of = ["--cluster-slave", "--cluster-master-id", target]
            _run(cli, "--cluster", "add-node", each, nodes[0], *of)
            _wait_until_known(cli, ports)
        with writing("redis", "127.0.0.1", ports[0]) as seen:
            began_s = time.perf_counter()
            _run(
                cli, "--cluster", "reshard", nodes[0], "--cluster-from", "all", "--cluster-to",
                target, "--cluster-slots", str(SLOTS_MOVED), "--cluster-yes",
            )  # fmt: skip
            took_s = time.perf_counter() - began_s
        keys = int(_run(cli, "-p", port, "dbsize").split()[-1])
    return {"keys": keys, "took_s": took_s, "clients": seen}


@contextmanager
def _redis_node(program: str, logged: bool) -> Iterator[int]:
    port = free_port()
    port = port if port < 55_000 else port - 20_000  # the cluster's bus is 10,000 above
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--dir", folder, "--save", "", "--loglevel", "warning"]
        options += ["--appendonly", "yes", "--appendfsync", "everysec"] if logged else []
        with process(
            program, *options, "--bind", "127.0.0.1", "--cluster-enabled", "yes",
            wait_for_line=False,
        ):  # fmt: skip
            yield port


def _wait_until_known(cli: str, ports: list[int]) -> None:
    """Every node must know all of them, or redis-cli refuses."""
    for port in ports:
        for _ in range(200):
            facts = _run(cli, "-p", str(port), "cluster", "info")
            if "cluster_state:ok" in facts and f"cluster_known_nodes:{len(ports)}" in facts:
                break
            time.sleep(0.1)


def _run(*command: str) -> str:
    for _ in range(50):
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        if done.returncode == 0 and "refused" not in done.stdout:
            return done.stdout
        time.sleep(0.1)  # not listening yet
    raise RuntimeError(f"{' '.join(command[:4])}: {done.stdout[-500:]}{done.stderr[-500:]}")


# --- ours --------------------------------------------------------------------------------------


def our_reshard(options: str) -> dict[str, Any]:
    """A store of its own in an `emu up` of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "store.yaml")
        file.write_text(f"name: bench\ntiers: {{kv: {{kind: kv, public: true, {options}}}}}\n")
        with emu_up(Path(folder), str(file), "--fresh") as running:
            with writing("msgpack", *running.address("kv-router-1")) as seen:
                summary = emu_reshard(running, 4)
    told = {name: summary[name] for name in ("keys", "took_s", "longest_pause_s")}
    return {**told, "clients": seen}


def emu_reshard(running: Running, to: int) -> dict[str, Any]:
    """`emu reshard kv --to N --json`, its summary."""
    done = subprocess.run(
        [sys.executable, "-m", "emu", "reshard", "kv", "--to", str(to), "--json"],
        cwd=ROOT, env={**os.environ, "EMU_STATE_DIR": str(running.state)},
        check=True, capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def run(*, runs: int = MOST_RUNS) -> dict[str, Any]:
    """A row in memory only, and one with a log and a replica, on both sides."""
    rows = []
    for setting, (options, logged) in STORES.items():
        seen: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}

        def rate(side: str, found: dict[str, Any], seen: Any = seen) -> float:
            seen[side].append(found)
            return float(found["keys"] / found["took_s"])

        row = alternate(
            f"reshard, {setting}",
            "keys/s",
            lambda options=options, rate=rate: rate("ours", our_reshard(options)),
            lambda logged=logged, rate=rate: rate("peer", redis_reshard(logged)),
            min(runs, MOST_RUNS),
        )
        rows.append({**row, "seen": seen, "note": _note(setting, seen)})
    return {**rows[0], "rows": rows}


def _note(setting: str, seen: dict[str, list[dict[str, Any]]]) -> str:
    """What the clients saw at worst."""
    told = []
    for side, found in seen.items():
        clients = [each["clients"] for each in found]
        errors = sum(sum(each["errors"].values()) + each["unanswered"] for each in clients)
        lost, longest_s = (max(each[name] for each in clients) for name in ("lost", "longest_s"))
        told.append(
            f"{side}: {errors} errors, {lost} lost, longest write {longest_s * 1000:.0f} ms"
        )
    return f"{setting}: {'; '.join(told)}"
