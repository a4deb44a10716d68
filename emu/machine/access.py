"""Who may dial whom: the identity rules that both worlds' networks apply at accept. Pure.

This emulates private networks; it is no defence against other programs of the same machine.
"""

from __future__ import annotations

from emu.machine.world import OPERATOR, MachineSpec
from nodes.base import ADMIN_PORT, DIRECTORY_HOST, OUTSIDE


def may_dial(dialer: MachineSpec | None, name: str, target: MachineSpec, port: int) -> bool:
    """Whether `name` (with its spec, if it is a machine of ours) may reach
    that port of `target`."""
    if name == OPERATOR:
        return True
    if port == ADMIN_PORT:
        return False
    if target.public and port == target.port:
        return True
    if name == OUTSIDE or dialer is None:
        return False
    if target.tier == DIRECTORY_HOST or target.tier in dialer.dials:
        return True
    return bool(target.group) and target.group in dialer.dials


def refusal(name: str, tier: str, target: MachineSpec, port: int) -> str:
    """Why, and which edge to declare."""
    if port == ADMIN_PORT:
        return f"{target.name}'s admin port is for emu itself"
    if name == OUTSIDE or not tier:
        return f"{target.name} is private: give tier `{target.tier}` `public: true` to open it"
    return f"tier `{tier}` declares no edge to `{target.tier}` (uses, balances, peers ...)"
