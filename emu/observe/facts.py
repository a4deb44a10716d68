"""The facts of nodes in the columns of a screen, as their kinds declare them (nodes/kind.py). Pure.

`kinds` is what emu/running/views.py tells of them, `row` a node as `emu ps --json` has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emu.observe.shown import duration

Fact = Mapping[str, Any]
Kinds = Mapping[str, Mapping[str, Any]]
Row = Mapping[str, Any]


def columns(kinds: Kinds, rows: Sequence[Row], screen: str) -> list[Fact]:
    """The facts that this screen shows, each once: those that any of the rows has."""
    found = {fact["key"]: fact for kind in kinds.values() for fact in kind["facts"]
             if screen in fact["screens"]}  # fmt: skip
    return [fact for key, fact in found.items() if any(key in row for row in rows)]


def title(fact: Fact) -> str:
    """`lag_s` without its unit, which the value has; `in_hand` in words."""
    return str(fact["key"]).removesuffix("_s").removesuffix("_ratio").replace("_", " ")


def text(kinds: Kinds, row: Row, fact: Fact) -> str:
    """The value, or "" where there is none or it says nothing; a share of nothing is "-"."""
    key = fact["key"]
    value = row.get(key)
    if value is None and key in row and key.endswith("_ratio"):
        return "-"
    if value is None or (leads(kinds, row) and fact["of_others"]):
        return ""
    if key.endswith("_s") and isinstance(value, int | float):
        return duration(value)
    if key.endswith("_ratio") and isinstance(value, int | float):
        return f"{value:.0%}"
    return str(value)


def sentence(kinds: Kinds, row: Row, shown: Sequence[Fact]) -> str:
    """All that there are of a node, one after the other: `epoch 1, lsn 372, lag 0 s`."""
    said = ((title(fact), text(kinds, row, fact)) for fact in shown if fact["key"] in row)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in said if value)


def leads(kinds: Kinds, row: Row) -> bool:
    """Whether this node has the role of its tier's leader."""
    leader = kinds.get(row["kind"], {}).get("leader")
    return leader is not None and bool(row["role"] == leader["role"])
