"""The same as bare pods, which podman runs (`podman kube play`): no Services, no StatefulSets, no
policies; names are found by podman's network. And a campaign of seeds as an Indexed Job. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from emu.export.manifests import (
    EMU,
    EMUS_STORAGE,
    FOLDER,
    HEALTH,
    MOUNTS,
    SECURE,
    Export,
    Manifest,
    common,
    emu_container,
    labels,
    named,
    node_container,
    placements_of,
    pod_spec,
    resources,
    service_ports,
    size_of,
    storage,
)
from nodes.kind import Port

CAMPAIGN = "campaign"


def pods(export: Export) -> Iterator[Manifest]:
    """Each with a claim of its own where it keeps data."""
    yield from (_bare(each) for each in common(export) if each["kind"] == "ConfigMap")
    container = emu_container(export, secret=False)
    del container["ports"]
    yield from _pod(export, EMU, EMU, container, size=EMUS_STORAGE)
    for tier in export.joined:
        size = size_of(tier) if tier.kind.stores else ""
        for place, placement in enumerate(placements_of(export, tier)):
            name = placement.spec.name
            container = node_container(export, tier, name, EMU, secret=False)
            if tier.public and not place:
                container["ports"] = _published(tier.kind.ports)
            else:
                del container["ports"]
            yield from _pod(export, name, tier.name, container, size=size)


def _bare(manifest: Manifest) -> Manifest:
    """Without a namespace: podman has none."""
    metadata = {key: each for key, each in manifest["metadata"].items() if key != "namespace"}
    return {**manifest, "metadata": metadata}


def _published(ports: Iterable[Port]) -> list[Manifest]:
    """A public tier's first member answers at this computer's loopback. podman publishes whatever
    a pod names, so that others name none."""
    return [
        {"name": each["name"], "containerPort": each["port"], "protocol": each["protocol"],
         "hostIP": "127.0.0.1", "hostPort": each["port"]}
        for each in service_ports(port for port in ports if port.public)
    ]  # fmt: skip


def _pod(
    export: Export, name: str, tier: str, container: Manifest, *, size: str
) -> Iterator[Manifest]:
    spec = pod_spec(export, container)
    data: Manifest = {"name": "data", "emptyDir": {}}
    if size:
        claim = f"{export.topology.name}-{name}"
        yield _bare(
            {**named(export, "PersistentVolumeClaim", "v1", claim, tier), "spec": storage(size)}
        )
        data = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    spec["volumes"].append(data)
    _name_apart(spec["volumes"], container["volumeMounts"], name)
    spec["restartPolicy"] = "Always"
    yield _bare({**named(export, "Pod", "v1", name, tier), "spec": {"hostname": name, **spec}})


def _name_apart(volumes: list[Manifest], mounts: list[Manifest], pod: str) -> None:
    """podman (4.3) knows an empty folder by its name alone: of two pods it would be one folder."""
    names = {each["name"]: f"{pod}-{each['name']}" for each in volumes if "emptyDir" in each}
    for each in (*volumes, *mounts):
        each["name"] = names.get(each["name"], each["name"])


def campaign(export: Export, *, seeds: int, parts: int) -> Iterator[Manifest]:
    """`emu sim` of so many seeds, a part in each pod; `emu merge` puts their logs together."""
    part = f"--shard=`expr $JOB_COMPLETION_INDEX + 1`/{parts}"
    settings = " ".join(shlex.quote(f"--set={each}") for each in export.settings)
    file = shlex.quote(export.file)
    command = f"exec emu sim {file} --seeds {seeds} {part} --json {settings}".rstrip()
    container = {
        "name": CAMPAIGN,
        "image": export.image,
        "command": ["sh", "-c", command],
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "EMU_STATE_DIR", "value": "/tmp/emu"}],
        "resources": resources(4),
        "securityContext": dict(SECURE),
        "volumeMounts": [
            dict(each) for each in MOUNTS if each["mountPath"] in (FOLDER, "/tmp", HEALTH)
        ],
    }
    spec = pod_spec(export, container)
    spec["restartPolicy"] = "Never"
    yield from (each for each in common(export) if each["kind"] in ("Namespace", "ConfigMap"))
    yield {
        **named(export, "Job", "batch/v1", CAMPAIGN, CAMPAIGN),
        "spec": {
            "completionMode": "Indexed",
            "completions": parts,
            "parallelism": parts,
            "backoffLimit": parts,
            "template": {"metadata": {"labels": labels(export, CAMPAIGN)}, "spec": spec},
        },
    }  # fmt: skip
