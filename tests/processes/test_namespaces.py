"""Nodes at addresses of their own, each in a network namespace as in a pod: names, resolvers and
doors work whichever tiers are there, and whichever run in emu."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.rig import ROOT, TOKEN

FILE = """
name: o
seed: 5
tiers:
  dns: {kind: dns, public: true, zone: example.test, answers: web, nodes: 2}
  web: {kind: web, public: true, nodes: 2}
users:
  local: {rate: 20/s, clients: 4, think_time: 200ms, visits: web, resolver: dns}
accepts: {single-point: a test}
"""
SCRIPT = """
set -e
ip link set lo up
ip link add br0 type bridge
ip addr add 10.9.0.1/24 dev br0
ip link set br0 up
number=2
for node in $NODES; do
    unshare -n sleep 300 &
    inside=$!
    here=$(readlink /proc/$$/ns/net)
    while [ "$(readlink /proc/$inside/ns/net)" = "$here" ]; do sleep 0.05; done
    ip link add v$number type veth peer name w$number
    ip link set v$number master br0 up
    ip link set w$number netns $inside
    nsenter -n -t $inside ip link set lo up
    nsenter -n -t $inside ip addr add 10.9.0.$number/24 dev w$number
    nsenter -n -t $inside ip link set w$number up
    nsenter -n -t $inside $EMU node $node --join 10.9.0.1:7070 --data $node --wait 60s &
    all="$all $inside"
    number=$((number + 1))
done
trap 'kill $all' EXIT
$EMU up o.yaml --join-at 10.9.0.1:7070 --joined $JOINED --for 8s --json > summary.json
"""


def needs_namespaces() -> None:
    made = "ip link add br0 type bridge && ip link add v0 type veth peer name w0"
    done = subprocess.run(["unshare", "-n", "sh", "-c", made], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no network namespaces here: {done.stderr.decode()[-200:]}")


@pytest.mark.soak
@pytest.mark.parametrize("joined", ["dns", "web", "dns,web"])
def test_names_work_whichever_tiers_are_on_other_computers(joined: str, tmp_path: Path) -> None:
    needs_namespaces()
    (tmp_path / "o.yaml").write_text(FILE)
    done = subprocess.run(
        ["unshare", "-n", "bash", "-c", SCRIPT],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "EMU_STATE_DIR": str(tmp_path / "s"),
            "EMU_JOIN_TOKEN": TOKEN,
            "EMU": f"{sys.executable} -m emu",
            "JOINED": joined,
            "NODES": " ".join(f"{tier}-{n}" for tier in joined.split(",") for n in (1, 2)),
        },
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 4), done.stderr[-3000:]  # 4: this computer may be busy
    summary = json.loads((tmp_path / "summary.json").read_text().splitlines()[-1])
    assert summary["requests"] > 50 and summary["errors"] == 0, done.stderr[-3000:]
    assert summary["anomalies"] == [] and "connection refused" not in done.stderr
