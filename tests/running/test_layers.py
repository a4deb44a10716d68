"""A setting that several faults change at a time is, after them, what it was before them."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from emu.model.faults import Cpu, Disk, Fault, Late, Skew, Storage
from emu.scenario import Scenario, run
from emu.topology.loading import loads

FILE = "tiers: {box: {kind: web, cpu: {cores: 2, service_time: 1ms}, clock: {drift: 1e-4}}}"
SETTINGS = (
    ("cpu", [Cpu("box", cores=1), Cpu("box", cores=4), Cpu("box", cores=8)]),
    ("disk", [Disk("box", slow_factor=10), Disk("box", full=True), Disk("box", slow_factor=3)]),
    ("fails", [Disk("box", fail="reads"), Disk("box", fail="both"), Disk("box", fail="writes")]),
    ("storage", [Storage("box", capacity_bytes=size) for size in (1 << 20, 1 << 21, 1 << 25)]),
    ("clock", [Skew("box", step_s=5), Skew("box", drift_ratio=0.01), Skew("box", step_s=-1)]),
    ("late", [Late("box", up_to_s=size_s) for size_s in (0.1, 0.5, 0.2)]),
)


def _settings(c: Scenario) -> list[Any]:
    handle = c.cluster.instances["box-1"].handle
    disk, clock = handle.disk, handle.clock
    names = "slow_factor fail_reads fail_writes full bandwidth_bytes_per_s capacity_bytes"
    ahead_s = round(clock.wall_s() - c.cluster.world.timers.now_s(), 1)
    return [handle.cores, *(getattr(disk, name) for name in names.split()), clock._rate,
            clock._late_s, ahead_s]  # fmt: skip


@pytest.mark.parametrize(("what", "faults"), SETTINGS)
def test_faults_of_one_setting_end_in_any_order(what: str, faults: list[Fault]) -> None:
    async def script(c: Scenario) -> None:
        before = _settings(c)
        for order in permutations(range(len(faults))):
            numbers = [await c.cluster.inject(each) for each in faults]
            for place in order:
                assert _settings(c) != before, (what, order)
                await c.cluster.undo(numbers[place])
            assert _settings(c) == before, (what, order)

    run(script, loads(FILE))


def test_the_newest_that_is_active_holds() -> None:
    async def script(c: Scenario) -> None:
        handle = c.cluster.instances["box-1"].handle
        two, six, one = [await c.cluster.inject(Cpu("box", cores=n)) for n in (3, 6, 1)]
        assert handle.cores == 1
        await c.cluster.undo(six)
        assert handle.cores == 1
        await c.cluster.undo(one)
        assert handle.cores == 3
        await c.cluster.undo(two)
        assert handle.cores == 2

    run(script, loads(FILE))


def test_a_fault_of_a_disk_takes_no_other_away() -> None:
    async def script(c: Scenario) -> None:
        disk = c.cluster.instances["box-1"].handle.disk
        await c.cluster.inject(Disk("box", slow_factor=10))
        full = await c.cluster.inject(Disk("box", full=True))
        assert (disk.slow_factor, disk.full) == (10, True)
        await c.cluster.undo(full)
        assert (disk.slow_factor, disk.full) == (10, False)

    run(script, loads(FILE))
