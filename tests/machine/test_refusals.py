"""Refused connections are told, and do not push out what else a run has to tell."""

from __future__ import annotations

import trio

from emu.machine.events import RING_EVENTS, Events
from emu.machine.refusals import TOLD, WINDOW_S, Refusals


async def test_a_scan_of_all_ports_leaves_the_story_in_the_ring() -> None:
    now_s = 0.0
    events = Events(lambda: now_s)
    refusals = Refusals(events, lambda: now_s)
    events.add("info", "node killed", {"node": "db-1"})
    for port in range(RING_EVENTS):
        refusals.tell("outside", "web-1", f"port {port} is not open")
    refusals.tell("outside", "web-2", "another node")
    assert [each["event"] for each in events.since(0)] == [
        "node killed", *["connection refused"] * (TOLD + 1),
    ]  # fmt: skip
    now_s = WINDOW_S
    refusals.tell("outside", "web-1", "still there")
    assert events.since(0)[-1]["untold_before"] == RING_EVENTS - TOLD
    await trio.lowlevel.checkpoint()
