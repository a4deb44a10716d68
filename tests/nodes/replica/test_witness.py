"""Whose messages go where on a coordinator that is the witness of shards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.replica.hearing import REPLICATE
from nodes.replica.witness import Witnesses, _Witness
from protocols.replication.messages import HandOver, Message
from protocols.replication.replica import to_wire


class Member:
    """A driver, as far as messages come in."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.take = self.heard.append


@pytest.fixture
def service() -> Any:
    return SimpleNamespace(notified={})


def test_a_message_goes_to_the_member_of_the_group_that_it_is_said_in_whoever_said_it(service: Any):
    """The name of the sender does not decide: the same node may have been another group's."""
    own, first, second = Member(), Member(), Member()
    witnesses = Witnesses(None, None, None, 1.0)  # type: ignore[arg-type]
    witnesses.route(service, own)  # type: ignore[arg-type]
    for shard, member in (("kv-shard-1", first), ("kv-shard-2", second)):
        witnesses._joined[shard] = _Witness(member, 0)  # type: ignore[arg-type]
    said = [
        HandOver("kv-shard-1-1", "kv-coordinator-1", 4, group, 7)
        for group in ("kv-shard-1", "kv-shard-2", "kv-shard-3", "kv-coordinator")
    ]
    for message in said:
        service.notified[REPLICATE](SimpleNamespace(peer=message.sender), to_wire(message))
    assert (first.heard, second.heard, own.heard) == ([said[0]], [said[1]], said[2:])


def test_events_of_a_witness_say_of_which_group_they_are():
    async def script(c: Scenario) -> None:
        await c.sleep(5)
        told = [each for each in c.events() if each.get("tier") == "kv-coordinator"]
        followed = [each for each in told if str(each.get("primary", "")).startswith("kv-shard-1")]
        assert followed and {each["group"] for each in followed} == {"kv-shard-1"}
        own = [each for each in told if str(each.get("primary", "")).startswith("kv-coord")]
        assert own and not any("group" in each for each in own)

    run(script, loads("tiers: {kv: {kind: kv, public: true, shards: 1, coordinators: 1}}"))


def test_whoever_speaks_for_another_loses_its_connection(service: Any):
    Witnesses(None, None, None, 1.0).route(service, Member())  # type: ignore[arg-type]
    message = HandOver("kv-shard-1-1", "kv-coordinator-1", 4, "kv-shard-1", 7)
    with pytest.raises(ValueError, match="speaks for kv-shard-1-1"):
        service.notified[REPLICATE](SimpleNamespace(peer="kv-shard-1-2"), to_wire(message))
