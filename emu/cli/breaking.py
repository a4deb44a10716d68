"""`emu sim --break 'db.lag > 2s'`: the first seed and moment at which it is true, shown; and, for
somebody at a terminal, held there for the other verbs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from emu import state
from emu.cli import output
from emu.cli.lines import as_text
from emu.cli.nodes import show_rows

if TYPE_CHECKING:
    from emu.running.conditions import Condition
    from emu.scenario import Scenario
    from emu.seeds.breaking import Stop
    from emu.seeds.run import SeedRun

AROUND_S: Final = 1.0
"""What the command that draws it shows before the moment."""
ELSEWHERE: Final = "`emu ps`, `emu logs`, `emu why /` and the like"


def break_at(runs: Sequence[SeedRun], condition: Condition, *, as_json: bool) -> None:
    """One seed after the other until one stops there; exit 1 where none does."""
    from emu.seeds.breaking import break_seed

    watched = not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    for run in runs:
        look = partial(_look, run, condition) if watched else None
        try:
            stop = break_seed(run, condition, look)
        except (ValueError, state.StateError) as error:
            output.fail(str(error), output.USAGE)
        if stop is not None:
            if as_json:
                _print(run, condition, stop)
            elif not watched:
                _tell(run, condition, stop)
            return
    seeds = "the seed" if len(runs) == 1 else f"any of {len(runs)} seeds"
    output.fail(f"`{condition}` was not met in {seeds}")


async def _look(run: SeedRun, condition: Condition, scenario: Scenario, stop: Stop) -> None:
    """Tell of it, and stay there until Ctrl-C or `emu down`."""
    from emu.control.standing import Standing

    _tell(run, condition, stop)
    name = scenario.cluster.topology.name
    folder = state.claim(name, temporary=True)
    facts = {
        "name": name,
        "file": run.path,
        "pid": os.getpid(),
        "nodes": len(stop.rows),
        "ready_s": scenario.cluster.ready_s,
    }

    async def down(call: object, wipe: bool = False, now: bool = False) -> dict[str, Any]:
        standing.end()
        return await scenario.interim()

    standing = Standing(
        scenario.cluster,
        {"info": lambda call: facts, "summary": lambda call: scenario.interim(), "down": down},
    )
    try:
        output.note(f"it stands still there for {ELSEWHERE} in another terminal; Ctrl-C ends it")
        with suppress(KeyboardInterrupt):
            await standing.serve(folder.socket, lambda: folder.describe(facts))
    finally:
        folder.release()


def _print(run: SeedRun, condition: Condition, stop: Stop) -> None:
    output.result(
        {
            "seed": run.seed,
            "condition": str(condition),
            "at_s": stop.at_s,
            "node": stop.node,
            "nodes": list(stop.rows),
            "events": [dict(each) for each in stop.events],
        }
    )


def _tell(run: SeedRun, condition: Condition, stop: Stop) -> None:
    """Who is how, what led there, and how to see more of it."""
    from emu.running.views import kinds
    from emu.seeds.campaign import replay_line
    from emu.seeds.run import topology_of

    show_rows(stop.rows, kinds(topology_of(run.path, run.settings)), {})
    output.note("")
    for each in stop.events:
        output.err.print(as_text(each))
    output.note(f"\nseed {run.seed}, {stop.at_s:.2f} s: {condition} ({stop.node})", style="bold")
    begin = max(0.0, stop.at_s - AROUND_S)
    output.note(f"look: {replay_line(run, 'trace')} --from {begin:.1f}s --to {stop.at_s:.1f}s")
