"""One request is found by its id at every node that it met, in order of time."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from emu.running.logs import Wanted, lines
from emu.topology.loading import loads

FILE = """
name: followed
tiers:
  lb: {kind: balancer, public: true, balances: web}
  web: {kind: web, nodes: 2, uses: db, logs: {sample: 100%}}
  db: {kind: database, nodes: 3, logs: {sample: 100%}}
users:
  local: {rate: 20/s, visits: lb, logs: {slow: 100ms}}
"""


async def script(c: emu.Scenario) -> list[Any]:
    await c.sleep(3)
    events = c.cluster.events
    told, _ = lines(events, Wanted(grep="what=home"), (0, 0))
    request = told[5]["request"]
    found, _ = lines(events, Wanted(request=request), (0, 0))
    return found


def test_a_request_is_followed_from_web_to_database() -> None:
    found = emu.run(script, loads(FILE), seed=4)
    assert {each["tier"] for each in found} >= {"web", "db"}
    assert [each["time_s"] for each in found] == sorted(each["time_s"] for each in found)
    assert {each["event"] for each in found} == {"request"}


def test_only_what_is_wanted_is_shown() -> None:
    async def some(c: emu.Scenario) -> Any:
        await c.sleep(3)
        return c.cluster.events

    events = emu.run(some, loads(FILE), seed=4)
    everything, cursor = lines(events, Wanted(), (0, 0))
    assert lines(events, Wanted(), cursor)[0] == []
    assert all(each["node"] == "web-1" for each in lines(events, Wanted({"web-1"}), (0, 0))[0])
    assert all(each["time_s"] >= 2.0 for each in lines(events, Wanted(since_s=2.0), (0, 0))[0])
    assert 0 < len(lines(events, Wanted(level="info"), (0, 0))[0]) <= len(everything)
    with pytest.raises(ValueError, match="there is no level `loud`"):
        Wanted(level="loud")
