"""A whole scaled-out website on one laptop: emu.cluster(...) and emu.run(...) are for scripts."""

from emu.scenario import Scenario, cluster, run

__all__ = ["Scenario", "cluster", "run"]
