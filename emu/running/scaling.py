"""Which scaling may be begun: what could not be done, or not be undone, is refused before it is.

How members come and go is the supervisor's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.model.topology import MAX_NODES, Tier
from emu.running.instance import Instance
from emu.running.targets import TargetError


def check_scaling(tier: Tier, instances: Sequence[Instance], nodes: int) -> None:
    """Raises TargetError where the tier, whose members these are, cannot have so many."""
    if not 0 <= nodes <= MAX_NODES:
        raise TargetError(f"a tier has 0 to {MAX_NODES} nodes, not {nodes}")
    kind = tier.kind
    if kind.fixed and nodes != len(instances):
        raise TargetError(f"`{tier.name}` cannot be scaled: {kind.fixed}")
    if kind.leader is None:
        return
    if not nodes:
        raise TargetError(f"the last member of `{tier.name}` has its data: `stop` it instead")
    missing = [each for each in instances if not each.running or each.handle.paused]
    if nodes < len(instances) and 2 * len(missing) >= len(instances):
        names = ", ".join(f"{each.spec.name} ({each.shown_state})" for each in missing)
        votes = f"{len(missing)} of {len(instances)} votes are missing"
        raise TargetError(f"`{tier.name}` cannot let members go, {votes}: {names}")
