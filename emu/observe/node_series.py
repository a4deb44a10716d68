"""What emu itself says of each node, as metrics: it is there when the node cannot speak."""

from __future__ import annotations

from collections.abc import Iterable

from emu.running.instance import Instance
from emu.running.supervisor import Cluster
from nodes.metrics import Metrics


class NodeSeries:
    """A registry for each node of a cluster that comes and goes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._nodes: dict[str, Metrics] = {}

    def registries(self) -> Iterable[Metrics]:
        """Those of the nodes that there are now."""
        instances = self._cluster.instances
        self._nodes = {name: each for name, each in self._nodes.items() if name in instances}
        for name, instance in instances.items():
            if name not in self._nodes:
                self._nodes[name] = _node_series(self._cluster, instance)
        return self._nodes.values()


def _node_series(cluster: Cluster, instance: Instance) -> Metrics:
    """What emu itself says of a node: it is there when the node cannot speak."""
    spec, name = instance.spec, instance.spec.name
    metrics = Metrics({"node": name, "tier": spec.tier, "region": spec.region})

    def up() -> float:
        found = cluster.instances.get(name)
        if found is None or found.handle.waits_for:
            return 0.0
        return float(found.running and found.shown_state != "paused")

    def generation() -> float:
        found = cluster.instances.get(name)
        return float(found.generation if found is not None else 0)

    metrics.gauge(
        "node_up", "1 while the node runs and is not paused; 0 while it waits for its process.", up
    )
    metrics.gauge("node_generation", "Boots of this node.", generation)
    metrics.gauge("node_info", "Always 1: what kind of node this is.", kind=spec.kind).value = 1
    return metrics
