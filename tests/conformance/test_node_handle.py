"""One suite for all who run nodes: what a handle promises, of a node in emu's own process (in both
worlds), of one in a worker process, and of one in a process that has joined."""

from __future__ import annotations

import re

import pytest

from emu.machine.world import CpuSpec
from protocols.errors import RpcError
from tests.processes.rig import open_rig

SLOW_FACTOR = 1000.0
"""A sync of 0.2 ms takes 0.2 s."""


@pytest.fixture(
    params=[
        "sim",
        "live",
        pytest.param("workers", marks=pytest.mark.slow),
        pytest.param("joined", marks=(pytest.mark.slow, pytest.mark.soak)),
        pytest.param("apart", marks=(pytest.mark.slow, pytest.mark.soak)),
    ]
)
def where(request):
    return request.param


@pytest.fixture
def rig(where, tmp_path):
    return open_rig(where, tmp_path)


# --- its life ------------------------------------------------------------------------------


async def test_a_node_is_told_to_have_started_when_it_accepts_work(rig):
    async with rig as r:
        pad = r.notebook()
        assert not pad.handle.running
        await pad.up()
        assert pad.handle.running and not pad.handle.paused
        assert await pad.call("note", "one") == 3
        facts = await pad.handle.ask("describe")
        assert (facts["name"], facts["generation"], facts["role"]) == ("pad-1", 1, "scribe")
        assert pad.handle.address == r.world.network.hosts["pad-1"].address


async def test_a_node_that_cannot_start_says_why(rig):
    async with rig as r:
        pad = r.notebook(broken="no pen")
        pad.boot()
        await r.until(lambda: bool(pad.heard))
        (heard,) = pad.heard
        assert re.fullmatch(r"OSError: no pen \(notebook\.py:\d+ in run\)", heard)
        assert not pad.handle.running


async def test_a_node_that_fails_later_says_why_and_can_be_booted_again(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("fail", "out of paper")
        await r.until(lambda: len(pad.heard) == 2)
        started, failed = pad.heard
        assert started == "started"
        assert re.match(r"RuntimeError: out of paper \(notebook\.py:\d+ in ", failed)
        assert not pad.handle.running
        await pad.up(2)
        assert (await pad.handle.ask("describe"))["generation"] == 2


async def test_a_node_whose_code_exits_is_down_and_nobody_else(rig):
    async with rig as r:
        pad, other = r.notebook(), r.notebook("pad-2")
        await pad.up()
        await other.up()
        await pad.call("fail", "")
        await r.until(lambda: len(pad.heard) == 2)
        assert re.match(r"SystemExit: 3 \(notebook\.py:\d+ in ", pad.heard[1])
        assert await other.call("note", "one") == 3


async def test_a_killed_node_is_dead_at_once_and_its_disk_keeps_what_was_written(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("note", "not synced")
        pad.handle.end(crash=False)
        assert not pad.handle.running
        with pytest.raises(RpcError) as caught:
            await pad.call("read", timeout_s=0.5)
        assert caught.value.code in ("unavailable", "disconnected")
        await pad.up(2)
        assert await pad.call("read") == "not synced"
        assert pad.heard == ["started", "started"], "of an end that was asked for nothing is told"


async def test_a_node_can_be_killed_while_it_starts(rig):
    async with rig as r:
        pad = r.notebook()
        pad.boot()
        pad.handle.end(crash=False)
        assert not pad.handle.running
        await r.sleep(0.05)
        assert pad.heard == []
        await pad.up(2)


async def test_a_power_cut_takes_what_was_not_synced_and_the_machine_is_silent(rig, where):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("note", "synced")
        await pad.call("keep")
        await pad.call("note", "?" * 4096)
        pad.handle.end(crash=True)
        assert not pad.handle.running
        with pytest.raises(RpcError) as caught:
            await pad.call("read", timeout_s=0.3)
        assert caught.value.code == "timeout", "nobody refuses: there is only silence"
        await pad.up(2)
        left = await pad.call("read")
        assert left.startswith("synced") and len(left) < 4096
        if where != "sim":  # whose disks may keep some sectors, and tear others
            assert left == "synced"


async def test_a_crash_or_a_kill_of_what_is_down_changes_nothing(rig):
    async with rig as r:
        pad = r.notebook()
        pad.handle.end(crash=True)
        await pad.up()
        await pad.call("note", "here")
        pad.handle.end(crash=False)
        pad.handle.end(crash=True)
        await pad.up(2)
        assert await pad.call("read") == "here"


async def test_a_paused_node_answers_nothing_until_it_is_resumed_and_its_clock_goes_on(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        before_s, _ = await pad.call("time")
        pad.handle.pause()
        await pad.handle.in_force()
        assert pad.handle.paused and pad.handle.running
        with pytest.raises(RpcError) as caught:
            await pad.handle.ask("describe", timeout_s=0.4)
        assert caught.value.code == "timeout"
        pad.handle.resume()
        await pad.handle.in_force()
        assert not pad.handle.paused
        after_s, _ = await pad.call("time")
        assert after_s - before_s >= 0.3  # live time leaves out what the host withheld


async def test_a_paused_node_can_be_killed_and_the_next_generation_is_not_paused(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        pad.handle.pause()
        await pad.handle.in_force()
        pad.handle.end(crash=False)
        assert not pad.handle.paused
        pad.handle.pause()
        await pad.handle.in_force()
        assert not pad.handle.paused, "nobody is there to be paused"
        await pad.up(2)
        assert await pad.call("read") == ""


async def test_a_paused_node_that_loses_its_power_loses_what_was_not_synced(rig, where):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("note", "?" * 4096)
        pad.handle.pause()
        await pad.handle.in_force()
        pad.handle.end(crash=True)
        await pad.up(2)
        assert len(await pad.call("read")) < 4096


async def test_a_removed_node_is_nobody(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        pad.handle.end(crash=False)
        pad.handle.remove()
        with pytest.raises(RpcError):
            await pad.call("read", timeout_s=0.3)
        assert "pad-1" not in [machine.spec.name for machine in r.world.machines()]


# --- what is seen of it --------------------------------------------------------------------


async def test_metrics_are_the_newest_generations(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        for text in "abc":
            await pad.call("note", text)
        first = pad.handle.metrics
        await r.until(lambda: first.total("notes_total") == 3)
        await r.until(lambda: (first.total("request_seconds", method="note") or 0) == 3)
        assert pad.handle.metrics is first
        pad.handle.end(crash=False)
        await pad.up(2)
        assert pad.handle.metrics is not first
        assert pad.handle.metrics.total("notes_total") == 0
        assert b'node="pad-1"' in pad.handle.metrics.render()


async def test_its_events_are_the_clusters(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("say", "the ink is low")
        await r.until(lambda: any(each["event"] == "the ink is low" for each in r.events))
        found = [event for event in r.events if event["event"] == "the ink is low"]
        assert [(e["level"], e["node"], e["tier"], e["region"], e["page"]) for e in found] == [
            ("warning", "pad-1", "pad", "here", 7)
        ]


# --- its disk ------------------------------------------------------------------------------


async def test_a_full_disk_takes_nothing_also_in_the_next_generation(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        pad.handle.disk.full = True
        await pad.handle.in_force()
        with pytest.raises(RpcError):
            await pad.call("note", "a")
        pad.handle.end(crash=False)
        await pad.up(2)
        with pytest.raises(RpcError):
            await pad.call("note", "b")
        pad.handle.disk.full = False
        await pad.handle.in_force()
        await pad.call("note", "c")
        assert await pad.call("read") == "c"


async def test_a_machine_gets_a_larger_disk_while_it_runs(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("note", "abc")
        await pad.call("keep")
        pad.handle.disk.capacity_bytes = 4
        await pad.handle.in_force()
        with pytest.raises(RpcError, match="No space left"):
            await pad.call("note", "abcdef")
        pad.handle.disk.capacity_bytes = 1 << 20
        await pad.handle.in_force()
        assert await pad.call("note", "abcdef") == 9


async def test_a_slow_disk_makes_whoever_syncs_wait(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("note", "a")
        pad.handle.disk.slow_factor = SLOW_FACTOR
        await pad.handle.in_force()
        began_s = r.world.timers.now_s()
        await pad.call("keep")
        assert r.world.timers.now_s() - began_s >= 0.2


async def test_a_disk_fails_reads_and_writes_as_it_is_told(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("note", "a")
        pad.handle.disk.fail_writes = True
        await pad.handle.in_force()
        for word, *params in (("note", "b"), ("keep",)):
            with pytest.raises(RpcError):
                await pad.call(word, *params)
        pad.handle.disk.fail_writes = False
        await pad.handle.in_force()
        pad.handle.disk.fail_reads = True
        await pad.handle.in_force()
        with pytest.raises(RpcError):
            await pad.call("read")
        pad.handle.disk.fail_reads = False
        await pad.handle.in_force()
        assert await pad.call("read") == "a"


async def test_a_bit_is_flipped_and_a_machine_that_is_down_gets_an_empty_disk(rig, where):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("note", "abc")
        await pad.call("keep")
        pad.handle.disk.flip_bit("notes", -1, 0)
        await pad.handle.in_force()
        assert await pad.call("read") == "abb"
        if where == "apart":
            await _what_only_its_process_reads(r, pad)
            return
        assert pad.handle.disk.names() == ["notes"]
        assert pad.handle.disk.read("notes") == b"abb"
        with pytest.raises(FileNotFoundError):
            pad.handle.disk.read("poems")
        with pytest.raises(FileNotFoundError):
            pad.handle.disk.flip_bit("poems", 0, 0)
        pad.handle.end(crash=False)
        await r.sleep(0.05)
        pad.handle.disk.wipe()
        await pad.up(2)
        assert await pad.call("read") == ""


async def _what_only_its_process_reads(r, pad) -> None:
    with pytest.raises(OSError, match="where emu cannot look"):
        pad.handle.disk.names()
    pad.handle.disk.flip_bit("poems", 0, 0)
    await pad.handle.in_force()
    (told,) = (each for each in r.events if each["event"] == "fault not possible")
    assert (told["node"], told["level"]) == ("pad-1", "warning") and "poems" in told["why"]
    pad.handle.end(crash=False)
    pad.handle.disk.wipe()
    await pad.up(2)
    assert await pad.call("read") == ""


async def test_the_next_write_is_told_once(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("note", "a")
        told: list[str] = []
        pad.handle.disk.on_change = told.append
        await pad.handle.in_force()
        await pad.call("keep")
        await r.until(lambda: bool(told))
        await pad.call("note", "b")
        await pad.call("keep")
        await r.sleep(0.02)
        assert told == ["notes"]


# --- its clock and its cores ---------------------------------------------------------------


async def test_a_stepped_clock_jumps_on_the_wall_only_and_stays_so_after_a_restart(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        before_s, wall_before_s = await pad.call("time")
        pad.handle.clock.step(1000.0)
        await pad.handle.in_force()
        after_s, wall_after_s = await pad.call("time")
        assert after_s - before_s < 100
        assert 1000 <= wall_after_s - wall_before_s < 1100
        pad.handle.end(crash=False)
        await pad.up(2)
        later_s, wall_later_s = await pad.call("time")
        assert later_s >= after_s, "monotonic time never goes back"
        assert 1000 <= wall_later_s - wall_before_s < 1200


async def test_a_drifting_clock_gains_and_keeps_what_it_gained(rig):
    async with rig as r:
        pad = r.notebook()
        await pad.up()
        pad.handle.clock.set_drift(9.0)
        await pad.handle.in_force()
        began_s = r.world.timers.now_s()
        before_s, _ = await pad.call("time")
        await r.sleep(0.2)
        after_s, _ = await pad.call("time")
        took_s = r.world.timers.now_s() - began_s
        assert 2.0 <= after_s - before_s <= 10 * took_s + 1e-6
        pad.handle.end(crash=False)
        await pad.up(2)
        assert (await pad.call("time"))[0] >= after_s
        with pytest.raises(ValueError, match="`drift` must be from"):
            pad.handle.clock.set_drift(-5.0)


async def test_cores_change_while_it_runs_and_stay_so_after_a_restart(rig):
    async with rig as r:
        pad = r.notebook(cpu=CpuSpec(cores=1, service_time_s=1e-6))
        await pad.up()
        assert (pad.handle.cores, await pad.call("cores")) == (1, 1)
        pad.handle.cores = 4
        await pad.handle.in_force()
        assert (pad.handle.cores, await pad.call("cores")) == (4, 4)
        pad.handle.end(crash=True)
        await pad.up(2)
        assert await pad.call("cores") == 4
