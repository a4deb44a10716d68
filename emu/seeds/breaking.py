"""A seed that is stopped where a condition is met, to look around: who was in which state, and what
had just happened; and, where somebody holds it there, everything that can be asked of a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from emu.machine.events import Event
from emu.running import conditions
from emu.running.conditions import Condition
from emu.scenario import Scenario, cluster
from emu.seeds.run import FINISH_MOST_S, SeedRun, staged
from emu.sim.run import WATCHDOG_S, in_virtual_time
from emu.sim.timers import MAX_VIRTUAL_S

EVENTS: Final = 15
"""The latest before it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A moment of a run."""

    at_s: float
    node: str
    """Of which the condition was true."""
    rows: Sequence[dict[str, Any]]
    """As `emu ps --json` has them."""
    events: Sequence[Event]


def break_seed(
    run: SeedRun,
    condition: Condition,
    look: Callable[[Scenario, Stop], Awaitable[None]] | None = None,
) -> Stop | None:
    """The first moment at which it is met; None where that never happens while the run lasts.
    `look` is given the run at that moment, and may hold it for as long as it likes. Raises
    ValueError where the condition fits nothing."""
    topology, items = staged(run)

    async def program() -> Stop | None:
        async with cluster(topology, world="sim", knobs=run.knobs) as scenario:
            scenario.start_playing(items)
            running, stop = scenario.cluster, None
            with running.operator.move_on_after(run.for_s):
                node = await conditions.until(running, condition)
                rows = await scenario.ps()
                stop = Stop(scenario.now_s, node, rows, list(running.events)[-EVENTS:])
            if stop is not None and look is not None:
                await look(scenario, stop)
            return stop

    outcome = in_virtual_time(
        program,
        seed=run.seed,
        max_virtual_s=run.for_s + FINISH_MOST_S if look is None else MAX_VIRTUAL_S,
        watchdog_s=WATCHDOG_S if look is None else 0,
    )
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
