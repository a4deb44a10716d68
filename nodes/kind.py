"""What a kind of tier says of itself, to all who ask: the loader of topologies, the network, the
command line, the page, the swarm, the checkers.

Records only. Each family fills them in (its `KIND`), kinds.py is the table of them; emu/ asks the
record and knows no kind by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from nodes.base import RPC_PORT, NodeFactory


@dataclass(frozen=True, slots=True)
class StateCheck:
    """What must hold, at any setting, of what a tier's members say once the run is healed.

    `model` replicas: each answers a map, and all maps must be equal in the end. owners: each
    answers `[[slot, epoch], ...]`, what it owns; no slot may have two owners in one epoch. logs:
    each answers with what it has committed (nodes/replica/log_digest.py); no record may differ.
    """

    model: Literal["replicas", "owners", "logs"]
    method: str
    """Asked of every running member, on its admin listener."""
    across_group: bool = False
    """Whether all tiers that one declared tier expands to are judged together."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One line of the table of kinds: what a tier's `kind:` word stands for.

    `edges` names the Config fields that hold other tiers' names: the topology checks them, and the
    network lets members of this tier dial those tiers (and nobody else's private listeners).
    """

    config: type
    node: NodeFactory
    port: int = RPC_PORT
    edges: tuple[str, ...] = ()
    peers: bool = False
    """Whether members of the tier dial each other."""
    clients: bool = False
    """Whether members only ask: they are started last, and their admin listeners answer `summary`
    and, once, `finish` (stop, wait for stragglers, read back) with what emu/verdict/ adds up."""
    reaches: tuple[str, ...] = ()
    """States that its members tell `ctx.reached` of: what a campaign of seeds has to meet, or it
    says little. Words for people: `a group of two or more transactions`."""
    checks: tuple[StateCheck, ...] = ()
    """What is asked of the members' state at the end of a run."""
    may_lose: Callable[[Any, int], str] | None = None
    """(config, members) → why acknowledged writes may get lost at this setting, or "" if they may
    not. What is lost where it may be is a number, no anomaly."""
    front: bool = False
    """Whether a member answers calls to the whole group that its tier comes from."""
    roles: tuple[str, ...] = ()
    """Roles a member may report in `describe` (primary, replica, ...), usable in targets."""
    code: tuple[str, ...] = ()
    """Config fields that name Python code (`module:function`): the loader imports
    it, by its rules."""
    expand: Callable[[str, dict[str, Any]], dict[str, dict[str, Any]]] | None = None
    """A kind that stands for several tiers: (name, the YAML options but `kind`) → tier name → YAML
    options (with `kind`). Those who name it as an edge reach all of them."""
