"""The first screen says what fits the tiers that run, by what their kinds say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from emu.cli.screen import to_break
from emu.running.instance import Instance
from emu.topology.loading import loads

WEB = "web: {kind: web, nodes: 2, uses: db}"


def tried(text: str) -> list[str]:
    machine: Any = None
    slots = [Instance(each, machine) for each in loads(f"tiers: {{{text}}}").placements()]
    return [command for command, _ in to_break(slots)]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("web: {kind: web}",
         ["kill web --for 5s", "slow web --latency 80ms --for 10s", "cpu web --cores 1"]),
        (f"dns: {{kind: dns, zone: example.test, answers: lb}}, db: {{kind: database}}, {WEB}, "
         "lb: {kind: balancer, balances: web}",
         ["kill 'one web' --for 5s", "crash db --for 3s", "slow web --latency 80ms --for 10s",
          "partition lb web --for 5s", "scale web=5"]),
        (f"{WEB}, db: {{kind: database, nodes: 3}}",
         ["kill 'one web' --for 5s", "kill 'db primary' --for 10s",
          "slow web --latency 80ms --for 10s", "cpu web --cores 1"]),
        ("kv: {kind: kv, shards: 2}",
         ["kill 'one kv-shard-1' --for 5s", "kill 'kv-shard-1 primary' --for 10s",
          "slow kv-shard-1 --latency 80ms --for 10s", "cpu kv-shard-1 --cores 1"]),
    ],
)  # fmt: skip
def test_it_breaks_the_server_behind_all_others_and_the_first_that_keeps_data(
    text: str, commands: list[str]
) -> None:
    assert tried(text) == commands
