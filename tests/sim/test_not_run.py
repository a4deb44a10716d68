"""A timeline of which something did not happen is said in the verdict."""

from __future__ import annotations

from typing import Any

import emu
from emu.topology.loading import loads


def finished(faults: str) -> dict[str, Any]:
    """A run of three seconds with that timeline."""
    topology = loads(
        f"""
tiers:
  web: {{kind: web, public: true}}
users:
  local: {{rate: 5/s, visits: web}}
faults:
{faults}
"""
    )

    async def script(c: emu.Scenario) -> dict[str, Any]:
        c.start_playing(topology.faults, own=True)
        await c.sleep(3)
        return await c.finish()

    return emu.run(script, topology)


def test_what_is_after_the_end_of_the_run_is_told_and_no_failure():
    summary = finished("  - {at: 100s, kill: web, for: 1s}")
    assert summary["not_run"] == ["line 7: `kill web` is at 100 s, when the run was over"]
    assert summary["anomalies"] == []


def test_what_waits_for_an_event_that_does_not_come_is_told():
    summary = finished("  - {on: promotd, kill: web, for: 1s}")
    (told,) = summary["not_run"]
    assert told.endswith("`kill web` waited for the event `promotd`, which did not come")


def test_what_cannot_be_is_an_anomaly_of_the_run():
    summary = finished("  - {at: 1s, partition: [web-1, web], for: 1s}")
    (anomaly,) = summary["anomalies"]
    assert anomaly["kind"] == "timeline"
    assert "was not possible: `web-1` and `web` are one node" in anomaly["text"]


def test_of_what_has_happened_nothing_is_told():
    assert finished("  - {at: 1s, kill: web, for: 1s}")["not_run"] == []
