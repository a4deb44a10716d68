"""The disk's model on both kinds of files, with timers advanced by hand."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import outcome
import pytest
import trio

from emu.live.files import LiveFiles, OpenFiles
from emu.machine.disk import MachineDisk, NodeDisk
from emu.machine.world import DiskSpec
from emu.sim.files import Habits, SimFiles
from nodes.base import Fenced
from nodes.metrics import Metrics
from tests.fakes import FakeTimers, a_life

SPEC = DiskSpec(
    sync_latency_s=0.01, read_latency_s=0.001, bandwidth_bytes_per_s=1000.0, capacity_bytes=5000
)


class Rig:
    def __init__(self, files) -> None:
        self.timers = FakeTimers()
        self.files = files
        self.machine = MachineDisk(files, self.timers, SPEC)
        self.boot()

    def boot(self) -> None:
        self.life = a_life()
        self.disk = NodeDisk(self.machine, self.life, Metrics())

    def crash(self) -> None:
        self.life.end(crash=True)
        self.machine.cut()
        self.boot()

    async def do(self, call, *args):
        """(result, seconds it took); the timers run until it is done."""
        begun_s = self.timers.now_s()
        outcomes = []

        async def run() -> None:
            try:
                outcomes.append(outcome.Value(await call(*args)))
            except Exception as error:
                outcomes.append(outcome.Error(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await self.timers.run_for(0.0)
            while not outcomes:
                await self.timers.run_until(self.timers.next_s())
        return outcomes[0].unwrap(), self.timers.now_s() - begun_s


@pytest.fixture(params=["live", "sim"])
def rig(request, tmp_path):
    if request.param == "live":
        files = LiveFiles(tmp_path / "node-1", OpenFiles(most=2))
    else:
        files = SimFiles("node-1", random.Random(1))
    yield Rig(files)
    files.close()


@pytest.fixture
def rigs(tmp_path):
    """Many simulated rigs, each with its own seed, and one live: what must hold for all."""
    made = [Rig(SimFiles("node-1", random.Random(seed))) for seed in range(60)]
    made.append(Rig(LiveFiles(tmp_path / "node-1", OpenFiles())))
    yield made
    made[-1].files.close()


async def test_what_was_synced_survives_a_power_cut_and_what_was_not_may_be_torn(rigs):
    ends = set()
    for rig in rigs:
        rig.disk.append("log", b"a" * 600)
        await rig.do(rig.disk.sync, "log")
        rig.disk.append("log", b"b" * 1200)
        rig.crash()
        data, _ = await rig.do(rig.disk.read, "log")
        assert data[:600] == b"a" * 600
        assert set(data[600:]) <= {0, ord("b")}
        assert rig.disk.size_bytes("log") == len(data) == rig.files.used_bytes
        ends.add(data[600:])
    assert b"" in ends
    assert b"b" * 1200 in ends
    assert any(0 < len(end) < 1200 for end in ends), "no torn length"
    assert any(end.rstrip(b"\0").find(b"\0") >= 0 for end in ends), "no hole before kept bytes"


async def test_appends_after_a_torn_tail_land_behind_it(rig):
    rig.disk.append("log", b"a" * 100)
    await rig.do(rig.disk.sync, "log")
    rig.disk.append("log", b"b" * 100)
    rig.crash()
    torn = rig.disk.size_bytes("log")
    assert rig.disk.append("log", b"c" * 10) == torn + 10
    await rig.do(rig.disk.sync, "log")
    rig.crash()
    data, _ = await rig.do(rig.disk.read, "log")
    assert data[:100] == b"a" * 100
    assert data[torn:] == b"c" * 10


async def test_a_killed_process_leaves_its_page_cache(rig):
    rig.disk.append("log", b"abc")
    rig.life.end(crash=False)
    with pytest.raises(Fenced):
        rig.disk.append("log", b"d")
    rig.boot()
    assert (await rig.do(rig.disk.read, "log"))[0] == b"abc"


async def test_a_sync_takes_its_latency_and_its_bytes_time(rig):
    rig.disk.append("log", b"x" * 500)
    assert (await rig.do(rig.disk.sync, "log"))[1] == pytest.approx(0.51, abs=1e-3)
    assert (await rig.do(rig.disk.sync, "log"))[1] == pytest.approx(0.01, abs=1e-3)
    rig.machine.slow_factor = 10.0
    rig.disk.append("log", b"x" * 10)
    assert (await rig.do(rig.disk.sync, "log"))[1] == pytest.approx(0.2, abs=1e-3)
    assert (await rig.do(rig.disk.read, "log", 0, 5))[1] == pytest.approx(0.06, abs=1e-3)


async def test_files_share_the_bandwidth(rig, nursery):
    for name in ("one", "two"):
        rig.disk.append(name, b"x" * 100)
        nursery.start_soon(rig.disk.sync, name)
    await rig.timers.run_for(0.0)
    took_s = (await rig.do(rig.disk.read, "one", 0, 100))[1]
    assert took_s == pytest.approx(0.301, abs=1e-3)


async def test_one_sync_is_in_flight_and_latecomers_share_the_next(rig, nursery):
    ended = []

    async def sync(name: str) -> None:
        await rig.disk.sync("log")
        ended.append((name, round(rig.timers.now_s(), 6)))

    rig.disk.append("log", b"x")
    nursery.start_soon(sync, "first")
    await rig.timers.run_until(0.005)
    for name in ("second", "third", "fourth"):
        rig.disk.append("log", b"x")
        nursery.start_soon(sync, name)
        await rig.timers.run_for(0.0)
    await rig.timers.run_until(1.0)
    assert ended[0] == ("first", 0.011)
    assert sorted(ended[1:]) == [("fourth", 0.024), ("second", 0.024), ("third", 0.024)]


async def test_a_sync_covers_what_was_there_at_its_start(tmp_path, nursery):
    rig = Rig(LiveFiles(tmp_path, OpenFiles()))
    rig.disk.append("log", b"a")
    nursery.start_soon(rig.disk.sync, "log")
    await rig.timers.run_until(0.005)
    rig.disk.append("log", b"b")
    await rig.timers.run_until(0.02)
    rig.crash()
    assert (await rig.do(rig.disk.read, "log"))[0] == b"a"
    rig.files.close()


async def test_a_power_cut_during_a_sync_promises_nothing(rig, nursery):
    ended = []

    async def sync() -> None:
        with rig.life.scope:
            await rig.disk.sync("log")
            ended.append("synced")

    rig.disk.append("log", b"abc")
    nursery.start_soon(sync)
    await rig.timers.run_until(0.005)
    rig.crash()
    await rig.timers.run_until(1.0)
    assert ended == []


async def test_a_sync_that_a_power_cut_ended_covers_nothing_later(tmp_path, nursery):
    rig = Rig(LiveFiles(tmp_path, OpenFiles()))
    rig.disk.append("log", b"abc")
    nursery.start_soon(rig.disk.sync, "log")
    await rig.timers.run_until(0.005)
    rig.crash()
    assert rig.disk.append("log", b"xyz") == 3
    await rig.timers.run_until(1.0)
    rig.crash()
    assert rig.disk.size_bytes("log") == 0
    rig.files.close()
    nursery.cancel_scope.cancel()


async def test_bytes_that_replace_a_cut_tail_are_not_taken_for_synced(tmp_path, nursery):
    rig = Rig(LiveFiles(tmp_path, OpenFiles()))
    rig.disk.append("log", b"a" * 10)
    nursery.start_soon(rig.disk.sync, "log")
    await rig.timers.run_until(0.001)
    nursery.start_soon(rig.disk.truncate, "log", 4)
    await rig.timers.run_until(0.002)
    rig.disk.append("log", b"b" * 6)
    await rig.timers.run_until(1.0)
    rig.crash()
    assert (await rig.do(rig.disk.read, "log"))[0] == b"aaaa"
    rig.files.close()


async def test_a_full_disk_refuses_appends_and_recovers(rig):
    rig.disk.append("log", b"x" * 4000)
    with pytest.raises(OSError) as caught:
        rig.disk.append("log", b"x" * 1001)
    assert caught.value.errno == errno.ENOSPC
    assert rig.disk.size_bytes("log") == 4000
    await rig.do(rig.disk.truncate, "log", 1000)
    assert rig.disk.append("log", b"y" * 1001) == 2001
    rig.machine.full = True
    with pytest.raises(OSError) as caught:
        rig.disk.append("log", b"x")
    assert caught.value.errno == errno.ENOSPC
    rig.machine.full = False
    await rig.do(rig.disk.remove, "log")
    assert rig.disk.append("other", b"z" * 5000) == 5000


async def test_a_failing_disk_answers_eio_and_leaves_what_it_failed_unsynced(rig, nursery):
    rig.disk.append("log", b"abc")
    rig.machine.fail_reads = True
    with pytest.raises(OSError) as caught:
        await rig.do(rig.disk.read, "log")
    assert caught.value.errno == errno.EIO
    errors = []

    async def sync() -> None:
        try:
            await rig.disk.sync("log")
        except OSError as error:
            errors.append(error.errno)

    nursery.start_soon(sync)
    await rig.timers.run_for(0.005)
    rig.machine.fail_writes = True
    await rig.timers.run_for(1.0)
    nursery.start_soon(sync)
    await rig.timers.run_for(1.0)
    assert errors == [errno.EIO, errno.EIO]
    with pytest.raises(OSError):
        rig.disk.append("log", b"d")
    rig.machine.fail_reads = rig.machine.fail_writes = False
    assert (await rig.do(rig.disk.read, "log"))[0] == b"abc"


async def test_an_awaited_rename_is_durable_and_replaces_at_once(rigs):
    for rig in rigs:
        for name, data in (("state", b"old"), ("state.new", b"new")):
            rig.disk.append(name, data)
            await rig.do(rig.disk.sync, name)
        await rig.do(rig.disk.rename, "state.new", "state")
        rig.crash()
        assert rig.disk.names() == ["state"]
        assert (await rig.do(rig.disk.read, "state"))[0] == b"new"
        assert rig.files.used_bytes == 3


async def test_a_rename_cut_short_leaves_the_old_file_or_the_new(nursery):
    seen = set()
    for seed in range(30):
        rig = Rig(SimFiles("node-1", random.Random(seed)))
        for name, data in (("state", b"old"), ("state.new", b"new")):
            rig.disk.append(name, data)
            await rig.do(rig.disk.sync, name)
        nursery.start_soon(rig.disk.rename, "state.new", "state")
        await rig.timers.run_for(0.001)
        rig.machine.cut()
        assert rig.files.names() in (["state"], ["state", "state.new"])
        seen.add(rig.files.read("state", 0, 3))
    assert seen == {b"old", b"new"}
    nursery.cancel_scope.cancel()


async def test_a_truncation_cut_short_may_come_back_but_never_half(nursery):
    seen = set()
    for seed in range(30):
        rig = Rig(SimFiles("node-1", random.Random(seed)))
        rig.disk.append("log", b"abcdef")
        await rig.do(rig.disk.sync, "log")
        nursery.start_soon(rig.disk.truncate, "log", 2)
        await rig.timers.run_for(0.001)
        assert rig.disk.size_bytes("log") == 2
        rig.machine.cut()
        seen.add(rig.files.read("log", 0, 10))
        assert rig.files.used_bytes == rig.files.size_bytes("log")
    assert seen == {b"ab", b"abcdef"}
    nursery.cancel_scope.cancel()


async def test_a_removal_that_was_awaited_stays_removed(rigs):
    for rig in rigs:
        rig.disk.append("log", b"abc")
        await rig.do(rig.disk.sync, "log")
        await rig.do(rig.disk.remove, "log")
        rig.crash()
        assert rig.disk.names() == []
        with pytest.raises(FileNotFoundError):
            await rig.do(rig.disk.read, "log")


async def test_a_disk_that_lies_about_a_sync_may_lose_it():
    kept = 0
    for seed in range(30):
        rig = Rig(SimFiles("n", random.Random(seed), habits=Habits(lying_sync_ratio=1.0)))
        rig.disk.append("log", b"abc")
        await rig.do(rig.disk.sync, "log")
        rig.crash()
        kept += rig.disk.names() == ["log"] and rig.files.read("log", 0, 3) == b"abc"
    assert 0 < kept < 30


async def test_a_disk_with_late_syncs_is_late_but_honest():
    habits = Habits(late_sync_ratio=1.0, late_sync_s=5.0)
    rig = Rig(SimFiles("n", random.Random(3), habits=habits))
    rig.disk.append("log", b"abc")
    _, took_s = await rig.do(rig.disk.sync, "log")
    assert 0.02 < took_s < 5.1
    rig.crash()
    assert rig.files.read("log", 0, 3) == b"abc"


async def test_the_simulated_disk_traces_every_change_and_repeats_itself():
    def run(seed: int) -> list[bytes]:
        events: list[bytes] = []
        files = SimFiles("n", random.Random(seed), trace=events.append)
        files.append("log", b"x" * 3000)
        files.begin_sync("log").commit()
        files.append("log", b"y" * 3000)
        files.rename("log", "log.1")
        files.flip_bit("log.1", 5, 1)
        files.cut()
        return events

    assert run(1) == run(1)
    assert len({tuple(run(seed)) for seed in range(8)}) == 8
    words = [event.split()[2] for event in run(1)]
    assert words == [b"append", b"sync", b"synced", b"append", b"rename", b"flip", b"cut"]


async def test_a_bit_is_flipped_in_place_and_a_wiped_disk_is_empty(rig):
    rig.disk.append("log", b"\0" * 10)
    rig.machine.flip_bit("log", -2, 3)
    rig.machine.flip_bit("log", -100, 0)
    assert (await rig.do(rig.disk.read, "log"))[0] == b"\1" + b"\0" * 7 + b"\x08\0"
    rig.disk.append("part-1", b"\0")
    rig.disk.append("part-12", b"\0")
    rig.disk.append("part-12.old", b"\0")
    rig.machine.flip_bit("part", 0, 0)  # the last of them
    assert (await rig.do(rig.disk.read, "part-12"))[0] == b"\1"
    rig.machine.wipe()
    assert rig.disk.names() == []
    assert rig.files.used_bytes == 0
    rig.disk.append("empty", b"")
    with pytest.raises(ValueError, match="empty"):
        rig.machine.flip_bit("empty", 0, 0)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b", "ä", "x" * 201, "a\n"]
)
async def test_only_flat_names_are_files(rig, name):
    with pytest.raises(ValueError, match="not a file name"):
        rig.disk.append(name, b"x")
    with pytest.raises(ValueError, match="not a file name"):
        await rig.disk.read(name)


async def test_few_descriptors_serve_many_files(tmp_path):
    open_files = OpenFiles(most=3)
    files = LiveFiles(tmp_path, open_files)
    for round_ in range(2):
        for number in range(10):
            files.append(f"f{number}", b"%d" % round_)
            assert len(open_files) <= 3
    assert [files.read(f"f{number}", 0, 9) for number in range(10)] == [b"01"] * 10
    files.close()
    assert len(open_files) == 0


async def test_an_earlier_run_left_its_files_synced(tmp_path):
    first = LiveFiles(tmp_path, OpenFiles())
    first.append("log", b"abc")
    first.close()
    again = LiveFiles(tmp_path, OpenFiles())
    again.append("log", b"def")
    again.cut()
    assert again.read("log", 0, 9) == b"abc"
    assert again.used_bytes == 3
    again.delete()
    assert not tmp_path.exists()


async def test_a_scratch_file_is_no_file_of_the_machine_and_loses_its_name(tmp_path):
    rig = Rig(LiveFiles(tmp_path, OpenFiles()))
    with rig.disk.scratch() as path:
        assert list(tmp_path.iterdir()) == [Path(path)]
    assert rig.disk.names() == [] and list(tmp_path.iterdir()) == []
