"""What each client was promised, and whether the history that it left keeps it.

A client's history is judged by itself, by the guarantee that the client named; where a tier that it
reaches may lose acknowledged writes by its own setting, what is found is counted, not condemned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from emu.checks import Verdict, check
from emu.history import Operation, Recorder
from emu.topology.model import Tier, Topology


class Promise(NamedTuple):
    """What a clients tier says of itself (in its `finish`)."""

    guarantee: str = ""
    """One of emu.checks.GUARANTEES, where less was promised than the model says."""
    holds: bool = True
    """Whether it was promised at all: clients may ask so that they have no claim to it."""


@dataclass(slots=True)
class Kept:
    """What came of judging every client's history."""

    broken: Verdict = field(default_factory=Verdict)
    permitted: Verdict = field(default_factory=Verdict)
    """What the settings allow."""


def judge_history(topology: Topology, recorder: Recorder, promises: Mapping[str, Promise]) -> Kept:
    """`promises`: by clients tier."""
    kept = Kept()
    for (tier, model), operations in _by_client(topology, recorder.operations).items():
        promise = promises.get(tier, Promise())
        binding = promise.holds and not why_losses_are_permitted(topology, tier)
        verdict = check(operations, model, guarantee=promise.guarantee)
        (kept.broken if binding else kept.permitted).add(verdict)
    if recorder.dropped:
        kept.broken.unknown.append(f"{recorder.dropped} operations were too many to keep")
    return kept


def why_losses_are_permitted(topology: Topology, tier: str) -> str:
    """Why acknowledged writes of a clients tier may get lost somewhere behind it; "" if not."""
    found = {each.name: each for each in topology.tiers}
    todo, seen = [tier], dict.fromkeys([tier])
    while todo:
        for name in found[todo.pop()].dials:
            if name in seen or name not in found:
                continue
            seen[name] = None
            todo.append(name)
            why = _may_lose(found[name])
            if why:
                return f"{name}: {why}"
    return ""


def _may_lose(tier: Tier) -> str:
    ask = tier.kind.may_lose
    return ask(tier.config, len(tier.members)) if ask is not None else ""


def _by_client(
    topology: Topology, operations: Sequence[Operation]
) -> dict[tuple[str, str], list[Operation]]:
    """(clients tier, model) → its operations. A process is called `NODE.generation/number`."""
    tiers = [tier.name for tier in topology.tiers if tier.kind.clients]
    found: dict[tuple[str, str], list[Operation]] = {}
    for operation in operations:
        node = str(operation.process).partition(".")[0]
        tier = node.rpartition("-")[0]
        assert tier in tiers, f"{operation.process} is no client's process"
        found.setdefault((tier, operation.model), []).append(operation)
    return found
