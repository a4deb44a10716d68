"""A node that scales a tier by what its members measure, as its edges allow: in both worlds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import trio

import emu
from emu.model.topology import Topology
from emu.scenario import WorldName
from emu.topology.loading import loads
from nodes.base import ADMIN_PORT, Context
from nodes.kind import SCALES, Edge, Kind
from nodes.kinds import KINDS
from nodes.wire.client import Client
from nodes.wire.directory import Directory
from protocols.control import METRICS
from protocols.errors import RpcError

CAME = "scaler came"


@dataclass(frozen=True)
class ScalerConfig:
    scales: str = ""
    lag_of: str = ""


class Scaler:
    """Reads a member of each tier that it knows, asks for two more of it, and tells what came."""

    def __init__(self, ctx: Context, config: ScalerConfig) -> None:
        self.ctx = ctx
        self.tiers = [each for each in (config.scales, config.lag_of) if each]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            directory = Directory(self.ctx, nursery)
            task_status.started()
            for tier in self.tiers:
                (member,) = (await directory.follow(tier)).members
                client = Client(self.ctx, nursery, member.name, ADMIN_PORT)
                told = [
                    await outcome(client.call("describe")),
                    await outcome(client.call("drain")),
                    await outcome(directory.scale(tier, 3)),
                ]
                self.ctx.log.info(CAME, tier_read=tier, told=told)
            await trio.sleep_forever()


async def outcome(call: Any) -> Any:
    try:
        answer = await call
    except RpcError as error:
        return error.code
    return answer["kind"] if isinstance(answer, dict) else answer


def plan(*edges: str | Edge, **config: str) -> Topology:
    kinds = {**KINDS, "scaler": Kind(ScalerConfig, Scaler, (), edges=edges)}
    options = ", ".join(f"{key}: {value}" for key, value in config.items())
    return loads(
        f"tiers: {{web: {{kind: web, public: true}}, hpa: {{kind: scaler, {options}}}}}",
        kinds=kinds,
    )


def came(topology: Topology, world: WorldName = "sim") -> tuple[list[Any], int]:
    """(what its calls gave, how many web servers there are then)."""

    async def script(c: emu.Scenario) -> tuple[list[Any], int]:
        while not c.events(CAME):
            await c.sleep(0.05)
        (event,) = c.events(CAME)
        return event["told"], len(await c.ps("web"))

    return emu.run(script, topology, world=world)


@pytest.mark.parametrize("world", ["sim", "live"])
@pytest.mark.parametrize("edge", ["scales", SCALES], ids=["plain word", "record"])
def test_whoever_scales_a_tier_reads_its_members_and_asks_for_more(
    world: WorldName, edge: str | Edge
) -> None:
    assert came(plan(edge, scales="web"), world) == (["web", "unauthorized", 3], 3)


def test_an_edge_that_reads_asks_for_none() -> None:
    topology = plan(Edge("lag_of", (METRICS,)), lag_of="web")
    assert came(topology) == (["web", "unauthorized", "unauthorized"], 1)


def test_a_plain_edge_allows_to_dial_and_nothing_else() -> None:
    refused = ["disconnected", "disconnected", "unauthorized"]
    assert came(plan("lag_of", lag_of="web")) == (refused, 1)


def test_rights_of_an_edge_to_a_group_hold_for_its_tiers_and_for_itself() -> None:
    kinds = {**KINDS, "scaler": Kind(ScalerConfig, Scaler, (), edges=(SCALES, "lag_of"))}
    text = "tiers: {kv: {kind: kv, replicas: 0, coordinators: 1}, hpa: {kind: scaler, scales: kv}}"
    (placement,) = loads(text, kinds=kinds).tier("hpa").placements()
    read = [tier for right, tier in placement.spec.rights if right == METRICS]
    assert read == ["kv-shard-1", "kv-coordinator", "kv-router", "kv"]


def test_an_edge_names_rights_that_there_are() -> None:
    with pytest.raises(ValueError, match="edge `lag_of`: no right `lag`; there are metrics, scale"):
        Edge("lag_of", ("lag",))
