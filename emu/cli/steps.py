"""`emu steps`: the story that the shipped topologies tell, a step a line."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final

import typer

from emu.cli import output
from emu.cli.attach import JsonOption
from emu.topology import shipped

SHOWN_ADDS: Final = 6
"""Of one step, in the list; `emu steps 05` has all."""


def steps(
    step: Annotated[
        str, typer.Argument(metavar="[STEP]", help="One of them: `05`. None: the whole story.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """From one server to millions of users: what each step is, and adds to the one before."""
    from emu.topology.steps import steps as all_steps

    known = all_steps()
    shown = [each for each in known if step in ("", each.number, each.name)]
    if not shown:
        numbers = ", ".join(each.number for each in known)
        output.fail(f"no step `{step}`; there are {numbers}", output.USAGE)
    if as_json:
        output.result([{**asdict(each), "kinds": sorted(each.kinds)} for each in shown])
        return
    for each in shown:
        output.out.print(f"[bold]{each.number}[/]  {each.title}", highlight=False)
        if step:
            output.out.print(f"\n{each.teaches}\n", markup=False)
        adds = each.adds if step else each.adds[:SHOWN_ADDS]
        more = len(each.adds) - len(adds)
        line = "; ".join(adds) + (f"; and {more} more" if more else "")
        output.out.print(f"    {line}", style="dim", markup=False)
    last = shown[-1]
    output.note(f"\nrun one: emu up {last.number}    read one: emu steps {last.number}")
    if not step:
        experiments = ", ".join(name for name in shipped.experiments() if name[0].isdigit())
        output.note(f"all in one region: emu up full    experiments, two of a kind: {experiments}")
