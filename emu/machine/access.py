"""Who may dial whom: the identity rules that both worlds' networks apply at accept, by edge, port
and right. Pure.

This emulates private networks; it is no defence against other programs of the same machine.
"""

from __future__ import annotations

from emu.machine.world import OPERATOR, MachineSpec
from nodes.base import ADMIN_PORT, DIRECTORY_HOST, OPERATE, OUTSIDE
from protocols.control import METRICS, RIGHTS


def may_dial(dialer: MachineSpec | None, name: str, target: MachineSpec, port: int) -> bool:
    """Whether `name` (with its spec, if it is a machine of ours) may reach
    that port of `target`."""
    if name == OPERATOR:
        return True
    if port == ADMIN_PORT:
        return bool(rights_at(dialer, name, target, port))
    door = target.listed(port)
    if door is None:
        return False
    if target.public and door.public:
        return True
    if name == OUTSIDE or dialer is None:
        return False
    return target.tier == DIRECTORY_HOST or _has_edge(dialer, target)


def rights_at(
    dialer: MachineSpec | None, name: str, target: MachineSpec, port: int
) -> tuple[str, ...]:
    """What `name` may ask of `target` beside what everybody may who reaches that port: what the
    admin port does, or (emu aside) an edge with a right at any port."""
    if name == OPERATOR:
        return (OPERATE,) if port == ADMIN_PORT else ()
    if name == OUTSIDE or dialer is None or dialer.from_outside or not dialer.rights:
        return ()
    tiers = (target.tier, target.group) if target.group else (target.tier,)
    held = [right for right, tier in dialer.rights if tier in tiers]
    return tuple(right for right in dict.fromkeys(held) if RIGHTS[right])


def _has_edge(dialer: MachineSpec, target: MachineSpec) -> bool:
    if dialer.from_outside:
        return False
    return target.tier in dialer.dials or (bool(target.group) and target.group in dialer.dials)


def refusal(dialer: MachineSpec | None, name: str, target: MachineSpec, port: int) -> str:
    """Why, and which edge to declare: by the word that the file has for the tier."""
    tier = target.group or target.tier
    if port == ADMIN_PORT:
        return (
            f"{target.name}'s admin port is for emu itself, and for tiers that declare an edge to "
            f"`{tier}` with the right `{METRICS}` (scales ...)"
        )
    door = target.listed(port)
    if door is None:
        listed = ", ".join(f"{each.name} {each.number}" for each in target.ports) or "none"
        return f"{target.name} lists no port {port} (but {listed}): its Kind's `ports` open one"
    if name != OUTSIDE and dialer is not None and not dialer.from_outside:
        return f"tier `{dialer.tier}` declares no edge to `{tier}` (uses, balances, peers ...)"
    if target.public:
        return f"{target.name}'s port {door.name} is for tiers that declare an edge to `{tier}`"
    return f"{target.name} is private: give tier `{tier}` `public: true` to open it"
