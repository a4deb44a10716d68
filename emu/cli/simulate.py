"""`emu sim`: many seeds of a topology in virtual time, and one line for each that fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from emu.cli import campaign as campaigns
from emu.cli import output
from emu.cli.attach import JsonOption, one_of_these
from emu.cli.breaking import break_at
from emu.cli.campaign import Campaign
from emu.cli.files import (
    FileArgument,
    SetOption,
    condition_of,
    default_file,
    duration_s,
    read_topology,
)
from emu.cli.reporting import JunitOption, write_junit
from emu.cli.up import one_of

if TYPE_CHECKING:
    from emu.seeds.run import SeedRun
    from emu.verdict.junit import Case

SOURCES: Final = ("swarm", "timeline", "none", "planned", "damage")
DEFAULT_SEEDS: Final = 20
MAX_SEEDS: Final = 1_000_000
UNDECIDED: Final = "undecided: too long to check"
STRICT_HELP: Final = "Exit 4 also where a seed is undecided."
HISTORY_HELP = "Write what clients saw into this folder, as seed-N/MODEL.jsonl for `emu check`."
ON_HELP = "Run the seeds on a Dask cluster's workers (emu's extra `dask` brings it)."
SHARD_HELP = "Only the K-th of N parts of the seeds; `emu merge` puts their --json together."
BREAK_HELP = (
    "Stop the first seed in which it is true, and show that moment: 'db.lag > 2s'. At a terminal "
    "it stays there, and the other verbs ask it, until Ctrl-C."
)
REACHED_HELP = "Go on with more seeds until every state that matters was met, or one fails."
FAULTS_HELP = (
    "swarm: drawn per seed. timeline: the file's own. none. planned: restarts, scaling and "
    "switchovers only, under which all expectations must hold. damage: also lying disks."
)

JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", min=0, help="Processes (0: one per core).")
]
BreakOption = Annotated[str | None, typer.Option("--break", metavar="CONDITION", help=BREAK_HELP)]


def sim(
    file: FileArgument = "",
    seeds: Annotated[int | None, typer.Option("--seeds", "-n", help="How many seeds.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The first seed (alone: only it).")
    ] = None,
    for_text: Annotated[str, typer.Option("--for", help="Virtual time under faults.")] = "60s",
    faults: Annotated[
        str, typer.Option("--faults", help=FAULTS_HELP, autocompletion=one_of_these(*SOURCES))
    ] = "swarm",
    jobs: JobsOption = 0,
    shrink: Annotated[bool, typer.Option(help="Look for the fewest faults that fail.")] = True,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first failure.")
    ] = False,
    until_reached: Annotated[bool, typer.Option("--until-reached", help=REACHED_HELP)] = False,
    history: Annotated[str, typer.Option("--history", help=HISTORY_HELP)] = "",
    settings: SetOption = None,
    break_text: BreakOption = None,
    on: Annotated[str, typer.Option("--on", metavar="dask://HOST:PORT", help=ON_HELP)] = "",
    shard: Annotated[str, typer.Option("--shard", metavar="K/N", help=SHARD_HELP)] = "",
    junit: JunitOption = "",
    strict: Annotated[bool, typer.Option("--strict", help=STRICT_HELP)] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the same nodes in seeded virtual time, break them, and judge every seed.

    Exit code 0: no anomaly. 4: some seed failed (the line that is printed replays it), or part of
    the file's own timeline happened in none. 130: Ctrl-C; what has been run until then is told.
    """
    from emu.seeds.run import SeedRun

    one_of("--faults", faults, SOURCES)
    path = file or default_file()
    changed = tuple(settings or ())
    topology = read_topology(path, settings=changed)
    for_s = duration_s("--for", for_text) or 0.0
    count = (DEFAULT_SEEDS if seed is None else 1) if seeds is None else seeds
    if not 0 < count <= MAX_SEEDS or for_s <= 0:
        output.fail(f"--seeds is from 1 to {MAX_SEEDS}, --for above 0", output.USAGE)
    first = 1 if seed is None else seed
    run = SeedRun(path, first, for_s, faults, settings=changed, history=history)  # type: ignore[arg-type]
    runs = [replace(run, seed=each) for each in _part(range(first, first + count), shard)]
    condition = condition_of("--break", break_text)
    if condition is not None:
        break_at(runs, condition, as_json=as_json)
        return
    if history:
        _make_folder(history)
    output.note(
        f"{topology.name}: {_seeds(runs)}, {for_s:g} s each, faults: {faults} ({_versions()})"
    )
    done = Campaign(topology, jobs, fail_fast=fail_fast, on=on)
    done.run(runs)
    while until_reached and done.goes_on and done.never and len(done.results) < MAX_SEEDS:
        runs = [replace(run, seed=run.seed + count) for run in runs]
        done.run(runs)
    shrunk = campaigns.shrink(done.failing) if shrink and not done.interrupted else []
    record = done.record(shrunk)
    if as_json:
        output.result(record)
    campaigns.tell(record)
    for each in shrunk:
        output.note(campaigns.fewest(each))
    if junit:
        write_junit(junit, topology.name, _cases(done, strict), record["wall_s"])
    if done.failing or record["not_run"] or (strict and record["undecided"]):
        raise typer.Exit(output.VERDICT_FAILED)
    if done.interrupted:
        raise typer.Exit(output.INTERRUPTED)


def _part(seeds: range, text: str) -> range:
    """Those of this part."""
    from emu.seeds.merging import shard

    try:
        part, parts = shard(text) if text else (0, 1)
    except ValueError as error:
        output.fail(f"--shard: {error}", output.USAGE)
    if part >= len(seeds):
        output.fail(f"--shard {text}: {len(seeds)} seeds have no such part", output.USAGE)
    return seeds[part::parts]


def _cases(done: Campaign, strict: bool) -> Iterator[Case]:
    """A case for each seed."""
    from emu.seeds.campaign import replay_line
    from emu.verdict.junit import Case

    replay = {result.seed: replay_line(run) for run, result in done.failing}
    for each in done.results:
        name, details = f"seed-{each.seed}", list(each.operations)
        if each.anomaly:
            details.append(f"replay: {replay[each.seed]}")
            yield Case(name, each.anomaly, details="\n".join(details))
        elif each.undecided and strict:
            yield Case(name, UNDECIDED)
        else:
            yield Case(name, skipped=UNDECIDED if each.undecided else "")


def _versions() -> str:
    from emu.versions import versions

    return ", ".join(f"{name} {number}" for name, number in versions().items())


def _make_folder(history: str) -> None:
    try:
        Path(history).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        output.fail(f"--history {history}: {error.strerror}")


def _seeds(runs: list[SeedRun]) -> str:
    first, last = runs[0].seed, runs[-1].seed
    return f"seed {first}" if first == last else f"seeds {first} to {last}"
