"""How a bug is planted: one method of the true code is swapped for a wrong one, and swapped back.

No product code has a switch for this. A room of bugs is a list of `Bug`s, each a sentence and a
function that does the swapping; whoever hunts them runs the ordinary machinery inside `planted`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import pytest

from emu.seeds.campaign import run_all
from emu.seeds.run import FaultSource, SeedRun, run_seed

Swap = pytest.MonkeyPatch
Plant = Callable[[Swap], None]


MOST_SEEDS: Final = 200
"""A bug that so many do not find is not found."""
LENGTHS_S: Final = (4.0, 6.0, 8.0, 16.0)
"""Virtual seconds: a bug that shows so early needs no longer run."""
KNOWN: Final = Path(__file__).parent / "sim" / "planted" / "known_seeds.json"
"""{room: {sentence: [[seed, for_s, faults], ...]}}, as `python -m tests.known_seeds` wrote it."""


class Named(Protocol):
    """Any bug: some say more of themselves."""

    @property
    def sentence(self) -> str: ...
    @property
    def plant(self) -> Plant: ...


class Bug(NamedTuple):
    """`sentence` says what is wrong; `plant(swap)` makes it so, by `swap.setattr` and the like."""

    sentence: str
    plant: Plant


def listed(bugs: list[Any], make: Callable[..., Any], *more: Any) -> Callable[[Plant], Plant]:
    """List the function under its docstring."""

    def add(plant: Plant) -> Plant:
        assert plant.__doc__ is not None
        bugs.append(make(plant.__doc__, plant, *more))
        return plant

    return add


@contextmanager
def planted(plant: Plant) -> Iterator[None]:
    """Inside, the code has the bug."""
    with pytest.MonkeyPatch.context() as swap:
        plant(swap)
        yield


def first_found(plant: Plant, anomaly: Callable[[int], str], seeds: Iterable[int]) -> int | None:
    """The first seed under which something is found wrong with this bug in the code."""
    with planted(plant):
        return next((seed for seed in seeds if anomaly(seed)), None)


class Campaign(NamedTuple):
    """What `emu sim` runs of one topology: its own load, faults and verdict."""

    topology: Path
    for_s: float
    faults: FaultSource = "swarm"

    def run(self, seed: int) -> SeedRun:
        return SeedRun(str(self.topology), seed, self.for_s, self.faults)

    def anomaly(self, seed: int) -> str:
        return run_seed(self.run(seed)).anomaly

    def finds(self, bug: Named, seeds: Iterable[int]) -> int | None:
        return first_found(bug.plant, self.anomaly, seeds)

    def alarms(self, seeds: int) -> list[str]:
        """What is found wrong with the true code, a line for each seed; hopefully nothing."""
        runs = [self.run(seed) for seed in range(1, seeds + 1)]
        results = run_all(runs, os.cpu_count() or 1, lambda result: None)
        return [
            f"seed {each.seed}: {each.kind}: {each.anomaly}" for each in results if each.anomaly
        ]

    def shortened(self) -> Iterator[Campaign]:
        """It, and before it as it would be if it ended earlier: a bug may show there already."""
        for for_s in LENGTHS_S:
            if for_s < self.for_s:
                yield self._replace(for_s=for_s)
        yield self


class Script(NamedTuple):
    """A hunt of a room's own: what is wrong under a seed, "" if nothing is."""

    anomaly: Callable[[int], str]
    for_s: float = 0.0
    faults: str = ""

    def finds(self, bug: Named, seeds: Iterable[int]) -> int | None:
        return first_found(bug.plant, self.anomaly, seeds)

    def alarms(self, seeds: int) -> list[str]:
        """As a Campaign's."""
        found = ((seed, self.anomaly(seed)) for seed in range(1, seeds + 1))
        return [f"seed {seed}: {each}" for seed, each in found if each]

    def shortened(self) -> Iterator[Script]:
        """It is as long as it is."""
        yield self


Hunt = Campaign | Script


class Known(NamedTuple):
    """A run that found a bug when it was last looked for, and nothing in the true code."""

    seed: int
    for_s: float = 0.0
    faults: str = ""


class Room(NamedTuple):
    """Bugs that CI looks for, and the hunts that may find each."""

    name: str
    bugs: Sequence[Named]
    hunts: Callable[[Any], Sequence[Hunt]]

    def known(self, bug: Named) -> list[Known] | None:
        """The runs that are known to find it, the cheapest first; None: nobody has looked."""
        found = json.loads(KNOWN.read_text()).get(self.name, {}).get(bug.sentence)
        return None if found is None else [Known(*each) for each in found]

    def anomaly(self, bug: Named, known: Known) -> str:
        """What that run finds, with whatever is planted by now."""
        for hunt in self.hunts(bug):
            if hunt.faults == known.faults:
                hunt = hunt._replace(for_s=known.for_s)
                return hunt.anomaly(known.seed)
        raise ValueError(f"no hunt for {bug.sentence!r} has the faults {known.faults!r}")


def look_again(room: Room, bug: Named) -> None:
    """Look where the bug was found before, and nowhere else: each known run only where the one
    before it has become stale, since any change of the code deals other cards."""
    known = room.known(bug)
    renew = f"python -m tests.known_seeds {room.name}"
    assert known is not None, f"no run is known to find it: `{renew}` looks for some"
    if not known:
        pytest.xfail("no run is known yet that finds it: `make soak` hunts it in 200 seeds")
    with planted(bug.plant):
        found = any(room.anomaly(bug, each) for each in known)
    seeds = ", ".join(str(each.seed) for each in known)
    assert found, f"seeds {seeds} no longer find it: `{renew}` looks for others"


def among(bugs: Sequence[Any], sentences: Iterable[str]) -> list[Any]:
    """The bugs that these tell of."""
    return [each for each in bugs if each.sentence in sentences]


def each_of(bugs: Sequence[Named], only: Iterable[str] | None = None) -> pytest.MarkDecorator:
    """A test for each bug (of these sentences), called by its sentence."""
    chosen = bugs if only is None else among(bugs, only)
    return pytest.mark.parametrize("bug", chosen, ids=[each.sentence for each in chosen])


def hunt(
    bug: Named, finds: Callable[[Any, Iterable[int]], int | None], missed: Mapping[str, str] = {}
) -> None:
    """It must be found in MOST_SEEDS, unless it is known to be missed, and why."""
    if bug.sentence in missed:
        pytest.xfail(missed[bug.sentence])
    seed = finds(bug, range(1, MOST_SEEDS + 1))
    print(f"seed {seed}: {bug.sentence}")
    assert seed is not None


class Unlike:
    """An object like another, but for what is named."""

    def __init__(self, original: Any, **changed: Any) -> None:
        vars(self).update(changed)
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)
