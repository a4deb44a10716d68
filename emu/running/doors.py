"""The doors of a running cluster's nodes, as URLs for clients from outside. Changes nothing, and
asks no node: what a tier's ports are is its kind's to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from emu.model.problems import hint
from emu.running.instance import Instance
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from nodes.kind import PROXY, Port


def fronts(instances: Iterable[Instance]) -> list[Instance]:
    """Who shows the site, the outermost first: those that pass requests on, then where they end."""
    shown = [
        instance
        for instance in instances
        if instance.placement.kind.visited and _speaks_http(instance)
    ]
    return sorted(shown, key=lambda instance: not instance.placement.kind.passes)


def site(cluster: Cluster) -> str:
    """Where the site is for whoever comes from outside; "" where it has no way in."""
    public = [each for each in fronts(cluster.instances.values()) if each.spec.public]
    for each in public:
        if each.running:
            return f"http://{cluster.world.endpoint(each.spec.name, each.spec.port)}/"
    return ""


def _speaks_http(instance: Instance) -> bool:
    return any("http" in port.speaks for port in instance.placement.kind.ports[:1])


async def url(cluster: Cluster, words: str, door: str = "") -> dict[str, Any]:
    """That of one node, which runs: its URL, and whose it is. Raises TargetError."""
    row, *_ = await urls(cluster, words, [door] if door else [])
    if not cluster.instances[row["node"]].running:
        raise TargetError(f"{row['node']} is {row['state']}; `emu start {row['node']}`")
    return row


async def urls(cluster: Cluster, words: str, wanted: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Of each node that `words` mean and that is open to the outside, one door: its main one, or
    the first of `wanted` that it has. Nodes that run come first.

    Raises TargetError that says which doors there are, or what to declare.
    """
    names = await cluster.resolve(words)
    instances = [cluster.instances[name] for name in names if name in cluster.instances]
    there: dict[str, None] = {}
    found: list[tuple[Instance, str, Port]] = []
    for instance in sorted(instances, key=lambda instance: not instance.running):
        doors = _doors(instance.spec.ports)
        there |= dict.fromkeys(doors)
        found += [(instance, each, doors[each]) for each in wanted or doors if each in doors][:1]
    if not there:
        raise TargetError(f"`{words}` has no door: nobody can dial it")
    if not found:
        raise TargetError(f"`{words}` has no door `{wanted[0][:40]}`; {hint(wanted[0], there)}")
    public = [each for each in found if each[0].spec.public and each[2].public]
    if not public:
        raise TargetError(_private(cluster, words, *found[0]))
    return [_row(cluster, *each) for each in public]


def _doors(ports: tuple[Port, ...]) -> dict[str, Port]:
    """Every word that names a port, or what one speaks: the main port's own name is the first."""
    doors = {port.name: port for port in ports}
    for port in ports:
        for protocol in port.speaks:
            if protocol != PROXY:  # it goes before another one
                doors.setdefault(protocol, port)
    return doors


def _row(cluster: Cluster, instance: Instance, door: str, port: Port) -> dict[str, Any]:
    scheme = door if door in port.speaks else port.speaks[0]
    path = "/" if scheme == "http" else ""
    return {
        "url": f"{scheme}://{cluster.world.endpoint(instance.spec.name, port.number)}{path}",
        "node": instance.spec.name,
        "tier": instance.spec.tier,
        "door": door,
        "state": instance.shown_state,
    }


def _private(cluster: Cluster, words: str, instance: Instance, door: str, port: Port) -> str:
    """Why nobody from outside comes in there, and what to do."""
    spec = instance.spec
    if spec.public:
        return (
            f"the door `{door}` of `{words}` is private: it is for tiers that declare an edge to "
            f"`{spec.tier}` (open to the outside: {', '.join(_open(spec.ports)) or 'none'})"
        )
    declared = spec.group or spec.tier
    outside = dict.fromkeys(each.spec.tier for each in _public(cluster))
    here = [each.spec.tier for each in _public(cluster) if each.spec.group == declared]
    to_do = "" if here else f": give tier `{declared}` `public: true` to open it"
    return f"`{words}` is private{to_do}; from outside one reaches {', '.join(outside) or 'nobody'}"


def _open(ports: tuple[Port, ...]) -> Iterator[str]:
    return (name for name, port in _doors(ports).items() if port.public)


def _public(cluster: Cluster) -> list[Instance]:
    instances = cluster.instances.values()
    return [
        instance
        for instance in instances
        if instance.spec.public and any(_open(instance.spec.ports))
    ]
