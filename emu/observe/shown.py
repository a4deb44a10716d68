"""Numbers and times as people read them, in pages and drawings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nodes.parts.shedding import LEAST

EFFECTS: Final = {"read": "reads", "write": "writes", "any": "not sent"}
"""What operations do, for people. Those that were not sent had chosen nothing yet."""


def number(value: float) -> str:
    """`0`, `0.4`, `9.6`, `124`, `12.3k`, `10M`."""
    for least, unit, letter in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{value / unit:.1f}".removesuffix(".0") + letter
    if value >= 9.95 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.05 else f"{value:.2g}"


def size(size_bytes: float) -> str:
    """`512 B`, `4.1 kB`, `23 MB`, `1.5 GB`."""
    for least, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= least:
            return f"{number(size_bytes / least)} {unit}"
    return f"{size_bytes:.0f} B"


def shedding(node: Mapping[str, Any]) -> str:
    """`sheds 32/s of urgency 6 to 7`: what a node refuses, for more urgent work waits; or ""."""
    per_s, urgency = node.get("shed_per_s", 0.0), node.get("shed_from", 0)
    if not per_s:
        return ""
    least = f"{urgency} to 7" if urgency < LEAST else str(LEAST)
    return f"sheds {number(per_s)}/s of urgency {least}"


def duration(value_s: float | None) -> str:
    """`850 µs`, `12.3 ms`, `4.1 s`, `3 m 20 s`; a dash for None."""
    if value_s is None:
        return "–"
    if value_s == 0:
        return "0 s"
    if value_s < 1e-3:
        return f"{value_s * 1e6:.0f} µs"
    if value_s < 1:
        return f"{value_s * 1e3:.1f} ms"
    if value_s < 120:
        return f"{value_s:.1f} s"
    minutes, rest = divmod(int(value_s), 60)
    return f"{minutes} m {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} m"
