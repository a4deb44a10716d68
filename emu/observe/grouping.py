"""Tiers that a kind expanded to (kv-shard-1, kv-shard-2 ...) as one, for drawings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Tier = Mapping[str, Any]


def grouped(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status with such tiers added up. `members` of a tier are the names it stands for."""
    together: dict[tuple[str, str], list[Tier]] = {}
    for tier in status["tiers"]:
        key = (tier.get("group") or tier["name"], tier["kind"])
        together.setdefault(key, []).append(tier)
    tiers = [_added_up(each) for each in together.values()]
    names = {member: tier["name"] for tier in tiers for member in tier["members"]}
    edges = {(names.get(a, a), names.get(b, b)): None for a, b in status["edges"]}
    links: dict[tuple[str, str], dict[str, Any]] = {}
    for link in status["links"]:
        a, b = (names.get(end, end) for end in link["ends"])
        found = links.setdefault((a, b), {"ends": [a, b], "cut": False, "latency_s": 0.0})
        found["cut"] = found["cut"] or link["cut"]
        found["latency_s"] = max(found["latency_s"], link["latency_s"])
    return {
        **status,
        "tiers": tiers,
        "edges": [[a, b] for a, b in edges if a != b],
        "links": list(links.values()),
        "nodes": [{**node, "tier": names.get(node["tier"], "")} for node in status["nodes"]],
    }


def _added_up(tiers: Sequence[Tier]) -> dict[str, Any]:
    first = tiers[0]
    members = [tier["name"] for tier in tiers]
    if len(tiers) == 1:
        return {**first, "members": members}
    summed = ("nodes", "up", "rate_per_s", "errors_per_s", "waiting")
    worst = [tier["p99_s"] for tier in tiers if tier["p99_s"] is not None]
    return {
        **first,
        **{key: sum(tier[key] for tier in tiers) for key in summed},
        "name": members[0].rstrip("0123456789").rstrip("-"),
        "members": members,
        "p99_s": max(worst, default=None),
        "history": _sums([tier["history"] for tier in tiers]),
        "error_history": _sums([tier["error_history"] for tier in tiers]),
    }


def _sums(histories: Sequence[Sequence[float]]) -> list[float]:
    """Newest at the end, whatever their lengths."""
    length = max(map(len, histories), default=0)
    padded = [[0.0] * (length - len(each)) + list(each) for each in histories]
    return [sum(values) for values in zip(*padded, strict=True)]
