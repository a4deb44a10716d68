"""A second run on the same disks finds what the first wrote, and takes none of it for its own."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from emu.model.kinds import known_kinds
from nodes.wire.directory import Directory
from nodes.workloads import Setting
from nodes.workloads.base import Options, Step
from tests.nodes.harness import MemoryWorld

SHARED = ("balances", "transfer")
"""The accounts of a bank stay: in every run they hold as much together."""
NEVER_WRITTEN = ("hot",)
OF_PAGES = ("pages",)
WORKLOADS = {
    name: make
    for kind in known_kinds().values()
    for name, make in kind.workloads.items()
    if name not in OF_PAGES
}


async def first_steps(name: str, run: str) -> list[Step]:
    async with trio.open_nursery() as nursery:
        ctx: Any = MemoryWorld(nursery).context("clients-1")
        ctx.run = run
        made = WORKLOADS[name](Setting(ctx, nursery, Directory(ctx, nursery), Options("asked")))
        rng = random.Random(3)
        steps = [made.next(rng, number) for number in range(1, 200)]
        nursery.cancel_scope.cancel()
    return steps


def objects_of(steps: list[Step]) -> set[str]:
    """What is told apart: the key where there is one, what is written where it is a name."""
    kept = [step for step in steps if step.f not in SHARED and step.key not in NEVER_WRITTEN]
    if all(step.reads for step in kept):
        return set()
    values = {step.value for step in kept if isinstance(step.value, str)}
    return values or {str(step.key) for step in kept}


@pytest.mark.parametrize("name", WORKLOADS)
async def test_no_value_of_another_run_is_written_again(name: str) -> None:
    first, second = await first_steps(name, "1a"), await first_steps(name, "2b")
    assert len(first) == len(second) == 199
    assert objects_of(first).isdisjoint(objects_of(second))


@pytest.mark.parametrize("name", ["register", "append", "set", "lookaside"])
async def test_no_key_of_another_run_is_used_again(name: str) -> None:
    first, second = await first_steps(name, "1a"), await first_steps(name, "2b")
    assert {step.key for step in first}.isdisjoint({step.key for step in second})
