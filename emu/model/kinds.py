"""The kinds that a topology may name by one word: the shipped table, and what installed packages
add to it by the entry point `emu.kinds`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from emu.extensions import named_by
from nodes.kind import Kind


@cache
def known_kinds() -> Mapping[str, Kind]:
    """Raises ExtensionError where a package's kind cannot be used."""
    from nodes.kinds import KINDS  # all tiers, half a second: whoever only names verbs needs it not

    return {**KINDS, **named_by("emu.kinds", Kind, taken=KINDS)}
