"""How a bug is planted: one method of the true code is swapped for a wrong one, and swapped back.

No product code has a switch for this. A room of bugs is a list of `Bug`s, each a sentence and a
function that does the swapping; whoever hunts them runs the ordinary machinery inside `planted`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from emu.seeds.campaign import run_all
from emu.seeds.run import SeedRun

Swap = pytest.MonkeyPatch
Plant = Callable[[Swap], None]


class Bug(NamedTuple):
    """`sentence` says what is wrong; `plant(swap)` makes it so, by `swap.setattr` and the like."""

    sentence: str
    plant: Plant


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


def alarms(runs: Sequence[SeedRun]) -> list[str]:
    """What is found wrong with the true code, a line for each seed; hopefully nothing."""
    results = run_all(runs, os.cpu_count() or 1, lambda result: None)
    return [f"seed {each.seed}: {each.kind}: {each.anomaly}" for each in results if each.anomaly]


class Unlike:
    """An object like another, but for what is named."""

    def __init__(self, original: Any, **changed: Any) -> None:
        vars(self).update(changed)
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)
