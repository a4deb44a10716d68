"""PromQL that several dashboards share. Rates are over Grafana's own interval."""

from __future__ import annotations

from typing import Final

CLUSTER: Final = 'cluster="$cluster"'
NODES: Final = f'{CLUSTER},tier=~"$tier",node=~"$node"'
BY_TIER: Final = "tier"
BY_NODE: Final = "node"


def rate(metric: str, by: str, where: str = NODES) -> str:
    """Per second, summed by some labels."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def total(metric: str, by: str, where: str = NODES) -> str:
    """Of a gauge, summed by some labels."""
    return f"sum by ({by}) ({metric}{{{where}}})"


def most(metric: str, by: str, where: str = NODES) -> str:
    """Of a gauge, the highest by some labels."""
    return f"max by ({by}) ({metric}{{{where}}})"


def quantile(fraction: float, metric: str, by: str, where: str = NODES) -> str:
    """Of a histogram (its name without _bucket)."""
    buckets = f"sum by ({by}, le) (rate({metric}_bucket{{{where}}}[$__rate_interval]))"
    return f"histogram_quantile({fraction:g}, {buckets})"


def ratio(part: str, whole: str) -> str:
    """A share; nothing where there is nothing to share."""
    return f"({part}) / ({whole} > 0)"
