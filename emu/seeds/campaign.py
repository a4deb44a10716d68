"""Many seeds, in several processes, and what they come to; and the shortest list of faults that
still makes a failing seed fail.

Results are in the order of the seeds and do not depend on how many processes there were.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import multiprocessing.connection
import os
import shlex
import signal
import threading
from collections import Counter
from collections.abc import Callable, Container, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from emu.children import safely_spawned
from emu.machine import reach, units
from emu.model.topology import FaultItem, Tier, Topology
from emu.seeds import elsewhere
from emu.seeds.run import SeedResult, SeedRun, run_seed, staged
from emu.topology import shipped

SHRINK_RUNS: Final = 40
"""Runs that shrinking one seed may take."""

Run = Callable[[SeedRun], SeedResult]


def run_all(
    runs: Sequence[SeedRun], jobs: int, on_result: Callable[[SeedResult], object], *, on: str = ""
) -> list[SeedResult]:
    """Run every seed, in this process if there is one job; the results in the order of the seeds.
    `on`: the workers elsewhere that do it (`dask://HOST:PORT`).

    `on_result` hears of each as it ends; once it answers True no more are begun. An interrupted
    campaign (Ctrl-C) raises KeyboardInterrupt when those under way have ended.
    """
    found: dict[int, SeedResult] = {}
    if on:
        made = elsewhere.results(runs, on)
    else:
        made = _one_after_the_other(runs) if jobs <= 1 else _in_processes(runs, jobs)
    with closing(made) as results:
        for result in results:
            found[result.seed] = result
            if on_result(result) is True:
                break
    return [found[run.seed] for run in runs if run.seed in found]


def _one_after_the_other(runs: Sequence[SeedRun]) -> Generator[SeedResult, None, None]:
    """In this process, one after the other."""
    for run in runs:
        yield run_seed(run)


def _in_processes(runs: Sequence[SeedRun], jobs: int) -> Generator[SeedResult, None, None]:
    """In the order in which they end."""
    # spawn: a forked process would inherit whatever this one has, and runs must not depend on that
    with safely_spawned():
        pool = ProcessPoolExecutor(
            min(jobs, len(runs)), multiprocessing.get_context("spawn"), initializer=_obey_parent
        )
    try:
        with safely_spawned():  # with the first of its work
            futures = [pool.submit(run_seed, run) for run in runs]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _obey_parent() -> None:
    """Ctrl-C reaches every process of a terminal: the campaign's own says what becomes of it. Where
    that one was killed nobody can say anything: this one ends, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def counted(results: Iterable[SeedResult]) -> list[dict[str, Any]]:
    """What the clients of all seeds saw that was not promised to them: a line for each of their
    tiers whose anomalies are permitted."""
    found: dict[str, dict[str, Any]] = {}
    for judged in (
        each for result in results if result.summary for each in result.summary["judged"]
    ):
        if judged["permitted"]:
            nothing = {"clients": judged["clients"], "permitted": judged["permitted"]}
            line = found.setdefault(
                judged["clients"], {**nothing, "operations": 0, "anomalies": 0, "lost": None}
            )
            line["operations"] += judged["operations"]
            line["anomalies"] += judged["anomalies"]
            if judged["lost"] is not None:
                line["lost"] = (line["lost"] or 0) + judged["lost"]
    return list(found.values())


def injected(results: Iterable[SeedResult]) -> dict[str, int]:
    """How many faults and operations there were in all seeds, by verb."""
    verbs = (each["verb"] for result in results if result.summary
             for each in result.summary["faults"])  # fmt: skip
    return dict(Counter(verbs).most_common())


def judged(results: Iterable[SeedResult]) -> dict[str, int]:
    """How many operations of clients each model has judged."""
    found = Counter[str]()
    for result in results:
        for each in result.summary["judged"] if result.summary else ():
            found[each["model"]] += each["operations"]
    return dict(found.most_common())


def not_run(results: Sequence[SeedResult]) -> list[str]:
    """What the file's own timeline asks for, and no seed has done."""
    told: list[list[str]] = [each.summary["not_run"] for each in results if each.summary]
    first, *others = told or [[]]
    return [text for text in first if all(text in each for each in others)]


def reached(results: Iterable[SeedResult]) -> dict[str, int]:
    """How often the seeds met each state that matters, the rarest last."""
    found: dict[str, int] = {}
    for result in results:
        for state, times in result.reached.items():
            found[state] = found.get(state, 0) + times
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def never(topology: Topology, met: Container[str]) -> list[str]:
    """What this topology's tiers, and the world, are to be met in, and were not."""
    wanted = dict.fromkeys(state for tier in topology.tiers for state in _reaches(tier))
    stores = any(tier.kind.stores for tier in topology.tiers)
    world = (*reach.LINKS, *(reach.DISKS if stores else ()))
    return [state for state in (*wanted, *world) if state not in met]


def _reaches(tier: Tier) -> tuple[str, ...]:
    together = tier.kind.reaches_together if len(tier.members) > 1 else ()
    return (*tier.kind.reaches, *together)


def identity(run: SeedRun) -> str:
    """What a campaign's parts have in common: the file's text, time, faults, settings."""
    text = shipped.find(run.path).read_bytes() if not run.text else run.text.encode()
    said = f"{run.for_s}/{run.faults}/{run.settings}"
    return hashlib.sha256(text + said.encode()).hexdigest()[:16]


def replay_line(run: SeedRun, verb: str = "sim") -> str:
    """The command that runs this seed again (`trace`: and draws its messages)."""
    for_text = units.format_value("for_s", run.for_s)
    words = [run.path, *(f"--set={each}" for each in run.settings)]
    file = " ".join(shlex.quote(word) for word in words)
    return f"emu {verb} {file} --seed {run.seed} --for {for_text} --faults {run.faults}"


# --- shrinking -------------------------------------------------------------------------------


def shrink(
    run: SeedRun, kind: str, *, most_runs: int = SHRINK_RUNS, run_one: Run = run_seed
) -> SeedRun:
    """Drop faults while the run still fails in the same way (`kind`), in at most so many runs.

    First none at all is tried, then without halves, quarters, down to single faults.
    """
    kept = tuple(range(len(faults_of(run))))
    size = len(kept)
    while kept and size and most_runs > 0:
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            most_runs -= 1
            if run_one(replace(run, only=fewer)).kind == kind:
                kept = fewer
                size = min(size, len(kept))
                break
            if most_runs <= 0:
                break
        else:
            size //= 2
    return replace(run, only=kept)


def faults_of(run: SeedRun) -> tuple[FaultItem, ...]:
    """The timeline of a run, for people."""
    return staged(run)[1]
