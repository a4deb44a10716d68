"""A simulation held at a moment: asked by several, as long as they like, while no time passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.control.client import ControlClient
from emu.control.standing import Standing
from emu.running.conditions import parse
from emu.scenario import Scenario
from emu.seeds.breaking import Stop, break_seed
from emu.seeds.run import SeedRun
from protocols.errors import RpcError

TWO = """\
tiers:
  web: {kind: web, public: true, nodes: 2, restart: on-failure}
users:
  local: {rate: 20/s, visits: web}
"""


def held(tmp_path: Path, asks: Callable[[Path], Any]) -> tuple[Stop | None, Any, float]:
    """Stop a run, let `asks` look around from a thread; what both came to, and how late it was."""
    path, found, ended_s = tmp_path / "control.sock", list[Any](), list[float]()

    async def look(scenario: Scenario, stop: Stop) -> None:
        standing = Standing(scenario.cluster, {"down": lambda call: standing.end()})

        def somebody() -> None:
            while not path.exists():
                time.sleep(0.001)
            try:
                found.append(asks(path))
            finally:
                with ControlClient(path) as client:
                    client.call("down")

        thread = threading.Thread(target=somebody)
        thread.start()
        await standing.serve(path)
        thread.join()
        ended_s.append(scenario.now_s)

    run = SeedRun("two.yaml", 1, for_s=5.0, faults="none", text=TWO)
    stop = break_seed(run, parse("web.uptime > 1s"), look)
    return stop, found[0], ended_s[0]


def test_no_time_passes_between_what_is_asked(tmp_path: Path) -> None:
    def asks(path: Path) -> list[float]:
        with ControlClient(path) as one, ControlClient(path) as other:
            return [each.call("ps", "web-1")[0]["uptime_s"] for each in (one, other) * 10]

    stop, uptimes_s, ended_s = held(tmp_path, asks)
    assert stop is not None and 1.0 < stop.at_s < 1.5
    assert uptimes_s == sorted(uptimes_s)
    assert uptimes_s[-1] - uptimes_s[0] < 0.1 and ended_s - stop.at_s < 0.1


def test_what_is_done_takes_the_time_that_it_takes(tmp_path: Path) -> None:
    def asks(path: Path) -> tuple[str, float]:
        with ControlClient(path) as client:
            client.call("inject", {"verb": "kill", "target": "web-1"}, 2.0)
            (row,) = client.call("ps", "web-1")
            shown = client.call("call", "web-2", "ping", [])
            assert shown == {"web-2": {"ok": "pong"}}
            begun = client.call("events", 0, False, "")
            client.call("events", begun[-1]["index"] + 1, True, "web-1")  # it is waited for
            return row["state"], client.call("ps", "web-1")[0]["uptime_s"]

    stop, (state, uptime_s), ended_s = held(tmp_path, asks)
    assert state == "killed" and uptime_s < 0.5
    assert stop is not None and 2.0 < ended_s - stop.at_s < 3.0


def test_who_leaves_before_the_answer_harms_nobody(tmp_path: Path) -> None:
    def asks(path: Path) -> Any:
        with ControlClient(path) as client:
            client.begin("events", 10_000, True, "")
        with ControlClient(path) as client:
            return client.call("ps", "web-1")[0]["state"]

    stop, state, ended_s = held(tmp_path, asks)
    assert state == "up"
    assert stop is not None and ended_s - stop.at_s < 0.1


def test_what_only_a_live_run_has_is_refused_in_words(tmp_path: Path) -> None:
    def asks(path: Path) -> str:
        with ControlClient(path) as client, pytest.raises(RpcError) as refused:
            client.call("doctor")
        return refused.value.message

    assert "a simulation that stands still" in held(tmp_path, asks)[1]
