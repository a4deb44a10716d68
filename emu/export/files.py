"""What is written of an export: YAML, in files that can be applied in their order, with a page that
says what to do with them, and what they cannot carry over. Pure."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ruamel.yaml import YAML

from emu.export.manifests import EMU, JOIN_PORT, Export, Manifest, common, emu_objects, tier_objects
from emu.export.pods import campaign, pods
from emu.export.policies import policies
from emu.machine.world import OBSERVE_PORT
from nodes.kind import HTTP

SECRET: Final = 0o600
OPEN: Final = 0o644
README: Final = "README.md"


def text_of(manifests: Iterable[Manifest]) -> str:
    """As YAML documents."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.sort_base_mapping_type_on_output = False
    yaml.representer.ignore_aliases = lambda *_: True
    yaml.width = 100
    out = io.StringIO()
    yaml.dump_all(list(manifests), out)
    return out.getvalue()


def kubernetes(export: Export) -> dict[str, tuple[str, int]]:
    """File name → (text, mode)."""
    shared = list(common(export))
    found = {
        "00-namespace.yaml": (text_of(shared[:1]), OPEN),
        "10-topology.yaml": (text_of(shared[1:2]), OPEN),
        "11-token.yaml": (text_of(shared[2:]), SECRET),
        "20-emu.yaml": (text_of(emu_objects(export)), OPEN),
        "40-policies.yaml": (text_of(policies(export)), OPEN),
    }
    for tier in export.joined:
        found[f"30-{tier.name}.yaml"] = (text_of(tier_objects(export, tier)), OPEN)
    return dict(sorted(found.items())) | {README: (_page(export), OPEN)}


def podman(export: Export) -> dict[str, tuple[str, int]]:
    """File name → (text, mode): the token is in it."""
    text = text_of(pods(export))
    return {"pods.yaml": (text, SECRET), README: (_page(export, podman=True), OPEN)}


def job(export: Export, *, seeds: int, parts: int) -> dict[str, tuple[str, int]]:
    """File name → (text, mode)."""
    return {"campaign.yaml": (text_of(campaign(export, seeds=seeds, parts=parts)), OPEN)}


# --- what is said of it -----------------------------------------------------------------------


def not_carried(export: Export) -> list[str]:
    """What this topology has that is not, or not quite, the same there."""
    return list(_not_carried(export))


def _not_carried(export: Export) -> Iterator[str]:
    topology = export.topology
    if _has_bandwidth(topology):
        yield (
            "bandwidth that several senders share: each pod counts its own, so a line carries more "
            "than the file says when pods use it together"
        )
    yield (
        "power cuts in the middle of a write (`crash --in-write`): emu hears of the write a moment "
        "later; what kubelet or you kill is a kill, not a power cut"
    )
    if len(topology.regions) > 1:
        yield (
            f"regions ({', '.join(topology.regions)}) are emu's links between pods; no pod is "
            "placed in a zone of the cluster's by them"
        )
    outside = [tier.name for tier in topology.tiers if tier.outside]
    if outside:
        yield (
            f"places outside ({', '.join(outside)} name some): 127.0.0.1 is each pod itself there, "
            "and no policy lets a pod out to others"
        )
    if any(tier.cpu.cores > 1 for tier in export.joined):
        yield "declared cores beyond one: they are a queue inside, a process uses one real core"
    yield (
        "`emu scale TIER=N` says who is in the cluster; the pods are Kubernetes' (or podman's) to "
        "start: do both"
    )
    yield (
        f"the pod {EMU} is one: clients, users, directory, faults and the verdict are in it; when "
        "it ends so does the run, and another one begins on the same disks"
    )
    yield "what nodes say to each other is not encrypted"


def _has_bandwidth(topology: Any) -> bool:
    links = topology.links
    declared = [links.defaults.bandwidth_bytes_per_s]
    declared += [each.options.bandwidth_bytes_per_s for each in links.declared]
    return any(declared) or any(tier.access for tier in topology.tiers)


def _page(export: Export, *, podman: bool = False) -> str:
    name = export.topology.name
    lost = "\n".join(f"- {each}" for each in not_carried(export))
    commands = _by_podman(export) if podman else _by_kubectl(export)
    return f"""# {name}

Written by `emu export kubernetes`. The image `{export.image}` is built from the project's own
Dockerfile: `docker build -t {export.image} .` (`podman build` does, too).

{commands}

Every verb works from where you are: `emu attach` stands in for the run, as long as it lasts.

What is not the same here:
{lost}
"""


def _by_kubectl(export: Export) -> str:
    name, pod = export.topology.name, f"{EMU}-0"
    return f"""    kubectl apply -f .
    kubectl -n {name} get pods -w
    emu attach {name} -- kubectl -n {name} exec -i {pod} -- emu bridge {name}
    emu ps -c {name}                                     # in another terminal
    kubectl -n {name} port-forward {pod} {OBSERVE_PORT}           # the page
    kubectl -n {name} delete pod NODE                    # a kill of that node; it comes again
    kubectl delete namespace {name}                      # the end, with all disks

11-token.yaml holds a token: who has it may bring nodes, and is believed. Keep it out of your
repository, or write another one: `kubectl create secret generic`. Kubernetes 1.27 or newer
(StatefulSets that count from 1); policies need a network plugin that enforces them."""


def _by_podman(export: Export) -> str:
    name = export.topology.name
    front = next((tier for tier in export.joined if tier.public and HTTP in tier.kind.ports), None)
    curl = f"\n    curl -i http://127.0.0.1:{HTTP.number}/" if front is not None else ""
    return f"""    podman network create {name}
    podman kube play --network {name} pods.yaml
    emu attach {name} -- podman exec -i {EMU}-{EMU} emu bridge {name}
    emu ps -c {name}                                     # in another terminal{curl}
    podman kube down pods.yaml

pods.yaml holds a token: who has it may bring nodes, and is believed. Nodes find emu as
`{EMU}:{JOIN_PORT}` by podman's own names."""
