"""A run of which more is seen than can be kept: it says so at once, and what the verdict covers."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from emu.checks.history import Recorder
from emu.topology.loading import loads
from emu.verdict import judging

TOPOLOGY = """
name: long
tiers:
  db: {kind: database, nodes: 3, public: true}
  clients: {kind: clients, asks: db, workload: set, processes: 2, think_time: 50ms}
"""


def test_what_is_judged_of_a_long_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Recorder):
        def __init__(self, *given: Any, max_operations: int, **options: Any) -> None:
            super().__init__(*given, max_operations=9, **options)

    monkeypatch.setattr(judging, "Recorder", Short)

    async def script(c: emu.Scenario) -> Any:
        await c.sleep(4)
        return c.events("history full"), await c.finish()

    events, found = emu.run(script, loads(TOPOLOGY), seed=1)
    (full,) = events
    assert full["operations"] == 9
    assert found["verdict"] == "unknown"
    (why,) = found["undecided"]
    assert f"operations from {full['time_s']:.0f} s on were too many to keep" in why
    assert why.endswith("what 9 before that saw was judged")
