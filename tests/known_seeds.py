"""`python -m tests.known_seeds [WORD ...]`: renew the runs that are known to find planted bugs.

CI looks only where a bug was found before (tests/planting.py), so it says when a change of the code
has dealt other cards. Here the known runs are tried again, and others are looked for in their
place: in all rooms, in those that are named, or for the bugs whose sentences are given. Bugs that
are known to be missed are looked for only where their sentences are given.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, Final

from tests.planting import KNOWN, MOST_SEEDS, Known, Named, Room, planted

ROOMS: Final = (
    "tests.sim.test_planted_bugs",
    "tests.sim.test_balancer_planted",
    "tests.sim.test_cache_planted",
    "tests.sim.test_cdn_planted",
    "tests.sim.test_kv_planted",
    "tests.sim.test_dns_planted",
    "tests.sim.test_planted_operations",
    "tests.sim.test_queue_planted",
    "tests.sim.test_regions_planted",
    "tests.sim.test_scaling_planted",
    "tests.sim.test_worker_planted",
)
"""Modules with a `ROOM`."""
WANTED: Final = 3
"""Known runs of a bug: one may become stale, but rarely all of them do."""
SHORT_SEEDS: Final = 30
"""So many are tried in short runs first, which cost less."""


def rooms() -> list[Room]:
    return [importlib.import_module(name).ROOM for name in ROOMS]


def renewed(room: Room, bug: Named, *, wanted: int, seeds: int) -> list[Known]:
    """Runs that find the bug, and nothing in the true code, those first that cost least: what is
    known and still does, and others in its place."""
    found: list[tuple[float, Known]] = []
    for candidate in _candidates(room, bug, seeds):
        if len(found) >= wanted:
            break
        if candidate.seed not in {run.seed for _, run in found}:
            found += _shortest(room, bug, candidate)
    return [run for _, run in sorted(found)]


def _candidates(room: Room, bug: Named, seeds: int) -> Iterator[Known]:
    """What is known; a few seeds in the shortest runs; then as many as may be, at full length."""
    yield from room.known(bug) or ()
    for hunt in room.hunts(bug):
        shortest = next(hunt.shortened())
        if shortest.for_s < hunt.for_s:
            for seed in range(1, min(seeds, SHORT_SEEDS) + 1):
                yield Known(seed, shortest.for_s, hunt.faults)
        for seed in range(1, seeds + 1):
            yield Known(seed, hunt.for_s, hunt.faults)


def _shortest(room: Room, bug: Named, candidate: Known) -> list[tuple[float, Known]]:
    """The same seed, in the shortest run that finds the bug, if one does, and what it cost. In the
    true code it must find nothing: a run that is cut short may not keep what its file expects."""
    lengths_s = [
        each.for_s
        for hunt in room.hunts(bug)
        if hunt.faults == candidate.faults
        for each in hunt.shortened()
        if each.for_s <= candidate.for_s
    ]
    for for_s in lengths_s or [candidate.for_s]:
        run = candidate._replace(for_s=for_s)
        began_s = time.process_time()
        with planted(bug.plant):
            found = room.anomaly(bug, run)
        cost_s = time.process_time() - began_s
        if found and not room.anomaly(bug, run):
            return [(cost_s, run)]
    return []


def _chosen(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Places of rooms and of their bugs: bugs themselves are functions that no process can send."""
    for place, room in enumerate(rooms()):
        for number, bug in enumerate(room.bugs):
            missed = room.known(bug) == []
            if bug.sentence in words or (not missed and (not words or room.name in words)):
                yield place, number


def _renewed_at(place: int, number: int, wanted: int, seeds: int) -> list[Known]:
    room = rooms()[place]
    return renewed(room, room.bugs[number], wanted=wanted, seeds=seeds)


def write(table: dict[str, dict[str, Any]]) -> None:
    """In the order of names, a line for each bug."""
    parts = []
    for name, bugs in sorted(table.items()):
        lines = [f"{json.dumps(each)}: {json.dumps(bugs[each])}" for each in sorted(bugs)]
        parts.append(f"{json.dumps(name)}: {{\n  " + ",\n  ".join(lines) + "\n}")
    made = KNOWN.with_suffix(".new")  # at once: those who look for others read it meanwhile
    made.write_text("{" + ",\n".join(parts) + "}\n")
    made.replace(KNOWN)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.known_seeds", description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="a room's name or a bug's sentence"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS, help="how many are tried")
    parser.add_argument("--wanted", type=int, default=WANTED, help="how many runs of each bug")
    asked = parser.parse_args()
    made = rooms()
    table = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    with ProcessPoolExecutor(asked.jobs, get_context("spawn")) as pool:
        futures: dict[Future[list[Known]], tuple[Room, Named]] = {
            pool.submit(_renewed_at, place, number, asked.wanted, asked.seeds): (
                made[place], made[place].bugs[number],
            )
            for place, number in _chosen(asked.words)
        }  # fmt: skip
        for future in as_completed(futures):
            room, bug = futures[future]
            known = future.result()
            told = ", ".join(f"{each.seed} ({each.for_s:g} s)" for each in known) or "none"
            print(f"{room.name}: {bug.sentence}: {told}", flush=True)
            table.setdefault(room.name, {})[bug.sentence] = known
            write(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
