"""A whole scaled-out website on one laptop: emu.cluster(...) and emu.run(...) are for scripts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.scenario import Scenario, cluster, run

__all__ = ["Scenario", "cluster", "run"]


def __getattr__(name: str) -> Any:
    """The scripting API is imported when it is first asked for: the command line starts without."""
    if name not in __all__:
        raise AttributeError(f"module emu has no attribute {name!r}")
    from emu import scenario

    return getattr(scenario, name)
