"""What each client was promised, and whether the history that it left keeps it.

A client's history is judged by itself, by the guarantee that the client named; where a tier that it
reaches may lose acknowledged writes by its own setting, what is found is counted, not condemned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from emu.checks import CheckResult
from emu.checks.history import Operation, Recorder
from emu.checks.losses import Losses
from emu.model.topology import Tier, Topology
from emu.verdict.long import LongRun
from nodes.base import Log

HISTORY_FULL: Final = "history full"
EVENTS: Final = {
    HISTORY_FULL: "What clients saw until here is judged in the end; of what they see later only "
    "the numbers are kept."
}


class Promise(NamedTuple):
    """What a clients tier says of itself (in its `finish`)."""

    guarantee: str = ""
    """One of emu.checks.GUARANTEES, where less was promised than the model says."""
    holds: bool = True
    """Whether it was promised at all: clients may ask so that they have no claim to it."""


class Judged(NamedTuple):
    """What came of one history."""

    clients: str
    """The tier whose clients saw it."""
    model: str
    guarantee: str
    permitted: str
    """Why anomalies count and do not condemn; "": they condemn."""
    operations: int
    found: CheckResult
    losses: Losses | None
    counted: Mapping[str, int | None]
    """What the model counts, whether or not it may be; None where nobody can tell."""
    left: int
    """Objects that clients had left long before the end, and that were judged then."""

    def as_fields(self) -> dict[str, Any]:
        """A line of the summary's `judged`."""
        losses = self.losses
        return {
            "clients": self.clients,
            "model": self.model,
            "guarantee": self.guarantee or "linearizable",
            "permitted": self.permitted,
            "operations": self.operations,
            "anomalies": len(self.found.anomalies),
            "first_anomaly": str(self.found.anomalies[0]) if self.found.anomalies else "",
            "acknowledged": losses.acknowledged if losses is not None else None,
            "lost": len(losses.lost) if losses is not None else None,
            "counted": dict(self.counted),
            "left": self.left,
        }

    def lost_writes(self) -> list[dict[str, Any]]:
        """The acknowledged writes that are gone, each with its key."""
        return [
            {
                "clients": self.clients,
                "key": each.key,
                "value": each.value,
                "acknowledged_s": each.completed_s,
            }
            for each in (self.losses.lost if self.losses is not None else ())
        ]


@dataclass(slots=True)
class Kept:
    """What came of judging every client's history."""

    broken: CheckResult = field(default_factory=CheckResult)
    permitted: CheckResult = field(default_factory=CheckResult)
    """What the settings allow."""
    judged: list[Judged] = field(default_factory=list)


def tell_full(log: Log, kept: int) -> None:
    """Recording ends here; the run goes on."""
    why = "what clients do from here on is counted, and not judged"
    log.warning(HISTORY_FULL, operations=kept, why=why)


def judge_history(
    topology: Topology,
    recorder: Recorder,
    promises: Mapping[str, Promise],
    run: LongRun,
    by_hand: Mapping[str, Sequence[str]],
) -> Kept:
    """`promises`: by clients tier. `run`: what was judged before. `by_hand`: what was changed in a
    tier beside its clients."""
    kept = Kept()
    groups: dict[tuple[str, str], list[Operation]] = {each: [] for each in run.groups()}
    tiers = clients_of(topology)
    for operation in recorder.operations:
        groups.setdefault(group_of(tiers, operation), []).append(operation)
    for (tier, model), operations in groups.items():
        promise = promises.get(tier, Promise())
        why = why_losses_are_permitted(topology, tier, by_hand)
        if not promise.holds:
            why = why or "they ask so that nothing was promised to them"
        came = run.end((tier, model), operations, promise.guarantee)
        (kept.permitted if why else kept.broken).add(came.found)
        kept.judged.append(Judged(tier, model, promise.guarantee, why, *came))
    if recorder.dropped:
        later = f"{recorder.dropped:,} operations from {recorder.full_s or 0.0:.0f} s on"
        until = f"what {len(recorder.operations):,} before that saw was judged"
        kept.broken.unknown.append(f"{later} were too many to keep; {until}")
    return kept


def why_losses_are_permitted(
    topology: Topology, tier: str, by_hand: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> str:
    """Why acknowledged writes of a clients tier may get lost somewhere behind it; "" if not."""
    found = {each.name: each for each in topology.tiers}
    todo, seen = [tier], dict.fromkeys([tier])
    while todo:
        for name in found[todo.pop()].dials:
            if name in seen or name not in found:
                continue
            seen[name] = None
            todo.append(name)
            why = ", ".join(by_hand.get(name, ())) or _may_lose(found[name])
            if why:
                return f"{name}: {why}"
    return ""


def _may_lose(tier: Tier) -> str:
    ask = tier.kind.may_lose
    return ask(tier.config, len(tier.members)) if ask is not None else ""


def clients_of(topology: Topology) -> tuple[str, ...]:
    """The tiers whose histories are judged."""
    return tuple(tier.name for tier in topology.tiers if tier.kind.clients or tier.kind.works)


def group_of(tiers: Sequence[str], operation: Operation) -> tuple[str, str]:
    """(clients tier, model). A process is called `NODE.generation/number`."""
    node = str(operation.process).partition(".")[0]
    tier = node.rpartition("-")[0]
    assert tier in tiers, f"{operation.process} is no client's process"
    return tier, operation.model
