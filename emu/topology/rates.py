"""A rate that was typed: one number, or what a file's `rate:` says of one that changes."""

from __future__ import annotations

from dataclasses import dataclass

from emu.machine import units
from emu.topology import document, schema
from nodes.parts.changing import Constant, Curve, Rate, Step, rate_of


@dataclass(frozen=True, slots=True)
class _Typed:
    rate_per_s: float | tuple[Step, ...] | Curve


def read_rate(text: str) -> Rate:
    """`200/s`, `[[0s, 50/s], [30s, 400/s]]`, `{shape: diurnal, ...}`. Raises ValueError."""
    if text.strip()[:1] not in ("[", "{"):
        return Constant(units.parse_value("rate_per_s", text))
    read = document.read(f"rate: {text}", "--rate")
    made = None
    if not read.problems:
        made = schema.build(read, (), read.data, _Typed, "`--rate`")
    if read.problems or made is None:
        raise ValueError("--rate: " + "; ".join(each.message for each in read.problems))
    return rate_of(made.rate_per_s)
