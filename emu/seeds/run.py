"""The run of one seed of a topology: boot, faults, heal, wait, final reads, checks; one result.

A run is plain data in and plain data out, so that it may happen in another process. What goes
wrong is drawn in swarm.py or stands in the topology; how a run ends is emu/verdict/judging.py's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from emu.checks.history import Recorder
from emu.checks.history_file import write_by_model
from emu.model import expectations
from emu.model.topology import FaultItem, Topology
from emu.running.in_process import describe
from emu.scenario import Scenario, cluster
from emu.seeds import planned, swarm
from emu.seeds.chances import Damage
from emu.seeds.variation import varied
from emu.seeds.wire_rules import WireRules
from emu.sim.run import WATCHDOG_S, Outcome, in_virtual_time
from emu.sim.world import Knobs
from emu.topology.loading import load, loads

FaultSource = Literal["swarm", "timeline", "none", "planned", "damage"]
"""planned: only what operators do (planned.py). damage: as swarm, and disks lie about syncs and
flip bits, which no protocol bears: then it is only asked that nodes find it, not that nothing is
lost."""
DAMAGE: Final = "damage"
AS_WRITTEN: Final = ("none", "timeline")
"""Nothing happens but what the file says; and then late syncs would be a fault of their own."""
LYING_RATIOS: Final = (0.0, 0.002, 0.02, 0.2)
CORRECTNESS: Final = ("lost_acknowledged_writes", "duplicated_writes")
"""What is expected of a run even under a swarm: no topology can promise availability there."""
FINISH_MOST_S: Final = 300.0
"""Virtual seconds for everything after the faults: more is a run without end."""


@dataclass(frozen=True, slots=True)
class SeedRun:
    """What to run. `only`: the places of the drawn faults that are kept (None: all)."""

    path: str
    seed: int
    for_s: float = 60.0
    faults: FaultSource = "swarm"
    only: tuple[int, ...] | None = None
    given: tuple[FaultItem, ...] | None = None
    """What happens, where that is neither drawn nor in the file."""
    keep_trace: int = 0
    settings: tuple[str, ...] = ()
    """What is otherwise than in the file: `db.ack=async` ..."""
    text: str = ""
    """What stands in the file, where `path` is not to be read: on another machine."""
    history: str = ""
    """A folder for what the clients saw (seed-N/MODEL.jsonl); empty: it is not written."""

    @property
    def knobs(self) -> Knobs:
        """How odd the world is."""
        drawn = Knobs.draw(self.seed)
        if self.faults in AS_WRITTEN:  # then times are judged: a sync takes what the file says
            return replace(drawn, disk=replace(drawn.disk, late_sync_ratio=0.0))
        if self.faults != DAMAGE:
            return drawn
        lies = random.Random(f"{self.seed}/damage").choice(LYING_RATIOS)
        return replace(drawn, disk=replace(drawn.disk, lying_sync_ratio=lies))

    def items(self, topology: Topology) -> tuple[FaultItem, ...]:
        """The timeline of this run."""
        found: tuple[FaultItem, ...] = ()
        if self.given is not None:
            found = self.given
        elif self.faults in ("swarm", DAMAGE):
            damage = Damage(flip_bits=self.faults == DAMAGE)
            found = swarm.draw(topology, self.seed, self.for_s, damage=damage)
        elif self.faults == "planned":
            found = planned.draw(topology, self.seed, self.for_s)
        elif self.faults == "timeline":
            found = topology.faults
        if self.only is None:
            return found
        return tuple(found[place] for place in self.only)


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What came of it. `anomaly` is "" if all was well, else the first thing that was not."""

    seed: int
    anomaly: str
    kind: str
    """The anomaly's: a model's name, wire, liveness, state, failure, expectation or error."""
    operations: tuple[str, ...]
    """The operations that show it, a line each."""
    digest: str
    virtual_s: float
    wall_s: float
    messages: int
    undecided: bool
    """Whether some history was too long to be checked to its end."""
    faults: int
    """How many faults the run's timeline has."""
    summary: dict[str, Any] | None
    reached: dict[str, int] = field(default_factory=dict)
    """How often each state that matters was met (`Kind.reaches`)."""


@cache
def topology_of(path: str, settings: tuple[str, ...] = (), text: str = "") -> Topology:
    """The file is read once in a process: all seeds of a campaign run the same."""
    return loads(text, path=path, settings=settings) if text else load(path, settings=settings)


def run_seed(run: SeedRun) -> SeedResult:
    """Run one seed in virtual time."""
    outcome = simulate_seed(run)
    summary = outcome.value
    kind, anomaly, operations = _first_anomaly(outcome)
    return SeedResult(
        seed=run.seed,
        anomaly=anomaly,
        kind=kind,
        operations=operations,
        digest=outcome.digest,
        virtual_s=outcome.virtual_s,
        wall_s=outcome.wall_s,
        messages=outcome.messages,
        undecided=bool(summary and summary["undecided"]),
        faults=len(staged(run)[1]),
        reached=outcome.trace.reached,
        summary=summary,
    )


def staged(run: SeedRun) -> tuple[Topology, tuple[FaultItem, ...]]:
    """The topology as this seed has it, and what goes wrong in it."""
    topology = replace(topology_of(run.path, run.settings, run.text), seed=run.seed)
    if run.faults in ("swarm", DAMAGE):
        topology = varied(topology, run.seed)
    return topology, run.items(topology)


def simulate_seed(run: SeedRun, *, watchdog_s: float = WATCHDOG_S) -> Outcome[dict[str, Any]]:
    """Like `run_seed`, with the trace (for `emu trace`); the value is the run's summary."""
    topology, items = staged(run)
    expect = topology.expect
    if run.faults in ("swarm", DAMAGE):
        expect = tuple(each for each in expect if each.metric in CORRECTNESS)
    elif run.faults != "timeline":
        expect = tuple(each for each in expect if not expectations.waits_for_an_alert(each))

    async def program() -> dict[str, Any]:
        async with cluster(topology, world="sim", knobs=run.knobs) as scenario:
            own = run.faults == "timeline"
            scenario.start_playing(items, own=own)
            await scenario.sleep(run.for_s)
            summary = await scenario.finish(expect)
            if run.history:
                _write_history(scenario, Path(run.history, f"seed-{run.seed}"))
            return summary

    return in_virtual_time(
        program,
        seed=run.seed,
        keep_trace=run.keep_trace,
        rules=WireRules(),
        max_virtual_s=run.for_s + FINISH_MOST_S,
        watchdog_s=watchdog_s,
    )


def _write_history(scenario: Scenario, folder: Path) -> None:
    recorder = scenario.cluster.world.history
    if isinstance(recorder, Recorder):
        write_by_model(folder, recorder.operations)


def _first_anomaly(outcome: Outcome[dict[str, Any]]) -> tuple[str, str, tuple[str, ...]]:
    """(kind, text, operations); kind and text are "" where all was well."""
    if outcome.error is not None:
        return "error", describe(outcome.error), ()
    assert outcome.value is not None
    rules = outcome.trace.rules
    for problem in rules.problems if rules is not None else ():
        return "wire", problem, ()
    for anomaly in outcome.value["anomalies"]:
        return anomaly["kind"], anomaly["text"], tuple(anomaly["operations"])
    for each in outcome.value["expectations"]:
        if each["held"] is False:
            return "expectation", expectations.missed(each), ()
    return "", "", ()
