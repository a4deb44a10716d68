"""A campaign of seeds on the command line: run with a bar, put into one record, and told.

What is told is read off the record, whether it was made here or is merged from several.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emu.cli import output
from emu.observe.shown import duration

if TYPE_CHECKING:
    from emu.model.topology import Topology
    from emu.seeds.run import SeedResult, SeedRun

SHOWN_OPERATIONS: Final = 12
FEW_SEEDS: Final = 20
"""Of fewer it is no news that they do not meet everything."""
RAREST_SHOWN: Final = 5
"""Of the states that were met; `--json` has all."""
SHRUNK_SEEDS: Final = 1
"""How many of the failing seeds are shrunk: each costs up to 40 more runs."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The fewest faults that still make a seed fail."""

    seed: int
    faults: int
    of: int
    yaml: str


class Campaign:
    """The seeds that were run so far, and what they came to."""

    def __init__(
        self,
        topology: Topology,
        jobs: int,
        *,
        fail_fast: bool = False,
        words: str = "simulating",
        on: str = "",
    ) -> None:
        """`jobs` 0: a process for each core. `on`: where else, as `dask://HOST:PORT`."""
        self._words = words
        self._on = on
        self.identity = ""
        """What its parts have in common, wherever they ran."""
        self._topology = topology
        self._jobs = jobs or os.cpu_count() or 1
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
        from emu.seeds.campaign import identity, run_all
        from emu.seeds.elsewhere import Unfit

        self.identity = identity(runs[0])

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
                with _terminated_as_interrupted():
                    run_all(runs, self._jobs, count, on=self._on)
            except KeyboardInterrupt:
                self.interrupted = True
            except (Unfit, OSError) as error:
                output.fail(str(error), output.USAGE)
        for run in runs:
            if run.seed in ended:
                self.results.append(ended[run.seed])
                if ended[run.seed].anomaly:
                    self.failing.append((run, ended[run.seed]))

    def record(self, shrunk: list[Shrunk]) -> dict[str, Any]:
        """What `--json` prints."""
        from emu.seeds import campaign, merging
        from emu.versions import versions

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
            "digest": merging.digest_of(each.digest for each in results),
            "digests": {str(each.seed): each.digest for each in results},
            "campaign": self.identity,
            "versions": versions(),
        }


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """What `timeout` and CI systems send tells what was run, as Ctrl-C does."""
    before = signal.getsignal(signal.SIGTERM)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def shrink(failing: list[tuple[SeedRun, SeedResult]]) -> list[Shrunk]:
    from emu.seeds import campaign
    from emu.topology.writing import timeline_yaml

    found = []
    for run, result in failing[:SHRUNK_SEEDS]:
        if not result.faults:
            continue
        output.note(f"seed {run.seed} failed under {result.faults} faults: looking for fewer ...")
        try:
            fewer = campaign.shrink(replace(run, history=""), result.kind)
        except KeyboardInterrupt:
            output.note("interrupted: not looked for any more")
            break
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


def tell(record: Mapping[str, Any]) -> None:
    """For the person who watches."""
    for each in record["failed"]:
        output.note(f"seed {each['seed']} FAILED  {each['anomaly']}", style="bold red")
        for line in each["operations"][:SHOWN_OPERATIONS]:
            output.note(f"    {line}")
        output.note(f"  replay: {each['replay']}")
        output.note(f"  look:   {each['replay'].replace('emu sim', 'emu trace', 1)}")
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
        _tell_reached(record["reached"], record["never"], record["seeds"])
    if record["undecided"]:
        output.note(f"undecided (too long to check): seeds {record['undecided']}", style="yellow")
    speed = record["virtual_s"] / max(record["wall_s"], 1e-9)
    seeds = "seed" if record["seeds"] == 1 else "seeds"
    output.note(
        f"{record['seeds']} {seeds}, {len(record['failed'])} failed; {record['virtual_s']:,.0f} "
        f"virtual seconds in {duration(record['wall_s'])} ({speed:.0f} times real time), "
        f"{record['messages']:,} messages"
    )
    output.note(f"digest {record['digest']}")


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{times:,} {name}" for name, times in counted.items())


def fewest(found: Shrunk) -> str:
    """What it takes to make a seed fail."""
    if not found.faults:
        return f"seed {found.seed} fails without any of its {found.of} faults"
    one = "this one of" if found.faults == 1 else f"these {found.faults} of"
    return f"seed {found.seed} fails with {one} its {found.of} faults:\n{found.yaml}"


def _tell_reached(reached: dict[str, int], never: list[str], seeds: int) -> None:
    """What the campaign met of the states that matter, and what it says nothing about."""
    output.note(f"met {len(reached)} of {len(reached) + len(never)} states that matter")
    for state, times in list(reached.items())[-RAREST_SHOWN:]:
        output.note(f"  {times:>7,} × {state}", style="dim")
    if never and seeds < FEW_SEEDS:
        told = f"the others are named where {FEW_SEEDS} seeds or more did not meet them"
        output.note(f"          {told}", style="dim")
        return
    for state in never:
        output.note(f"    never   {state}", style="yellow")
