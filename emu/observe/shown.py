"""Numbers and times as people read them, in pages and drawings. Pure."""

from __future__ import annotations

from typing import Final

EFFECTS: Final = {"read": "reads", "write": "writes", "any": "not sent"}
"""What operations do, for people. Those that were not sent had chosen nothing yet."""


def number(value: float) -> str:
    """`0`, `0.4`, `9.6`, `124`, `12.3k`."""
    if value >= 10_000:
        return f"{value / 1000:.1f}k"
    if value >= 9.95 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.05 else f"{value:.2g}"


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
