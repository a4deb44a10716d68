"""`emu sim`: many seeds of a topology in virtual time, and one line for each that fails."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emu.cli import output
from emu.cli.attach import JsonOption, one_of_these
from emu.cli.breaking import break_at
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
from emu.observe.shown import duration

if TYPE_CHECKING:
    from emu.model.topology import Topology
    from emu.seeds.run import SeedResult, SeedRun
    from emu.verdict.junit import Case

SOURCES: Final = ("swarm", "timeline", "none", "planned", "damage")
DEFAULT_SEEDS: Final = 20
MAX_SEEDS: Final = 1_000_000
SHOWN_OPERATIONS: Final = 12
RAREST_SHOWN: Final = 5
"""Of the states that were met; `--json` has all."""
SHRUNK_SEEDS: Final = 1
"""How many of the failing seeds are shrunk: each costs up to 40 more runs."""

UNDECIDED: Final = "undecided: too long to check"
STRICT_HELP: Final = "Exit 4 also where a seed is undecided."
HISTORY_HELP = "Write what clients saw into this folder, as seed-N/MODEL.jsonl for `emu check`."
BREAK_HELP = "Stop the first seed in which it is true, and show that moment: 'db.lag > 2s'."
REACHED_HELP = "Go on with more seeds until every state that matters was met, or one fails."
FAULTS_HELP = (
    "swarm: drawn per seed. timeline: the file's own. none. planned: restarts, scaling and "
    "switchovers only, under which all expectations must hold. damage: also lying disks."
)


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The fewest faults that still make a seed fail."""

    seed: int
    faults: int
    of: int
    yaml: str


def sim(
    file: FileArgument = "",
    seeds: Annotated[int, typer.Option("--seeds", "-n", help="How many seeds.")] = 0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The first seed (alone: only it).")
    ] = None,
    for_text: Annotated[str, typer.Option("--for", help="Virtual time under faults.")] = "60s",
    faults: Annotated[
        str, typer.Option("--faults", help=FAULTS_HELP, autocompletion=one_of_these(*SOURCES))
    ] = "swarm",
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes (0: one per core).")] = 0,
    shrink: Annotated[bool, typer.Option(help="Look for the fewest faults that fail.")] = True,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first failure.")
    ] = False,
    until_reached: Annotated[bool, typer.Option("--until-reached", help=REACHED_HELP)] = False,
    history: Annotated[str, typer.Option("--history", help=HISTORY_HELP)] = "",
    settings: SetOption = None,
    break_text: Annotated[str, typer.Option("--break", metavar="CONDITION", help=BREAK_HELP)] = "",
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
    count = seeds or (DEFAULT_SEEDS if seed is None else 1)
    if not 0 < count <= MAX_SEEDS or for_s <= 0:
        output.fail(f"--seeds is from 1 to {MAX_SEEDS}, --for above 0", output.USAGE)
    first = 1 if seed is None else seed
    runs = [
        SeedRun(path, each, for_s, faults, settings=changed, history=history)  # type: ignore[arg-type]
        for each in range(first, first + count)
    ]
    condition = condition_of("--break", break_text)
    if condition is not None:
        break_at(runs, condition, as_json=as_json)
        return
    if history:
        _make_folder(history)
    output.note(
        f"{topology.name}: {_seeds(runs)}, {for_s:g} s each, faults: {faults} ({_versions()})"
    )
    done = Campaign(topology, jobs or os.cpu_count() or 1, fail_fast=fail_fast)
    done.run(runs)
    while until_reached and done.goes_on and done.never and len(done.results) < MAX_SEEDS:
        runs = [replace(run, seed=run.seed + count) for run in runs]
        done.run(runs)
    shrunk = _shrink(done.failing) if shrink and not done.interrupted else []
    record = done.record(shrunk)
    if as_json:
        output.result(record)
    _tell(done.failing, shrunk, record)
    if junit:
        write_junit(junit, topology.name, _cases(done, strict), record["wall_s"])
    if done.failing or record["not_run"] or (strict and record["undecided"]):
        raise typer.Exit(output.VERDICT_FAILED)
    if done.interrupted:
        raise typer.Exit(output.INTERRUPTED)


class Campaign:
    """The seeds that were run so far, and what they came to."""

    def __init__(
        self, topology: Topology, jobs: int, *, fail_fast: bool, words: str = "simulating"
    ) -> None:
        self._words = words
        self._topology = topology
        self._jobs = jobs
        self._fail_fast = fail_fast
        self._began_s = time.perf_counter()
        self.results: list[SeedResult] = []
        self.failing: list[tuple[SeedRun, SeedResult]] = []
        self.interrupted = False

    @property
    def goes_on(self) -> bool:
        return not self.failing and not self.interrupted

    @property
    def never(self) -> list[str]:
        from emu.seeds import campaign

        return campaign.never(self._topology, campaign.reached(self.results))

    def run(self, runs: list[SeedRun]) -> None:
        """All of them, with a bar on stderr where somebody watches."""
        from emu.seeds.campaign import run_all

        ended: dict[int, SeedResult] = {}
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=output.err, transient=True,
            disable=not output.err.is_terminal,
        )  # fmt: skip
        with bar:
            task = bar.add_task(self._words, total=len(runs))

            def count(result: SeedResult) -> bool:
                ended[result.seed] = result
                failed = sum(bool(each.anomaly) for each in ended.values())
                more = f", [red]{failed} failed[/]" if failed else ""
                bar.update(task, advance=1, description=self._words + more)
                return self._fail_fast and failed > 0

            try:
                run_all(runs, self._jobs, count)
            except KeyboardInterrupt:
                self.interrupted = True
        for run in runs:
            if run.seed in ended:
                self.results.append(ended[run.seed])
                if ended[run.seed].anomaly:
                    self.failing.append((run, ended[run.seed]))

    def record(self, shrunk: list[Shrunk]) -> dict[str, Any]:
        """What `--json` prints."""
        from emu.seeds import campaign

        results = self.results
        return {
            "seeds": len(results),
            "failed": [_failure(run, each, shrunk) for run, each in self.failing],
            "counted": campaign.counted(results),
            "undecided": [each.seed for each in results if each.undecided],
            "not_run": campaign.not_run(results),
            "injected": campaign.injected(results),
            "judged": campaign.judged(results),
            "reached": campaign.reached(results),
            "never": self.never,
            "virtual_s": round(sum(each.virtual_s for each in results), 3),
            "wall_s": round(time.perf_counter() - self._began_s, 3),
            "messages": sum(each.messages for each in results),
            "digest": campaign.digest_of(results),
            "versions": campaign.versions(),
        }


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
    from emu.seeds.campaign import versions

    return ", ".join(f"{name} {number}" for name, number in versions().items())


def _make_folder(history: str) -> None:
    try:
        Path(history).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        output.fail(f"--history {history}: {error.strerror}")


def _seeds(runs: list[SeedRun]) -> str:
    first, last = runs[0].seed, runs[-1].seed
    return f"seed {first}" if first == last else f"seeds {first} to {last}"


def _shrink(failing: list[tuple[SeedRun, SeedResult]]) -> list[Shrunk]:
    from emu.seeds import campaign
    from emu.topology.writing import timeline_yaml

    found = []
    for run, result in failing[:SHRUNK_SEEDS]:
        if not result.faults:
            continue
        output.note(f"seed {run.seed} failed under {result.faults} faults: looking for fewer ...")
        fewer = campaign.shrink(replace(run, history=""), result.kind)
        items = campaign.faults_of(fewer)
        found.append(Shrunk(run.seed, len(items), result.faults, timeline_yaml(items)))
    return found


def _failure(run: SeedRun, result: SeedResult, shrunk: list[Shrunk]) -> dict[str, Any]:
    from emu.seeds.campaign import replay_line

    found = {
        "seed": run.seed,
        "anomaly": result.anomaly,
        "replay": replay_line(run),
        "kind": result.kind,
        "operations": list(result.operations),
    }
    for each in shrunk:
        if each.seed == run.seed:
            found["fewest_faults"] = each.yaml
    return found


def _tell(
    failing: list[tuple[SeedRun, SeedResult]], shrunk: list[Shrunk], record: dict[str, Any]
) -> None:
    """For the person who watches."""
    from emu.seeds.campaign import replay_line

    for run, result in failing:
        output.note(f"seed {run.seed} FAILED  {result.anomaly}", style="bold red")
        for line in result.operations[:SHOWN_OPERATIONS]:
            output.note(f"    {line}")
        output.note(f"  replay: {replay_line(run)}")
        output.note(f"  look:   {replay_line(run, 'trace')}")
    for each in shrunk:
        output.note(_fewest(each))
    for each in record["counted"]:
        lost = "" if each["lost"] is None else f", {each['lost']} acknowledged writes lost"
        what = f"{each['anomalies']} anomalies in {each['operations']:,} operations{lost}"
        output.note(f"{each['clients']}: {what} (permitted: {each['permitted']})")
    for each in record["not_run"]:
        output.note(f"did not happen in any seed: {each}", style="bold red")
    if record["injected"]:
        output.note(f"injected: {_counts(record['injected'])}")
    if record["judged"]:
        output.note(f"judged: {_counts(record['judged'])} operations")
    if record["reached"] or record["never"]:
        _tell_reached(record["reached"], record["never"])
    if record["undecided"]:
        output.note(f"undecided (too long to check): seeds {record['undecided']}", style="yellow")
    speed = record["virtual_s"] / max(record["wall_s"], 1e-9)
    output.note(
        f"{record['seeds']} seeds, {len(failing)} failed; {record['virtual_s']:,.0f} virtual "
        f"seconds in {duration(record['wall_s'])} ({speed:.0f} times real time), "
        f"{record['messages']:,} messages"
    )
    output.note(f"digest {record['digest']}")


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{times:,} {name}" for name, times in counted.items())


def _fewest(found: Shrunk) -> str:
    """What it takes to make a seed fail."""
    if not found.faults:
        return f"seed {found.seed} fails without any of its {found.of} faults"
    one = "this one of" if found.faults == 1 else f"these {found.faults} of"
    return f"seed {found.seed} fails with {one} its {found.of} faults:\n{found.yaml}"


def _tell_reached(reached: dict[str, int], never: list[str]) -> None:
    """What the campaign met of the states that matter, and what it says nothing about."""
    output.note(f"met {len(reached)} of {len(reached) + len(never)} states that matter")
    for state, times in list(reached.items())[-RAREST_SHOWN:]:
        output.note(f"  {times:>7,} × {state}", style="dim")
    for state in never:
        output.note(f"    never   {state}", style="yellow")
