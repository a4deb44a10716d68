"""`emu sim --break 'db.lag > 2s'`: the first seed and moment at which it is true, shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from emu.cli import output
from emu.cli.lines import as_text
from emu.cli.nodes import show_rows

if TYPE_CHECKING:
    from emu.running.conditions import Condition
    from emu.seeds.breaking import Stop
    from emu.seeds.run import SeedRun

AROUND_S: Final = 1.0
"""What the command that draws it shows before the moment."""


def break_at(runs: Sequence[SeedRun], condition: Condition, *, as_json: bool) -> None:
    """One seed after the other until one stops there; exit 1 where none does."""
    from emu.running.views import kinds
    from emu.seeds.breaking import break_seed
    from emu.seeds.run import topology_of

    for run in runs:
        try:
            stop = break_seed(run, condition)
        except ValueError as error:
            output.fail(str(error), output.USAGE)
        if stop is not None:
            if as_json:
                _print(run, condition, stop)
            else:
                show_rows(stop.rows, kinds(topology_of(run.path, run.settings)), {})
                _tell(run, condition, stop)
            return
    seeds = "the seed" if len(runs) == 1 else f"any of {len(runs)} seeds"
    output.fail(f"`{condition}` was not met in {seeds}")


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
    """What led there, and how to see more of it."""
    from emu.seeds.campaign import replay_line

    output.note("")
    for each in stop.events:
        output.err.print(as_text(each))
    output.note(f"\nseed {run.seed}, {stop.at_s:.2f} s: {condition} ({stop.node})", style="bold")
    begin = max(0.0, stop.at_s - AROUND_S)
    output.note(f"look: {replay_line(run, 'trace')} --from {begin:.1f}s --to {stop.at_s:.1f}s")
