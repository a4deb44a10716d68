"""`emu compare`: two topologies, or one with a word changed, under the same seeds and faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from emu.cli import output
from emu.cli.attach import JsonOption, one_of_these
from emu.cli.campaign import Campaign
from emu.cli.files import SetOption, complete_file, duration_s, read_topology
from emu.cli.simulate import MAX_SEEDS, JobsOption
from emu.cli.up import one_of

if TYPE_CHECKING:
    from emu.model.topology import Topology
    from emu.observe.comparing import Row
    from emu.seeds.run import SeedRun

SOURCES: Final = ("timeline", "swarm", "none")
DEFAULT_SEEDS: Final = 8
"""What replication is worth shows in each of them; more narrow the interval."""
DEFAULT_FOR_S: Final = 30.0
MOST_FOR_S: Final = 60.0
"""Of what is not said: a minute of a large site takes a laptop long enough."""
AFTER_FAULTS_S: Final = 6.0
FOR_HELP: Final = (
    "Virtual time of each. If not said: until the file's own faults are over, at most 60s; "
    "without any 30s."
)
FAULTS_HELP: Final = (
    "timeline: each file's own (the default where A has one). swarm: drawn for A, done to both. "
    "none."
)
OUT_HELP: Final = "Write the comparison as one HTML page."

FirstArgument = Annotated[
    str, typer.Argument(metavar="A", help="A topology.", autocompletion=complete_file)
]
SecondArgument = Annotated[
    str,
    typer.Argument(
        metavar="[B]", help="Another; or none, and --set.", autocompletion=complete_file
    ),
]


def compare(
    first: FirstArgument,
    second: SecondArgument = "",
    settings: SetOption = None,
    seeds: Annotated[int, typer.Option("--seeds", "-n", help="How many.")] = DEFAULT_SEEDS,
    for_text: Annotated[str, typer.Option("--for", help=FOR_HELP)] = "",
    faults: Annotated[
        str, typer.Option("--faults", help=FAULTS_HELP, autocompletion=one_of_these(*SOURCES))
    ] = "",
    jobs: JobsOption = 0,
    out: Annotated[str, typer.Option("--out", "-o", help=OUT_HELP)] = "",
    as_json: JsonOption = False,
) -> None:
    """Simulate A and B with the same seeds, and say what differs, with 95% intervals.

    With --set, B is A with that value changed: `emu compare 05 --set db.ack=async`.
    """
    changed = tuple(settings or ())
    if bool(second) is bool(changed):
        output.fail("name two topologies, or one and what to --set otherwise in B", output.USAGE)
    if not 0 < seeds <= MAX_SEEDS:
        output.fail(f"--seeds is from 1 to {MAX_SEEDS}", output.USAGE)
    a, b = read_topology(first), read_topology(second or first, settings=changed)
    one_of("--faults", faults or SOURCES[0], SOURCES)
    source = faults or ("timeline" if a.faults else "swarm")
    for_s = duration_s("--for", for_text)
    if for_s is None:
        for_s = max(_enough_s(each) if source == "timeline" else DEFAULT_FOR_S for each in (a, b))
    if for_s <= 0:
        output.fail("--for must be above 0", output.USAGE)
    names = (a.name, b.name if second else f"{b.name} with {', '.join(changed)}")
    output.note(f"A: {names[0]}   B: {names[1]}   {seeds} seeds, {for_s:g} s each, "
                f"faults: {source}")  # fmt: skip
    runs = _runs(first, a, seeds, for_s, source)
    others = [replace(run, path=second or first, settings=changed) for run in runs]
    sides = [
        _side(topology, side, jobs, word)
        for topology, side, word in ((a, runs, "A"), (b, others, "B"))
    ]
    _tell(names, sides, seeds, source, out, as_json)


def _enough_s(topology: Topology) -> float:
    """Until all is over that the file does by itself, and a moment more."""
    items = topology.faults
    if not items or any(each.on for each in items):
        return MOST_FOR_S if items else DEFAULT_FOR_S
    over_s = max((each.at_s or 0.0) + (each.for_s or 0.0) for each in items)
    return min(MOST_FOR_S, over_s + AFTER_FAULTS_S)


def _runs(path: str, a: Topology, seeds: int, for_s: float, source: str) -> list[SeedRun]:
    """Side A's. What a swarm draws for A happens to B, too."""
    from emu.seeds import swarm
    from emu.seeds.run import SeedRun

    found = []
    for seed in range(1, seeds + 1):
        given = swarm.draw(a, seed, for_s) if source == "swarm" else None
        faults = "timeline" if source == "timeline" else "none"
        found.append(SeedRun(path, seed, for_s, faults, given=given))  # type: ignore[arg-type]
    return found


def _side(topology: Topology, runs: list[SeedRun], jobs: int, word: str) -> list[Any]:
    """The summaries of one side in the order of the seeds; None where a run broke down."""
    done = Campaign(topology, jobs, words=f"simulating {word}")
    done.run(runs)
    if done.interrupted:
        raise typer.Exit(output.INTERRUPTED)
    for result in done.results:
        if result.summary is None:
            output.note(f"{word}, seed {result.seed} broke down: {result.anomaly}", style="red")
    return [result.summary for result in done.results]


def _tell(
    names: tuple[str, str], sides: Sequence[list[Any]], seeds: int, source: str, out: str,
    as_json: bool,
) -> None:  # fmt: skip
    from emu.observe.comparing import compare as rows_of

    rows = rows_of(*sides)
    if not rows:
        output.fail("no seed of both came to its end: there is nothing to compare")
    record = {
        "a": names[0],
        "b": names[1],
        "seeds": seeds,
        "faults": source,
        "rows": [row.record() for row in rows],
    }
    if as_json:
        output.result(record)
    else:
        output.table(["", "a", "b", "b - a", "95% of seeds' means", "says"], _cells(rows), {})
    if out:
        from emu.observe.comparison import render

        try:
            Path(out).write_text(render(names, rows, seeds, source), "utf-8")
        except OSError as error:
            output.fail(f"cannot write {out}: {error.strerror}")
        output.note(f"the comparison is in {out}")


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    return [[row.measure.text, *row.cells, row.says] for row in rows]
