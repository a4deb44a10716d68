"""The topology file: read it (`load`), know what is wrong with it (`TopologyError`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.model.problems import Problem, TopologyError

if TYPE_CHECKING:
    from emu.topology.loading import load, loads

__all__ = ["Problem", "TopologyError", "load", "loads"]


def __getattr__(name: str) -> Any:
    """`load` brings every tier with it, so it is imported when first asked for."""
    if name in ("load", "loads"):
        from emu.topology import loading

        return getattr(loading, name)
    raise AttributeError(name)
