"""NetworkPolicies: the declared edges and ports, as emu/machine/access.py has them for its own
network. What is not allowed there is not let through here. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from emu.export.manifests import (
    EMU,
    NOTHING_ELSE,
    RUN_LABEL,
    TIER_LABEL,
    Export,
    Manifest,
    labels,
    named,
    protocols_of,
)
from emu.machine.access import may_dial, rights_at
from emu.model.topology import Tier
from nodes.base import ADMIN_PORT
from nodes.kind import Port

DNS_PORT = 53


def policies(export: Export) -> Iterator[Manifest]:
    """For all pods nothing; then for emu, then for each tier."""
    everybody = {RUN_LABEL: export.topology.name}
    yield _policy(export, NOTHING_ELSE, EMU, {}, [], [])
    run: Manifest = {"podSelector": {"matchLabels": everybody}}
    yield _policy(export, EMU, EMU, labels(export, EMU), [{"from": [run]}], [{}])
    for tier in export.joined:
        yield _policy(
            export,
            tier.name,
            tier.name,
            labels(export, tier.name),
            list(_ingress(export, tier)),
            list(_egress(export, tier)),
        )


def _policy(
    export: Export, name: str, tier: str, pods: dict[str, str], comes: list[Any], goes: list[Any]
) -> Manifest:
    selector = {"matchLabels": pods} if pods else {}
    return {
        **named(export, "NetworkPolicy", "networking.k8s.io/v1", name, tier),
        "spec": {
            "podSelector": selector,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": comes,
            "egress": goes,
        },
    }


def _pods(tier: str) -> Manifest:
    return {"podSelector": {"matchLabels": {TIER_LABEL: tier}}}


def _numbers(ports: Iterable[Port]) -> list[Manifest]:
    return [
        {"port": port.number, "protocol": protocol}
        for port in ports
        for protocol in protocols_of(port)
    ]


def allowed(dialer: Tier, target: Tier) -> list[Manifest]:
    """The ports of `target` that members of `dialer` may dial."""
    ours, theirs = dialer.placements()[0].spec, target.placements()[0].spec
    found = [port for port in theirs.ports if may_dial(ours, ours.name, theirs, port.number)]
    numbers = _numbers(found)
    if rights_at(ours, ours.name, theirs, ADMIN_PORT):
        numbers.append({"port": ADMIN_PORT, "protocol": "TCP"})
    return numbers


def _ingress(export: Export, tier: Tier) -> Iterator[Manifest]:
    yield {"from": [_pods(EMU)]}
    for dialer in export.joined:
        ports = allowed(dialer, tier)
        if ports:
            yield {"from": [_pods(dialer.name)], "ports": ports}
    public = [port for port in tier.kind.ports if port.public] if tier.public else []
    if public:
        yield {"ports": _numbers(public)}


def _egress(export: Export, tier: Tier) -> Iterator[Manifest]:
    yield {"to": [_pods(EMU)]}
    yield {"ports": [{"port": DNS_PORT, "protocol": each} for each in ("UDP", "TCP")]}
    for target in export.joined:
        ports = allowed(tier, target)
        if ports:
            yield {"to": [_pods(target.name)], "ports": ports}
