"""Alerts on a real run: silence while it is quiet, the right ones after a kill, silence again."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest

from tests.observe.running import ROOT, Running, start
from tests.observe.test_prometheus import query, until
from tests.peers import need

REPLICAS = ROOT / "tests" / "observe" / "topologies" / "replicas.yaml"
QUIET_S = 300.0
OF_THE_LAPTOP = frozenset({"EmuLoopSaturated", "EmuStarved"})
"""Says that this computer is too busy: other programs' doing, where tests run beside others."""


def firing(running: Running) -> set[str]:
    with urllib.request.urlopen(f"{running.facts['prometheus']}/api/v1/alerts") as answer:
        alerts = json.load(answer)["data"]["alerts"]
    found = {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}
    return found - OF_THE_LAPTOP


def firing_here(running: Running) -> set[str]:
    """The same as emu itself evaluates it."""
    alerts = running.ask("alerts")
    return {each["alert"] for each in alerts if each["state"] == "firing"} - OF_THE_LAPTOP


@pytest.mark.soak
def test_a_quiet_run_raises_nothing_and_a_killed_primary_the_right_alerts_until_it_is_back(
    tmp_path: Path,
):
    need("prometheus")
    patient = REPLICAS.read_text().replace("detection_timeout: 500ms", "detection_timeout: 2s")
    (tmp_path / "patient.yaml").write_text(patient)
    block = start(str(tmp_path / "patient.yaml"), "--prometheus")
    running = next(block)
    url = running.facts["prometheus"]
    until(lambda: query(url, "sum(emu_node_up)"))
    quiet_until_s = time.monotonic() + QUIET_S
    while time.monotonic() < quiet_until_s:
        assert firing(running) == set()
        time.sleep(1.0)
    seen: set[str] = set()
    seen_here: set[str] = set()
    running.ask("inject", {"verb": "kill", "target": "db primary"}, 12.0)
    broken_until_s = time.monotonic() + 12.0
    while time.monotonic() < broken_until_s:
        seen |= firing(running)
        seen_here |= firing_here(running)
        time.sleep(0.2)
    assert seen == seen_here == {"EmuNodeDown", "EmuNoPrimary", "EmuReplicaLag"}
    until(lambda: not firing(running) and not firing_here(running), 90)
    with pytest.raises(StopIteration):
        next(block)
