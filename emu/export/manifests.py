"""The objects of a topology in Kubernetes: each node is a pod of the same name in which `emu node`
runs it, in a namespace of its own; the pod `emu-0` runs `emu up`, with clients and users.

Pure: plain dicts, as the API has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from emu.model.topology import Placement, Tier, Topology
from emu.processes.join import ALIVE, READY
from emu.state import SOCKET
from nodes.kind import Port

Manifest = dict[str, Any]
EMU: Final = "emu"
NOTHING_ELSE: Final = "nothing-else"
"""The policy by which nothing is allowed that no other one allows."""
JOIN_PORT: Final = 7070
TIER_LABEL: Final = "emu/tier"
RUN_LABEL: Final = "app.kubernetes.io/part-of"
CONFIG: Final = "topology"
TOKEN: Final = "join-token"
FOLDER: Final = "/etc/emu"
STATE: Final = "/var/lib/emu"
HEALTH: Final = "/run/emu"
USER: Final = 10001
STALE_S: Final = 30
"""A process whose loop has not run for so long is started anew."""
PATIENT: Final = {"timeoutSeconds": 10}
"""What a probe may take to begin where the computer is busy: one second, if nothing is said, and a
node would be killed for that."""
GRACE_S: Final = 45
"""To drain in order, and to say so."""
WAIT: Final = "1h"
"""A node knocks so long at an emu that is not there (yet)."""
MEMORY: Final = ("256Mi", "1Gi")
LEAST_CPU: Final = 100
CPU_OF_A_CORE: Final = 250
"""Thousandths of a core: what is asked for where none is declared, and for each one that is. A
declared core is a queue inside; what it really takes is a fraction, and never more than one, as a
process has one loop."""
MOST_CPU: Final = 1000
EMUS_STORAGE: Final = "1Gi"


@dataclass(frozen=True, slots=True)
class Export:
    """What to write of one topology."""

    topology: Topology
    files: Mapping[str, str]
    """Path under FOLDER → text: the topology's file first, then the code that it names."""
    image: str
    token: str
    settings: tuple[str, ...] = ()
    """As `--set` has them."""
    joined: tuple[Tier, ...] = field(init=False)
    """Tiers whose members have pods of their own; all others are with emu."""

    def __post_init__(self) -> None:
        joined = tuple(tier for tier in self.topology.tiers if tier.members and not with_emu(tier))
        object.__setattr__(self, "joined", joined)

    @property
    def file(self) -> str:
        return f"{FOLDER}/{next(iter(self.files))}"

    @property
    def namespace(self) -> str:
        return self.topology.name


def with_emu(tier: Tier) -> bool:
    """Whether its members stand for people, or are with them: one clock judges what they saw."""
    return tier.kind.clients or tier.kind.elsewhere


def labels(export: Export, tier: str) -> dict[str, str]:
    return {RUN_LABEL: export.topology.name, TIER_LABEL: tier}


def named(export: Export, kind: str, version: str, name: str, tier: str = EMU) -> Manifest:
    """The beginning of an object."""
    metadata = {"name": name, "namespace": export.namespace, "labels": labels(export, tier)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def key_of(path: str) -> str:
    """A ConfigMap's key knows no folders."""
    return path.replace("/", "__")


# --- what all pods share ----------------------------------------------------------------------


def common(export: Export) -> Iterator[Manifest]:
    yield {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": export.namespace,
            "labels": {
                RUN_LABEL: export.topology.name,
                "pod-security.kubernetes.io/enforce": "restricted",
            },
        },
    }
    data = {key_of(path): text for path, text in export.files.items()}
    yield {**named(export, "ConfigMap", "v1", CONFIG), "data": data}
    yield {
        **named(export, "Secret", "v1", TOKEN), "type": "Opaque",
        "stringData": {"token": export.token},
    }  # fmt: skip


def token_variable(export: Export, *, secret: bool) -> Manifest:
    if not secret:
        return {"name": "EMU_JOIN_TOKEN", "value": export.token}
    source = {"secretKeyRef": {"name": TOKEN, "key": "token"}}
    return {"name": "EMU_JOIN_TOKEN", "valueFrom": source}


def variables(export: Export, *, secret: bool) -> list[Manifest]:
    return [
        token_variable(export, secret=secret),
        {"name": "EMU_STATE_DIR", "value": STATE},
        {"name": "HOME", "value": "/tmp"},
        {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
    ]


def volumes(export: Export) -> list[Manifest]:
    items = [{"key": key_of(path), "path": path} for path in export.files]
    return [
        {"name": CONFIG, "configMap": {"name": CONFIG, "items": items}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "health", "emptyDir": {}},
    ]


MOUNTS: Final = (
    {"name": CONFIG, "mountPath": FOLDER, "readOnly": True},
    {"name": "tmp", "mountPath": "/tmp"},
    {"name": "health", "mountPath": HEALTH},
    {"name": "data", "mountPath": STATE},
)
SECURE_POD: Final = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
SECURE: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def resources(cores: int) -> Manifest:
    """`cores` as the topology declares them."""
    least, most = MEMORY
    cpu = min(MOST_CPU, cores * CPU_OF_A_CORE) or LEAST_CPU
    return {
        "requests": {"cpu": f"{cpu}m", "memory": least},
        "limits": {"cpu": f"{MOST_CPU}m", "memory": most},
    }


def pod_spec(export: Export, container: Manifest) -> Manifest:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": dict(SECURE_POD),
        "containers": [container],
        "volumes": volumes(export),
    }


def storage(size: str) -> Manifest:
    """A claim's spec."""
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}


def size_of(tier: Tier) -> str:
    return f"{-(-tier.disk.capacity_bytes // (1 << 20))}Mi"


# --- emu itself -------------------------------------------------------------------------------


def emu_container(export: Export, *, secret: bool = True) -> Manifest:
    settings = [f"--set={each}" for each in export.settings]
    probe = {"exec": {"command": ["test", "-S", f"{STATE}/{export.topology.name}/{SOCKET}"]}}
    return {
        "name": EMU,
        "image": export.image,
        "args": ["up", export.file, "--join-at", f"auto:{JOIN_PORT}", "--joined",
                 ",".join(tier.name for tier in export.joined), *settings],
        "env": variables(export, secret=secret),
        "ports": [{"name": "join", "containerPort": JOIN_PORT}],
        "readinessProbe": {**probe, "periodSeconds": 2, **PATIENT},
        "resources": resources(2),
        "securityContext": dict(SECURE),
        "volumeMounts": [dict(each) for each in MOUNTS],
    }  # fmt: skip


def emu_objects(export: Export) -> Iterator[Manifest]:
    """Its pod, and the name at which nodes find it, also before it is ready."""
    ports = [{"name": "join", "port": JOIN_PORT}]
    yield {
        **named(export, "Service", "v1", EMU),
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True,
                 "selector": labels(export, EMU), "ports": ports},
    }  # fmt: skip
    yield stateful_set(export, EMU, 1, emu_container(export), EMUS_STORAGE, start=0)


def stateful_set(
    export: Export, tier: str, members: int, container: Manifest, size: str, *, start: int = 1
) -> Manifest:
    """Pods `TIER-1` ... like the nodes, all at once: they wait for each other. `size` "": disks
    that are as empty as the pod is new."""
    spec = pod_spec(export, container)
    mine = labels(export, tier)
    if members > 1:
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": mine}}
        preferred = [{"weight": 100, "podAffinityTerm": term}]
        spec["affinity"] = {
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
        }
    found: Manifest = {
        "serviceName": tier,
        "replicas": members,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": mine},
        "template": {"metadata": {"labels": mine}, "spec": spec},
    }
    if start:
        found["ordinals"] = {"start": start}
    if size:
        found["volumeClaimTemplates"] = [
            {"metadata": {"name": "data", "labels": mine}, "spec": storage(size)}
        ]
    else:
        spec["volumes"].append({"name": "data", "emptyDir": {}})
    return {**named(export, "StatefulSet", "apps/v1", tier, tier), "spec": found}


# --- a tier -----------------------------------------------------------------------------------


def protocols_of(port: Port) -> list[str]:
    return ["TCP", "UDP"] if port.datagrams else ["TCP"]


def service_ports(ports: Iterable[Port]) -> list[Manifest]:
    return [
        {"name": f"{port.name}-{protocol.lower()}", "port": port.number, "protocol": protocol}
        for port in ports
        for protocol in protocols_of(port)
    ]


def node_container(
    export: Export, tier: Tier, node: str, emu: str, *, secret: bool = True
) -> Manifest:
    """`node`: its name, or what becomes that; `emu`: where emu is."""
    fresh = f"test $(($(date +%s) - $(stat -c %Y {HEALTH}/{ALIVE}))) -lt {STALE_S}"
    return {
        "name": "node",
        "image": export.image,
        "args": ["node", node, "--join", f"{emu}:{JOIN_PORT}", "--data", STATE,
                 "--health", HEALTH, "--wait", WAIT],
        "env": variables(export, secret=secret),
        "ports": [
            {"name": each["name"], "containerPort": each["port"], "protocol": each["protocol"]}
            for each in service_ports(tier.kind.ports)
        ],
        "readinessProbe": {"exec": {"command": ["test", "-e", f"{HEALTH}/{READY}"]},
                           "periodSeconds": 2, **PATIENT},
        "startupProbe": {"exec": {"command": ["test", "-e", f"{HEALTH}/{ALIVE}"]},
                         "periodSeconds": 5, "failureThreshold": 720, **PATIENT},
        "livenessProbe": {"exec": {"command": ["sh", "-c", fresh]}, "periodSeconds": 10, **PATIENT},
        "resources": resources(tier.cpu.cores),
        "securityContext": dict(SECURE),
        "volumeMounts": [dict(each) for each in MOUNTS],
    }  # fmt: skip


def tier_objects(export: Export, tier: Tier) -> Iterator[Manifest]:
    mine = labels(export, tier.name)
    ports = service_ports(tier.kind.ports)
    yield {
        **named(export, "Service", "v1", tier.name, tier.name),
        "spec": {"clusterIP": "None", "selector": mine, **({"ports": ports} if ports else {})},
    }
    open_ports = service_ports(port for port in tier.kind.ports if port.public)
    if tier.public and open_ports:
        yield {
            **named(export, "Service", "v1", f"{tier.name}-public", tier.name),
            "spec": {"type": "LoadBalancer", "selector": mine, "ports": open_ports},
        }
    container = node_container(export, tier, "$(NODE)", EMU)
    name = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    container["env"].insert(0, name)
    size = size_of(tier) if tier.kind.stores else ""
    yield stateful_set(export, tier.name, len(tier.members), container, size)
    if len(tier.members) > 1:
        yield {
            **named(export, "PodDisruptionBudget", "policy/v1", tier.name, tier.name),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": mine}},
        }


def placements_of(export: Export, tier: Tier) -> list[Placement]:
    """Its nodes."""
    return [each for each in export.topology.placements() if each.spec.tier == tier.name]
