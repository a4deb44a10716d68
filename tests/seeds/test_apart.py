"""A campaign whose scheduler and workers are in two network namespaces, as on two computers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.rig import ROOT
from tests.processes.test_namespaces import needs_namespaces
from tests.seeds.test_parts import needs_dask

SEEDS = os.environ.get("TESTED_SEEDS", "12")
CAMPAIGN = ("02", "--seeds", SEEDS, "--for", "3s", "--json")
SCRIPT = """
set -e
ip link set lo up
unshare -n sleep 3600 &
inside=$!
all=$inside
trap 'kill -9 $all 2> /dev/null' EXIT
here=$(readlink /proc/$$/ns/net)
while [ "$(readlink /proc/$inside/ns/net)" = "$here" ]; do sleep 0.05; done
ip link add v0 type veth peer name w0
ip addr add 10.9.0.1/24 dev v0
ip link set v0 up
ip link set w0 netns $inside
nsenter -n -t $inside ip link set lo up
nsenter -n -t $inside ip addr add 10.9.0.2/24 dev w0
nsenter -n -t $inside ip link set w0 up

$PYTHON -m distributed.cli.dask_scheduler --host 10.9.0.1 --port 8786 --no-dashboard &
all="$all $!"
for worker in doomed other; do
    nsenter -n -t $inside $PYTHON -m distributed.cli.dask_worker tcp://10.9.0.1:8786 --nthreads 1 \
        --no-nanny --no-dashboard --local-directory $worker 2> $worker.log &
    eval $worker=$!
    all="$all $!"
    until grep -q "Registered to:.*10.9.0.1" $worker.log; do sleep 0.2; done
done

ticks() { awk '{print $14 + $15}' /proc/$doomed/stat; }
before=$(ticks)
$PYTHON -m emu sim $CAMPAIGN --on dask://10.9.0.1:8786 > told.json &
campaign=$!
while [ $(ticks) -lt $((before + 300)) ]; do sleep 0.1; done
kill -0 $campaign
kill -9 $doomed
wait $campaign
kill -0 $other
"""


@pytest.mark.soak
def test_the_digest_is_that_of_home_though_a_worker_elsewhere_is_killed(tmp_path: Path) -> None:
    needs_namespaces()
    needs_dask()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "EMU_STATE_DIR": str(tmp_path / "s"),
           "PYTHON": sys.executable, "CAMPAIGN": " ".join(CAMPAIGN)}  # fmt: skip
    done = subprocess.run(
        ["unshare", "-n", "bash", "-c", SCRIPT],
        cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    home = subprocess.run(
        [sys.executable, "-m", "emu", "sim", *CAMPAIGN, "--jobs", "2"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    there = json.loads((tmp_path / "told.json").read_text())
    assert there["digest"] == json.loads(home.stdout)["digest"]
    assert there["seeds"] == int(SEEDS)
