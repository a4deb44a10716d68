"""What a person or a script may see of a running cluster, and ask of its nodes. Changes nothing.

The control socket, the HTTP page and the scripting API show the same things from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from emu.machine.events import Event
from emu.model.problems import hint
from emu.model.topology import Topology
from emu.running.asking import ask_each
from emu.running.instance import Instance
from emu.running.supervisor import Cluster
from protocols.errors import RpcError

NAMES_SHOWN: Final = 30


async def ps(cluster: Cluster, words: str = "all") -> list[dict[str, Any]]:
    """A row for each node that `words` mean. Raises TargetError."""
    await cluster.refresh_roles()
    names = await cluster.resolve(words) if cluster.instances else []
    return [ps_row(cluster, cluster.instances[name]) for name in names]


def ps_row(cluster: Cluster, instance: Instance) -> dict[str, Any]:
    """One node as `emu ps --json` shows it: the contract's keys first."""
    spec = instance.spec
    running = instance.running
    now_s = cluster.world.timers.now_s()
    return {
        "name": spec.name,
        "kind": spec.kind,
        "tier": spec.tier,
        "region": spec.region,
        "role": instance.role,
        "state": instance.shown_state,
        "address": cluster.world.endpoint(spec.name, spec.port),
        "public": spec.public,
        "uptime_s": round(now_s - instance.started_s, 3) if running else 0.0,
        "generation": instance.generation,
        "error": instance.error,
        **instance.facts,
    }


def kinds(topology: Topology) -> dict[str, dict[str, Any]]:
    """What the kinds of the tiers say to whoever shows them, by their words, as plain data."""
    return {
        tier.word: {
            "leader": tier.kind.leader._asdict() if tier.kind.leader is not None else None,
            "facts": [each._asdict() for each in tier.kind.facts],
            "marks": [each._asdict() for each in tier.kind.marks],
        }
        for tier in topology.tiers
    }


def leads_now(cluster: Cluster, event: Event) -> bool:
    """Whether the node that says this has come to lead its tier."""
    instance = cluster.instances.get(str(event.get("node")))
    leader = instance.placement.kind.leader if instance is not None else None
    return leader is not None and bool(event["event"] == leader.event)


def fronts(cluster: Cluster, words: str, names: Sequence[str]) -> list[str]:
    """Who answers a call to these nodes: of a whole group, one that answers for all of it."""
    instances = [cluster.instances[name] for name in names if name in cluster.instances]
    found = [
        instance
        for instance in instances
        if instance.placement.kind.front and instance.placement.group == words
    ]
    chosen = [instance for instance in found if instance.running][:1] or found[:1]
    return [instance.spec.name for instance in chosen] or list(names)


async def ask_front(cluster: Cluster, name: str, method: str, params: Sequence[Any]) -> Any:
    """Call a method of a node's main port, on the operator's one connection: what a call has opened
    there the next may use. Raises RpcError."""
    port = cluster.instances[name].spec.port
    return await cluster.operator.ask(name, method, *params, port=port)


async def draining(cluster: Cluster) -> dict[str, int | None]:
    """The nodes that drain just now: how many connections each has left, where it says so."""
    names = [name for name, instance in cluster.instances.items() if instance.state == "draining"]
    ask = partial(cluster.call_admin, timeout_s=1.0)
    answers = await ask_each(names, lambda name: ask(name, "describe"))
    return {
        name: None if isinstance(answer, RpcError) else answer.get("connections")
        for name, answer in answers.items()
    }


def metric(cluster: Cluster, names: Sequence[str], metric_name: str, **labels: str) -> float:
    """The sum of a metric over nodes (of a histogram, its count), as they have counted since they
    last started. Raises KeyError where none of them has it."""
    registries = [cluster.instances[name].handle.metrics for name in names]
    found = [registry.total(metric_name, **labels) for registry in registries]
    known = [value for value in found if value is not None]
    if not known:
        there = dict.fromkeys(each for registry in registries for each in registry.names())
        close = hint(f"emu_{metric_name.removeprefix('emu_')}", there, most=NAMES_SHOWN)
        raise KeyError(f"{', '.join(names)}: no metric is called {metric_name}; {close}")
    return sum(known)
