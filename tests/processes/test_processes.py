"""What is a worker process's own: a real pid with several nodes in it, a place on emu's network,
and what its end means to those who ran there."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from itertools import pairwise

import pytest
import trio

from emu.checks.history import Recorder
from emu.live.world import LiveWorld
from emu.machine.links import Partition, Shape, Throttle
from emu.machine.world import CpuSpec, DiskSpec
from emu.model.shaping import DeclaredLink, LinkOptions, LinkPlan, Outside
from emu.processes.control import MAX_WAITING_BYTES
from emu.processes.runner import Workers
from emu.processes.shared import SharedWorld
from emu.running.operator import Operator
from protocols.errors import RpcError
from tests.processes.rig import open_rig

pytestmark = pytest.mark.slow
FAR_S = 0.03
BULK = 600_000


def far(source: str, target: str):
    return Shape(latency_s=FAR_S), ""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_nodes_share_their_worker_and_none_outlives_the_cluster(tmp_path):
    async with open_rig("workers", tmp_path, workers=2) as r:
        one, other, third = (r.notebook(name) for name in ("pad-1", "pad-2", "pad-3"))
        for pad in (one, other, third):
            await pad.up()
        pids = [pad.handle.process.pid for pad in (one, other, third)]
        assert pids[0] == pids[2] != pids[1] and os.getpid() not in pids
        assert [each["nodes"] for each in r.runner.facts()] == [["pad-1", "pad-3"], ["pad-2"]]
        one.handle.end(crash=False)
        await one.up(2)
        assert one.handle.process.pid == pids[0]
        assert await third.call("read") == "", "who shares its worker does not notice"
    assert not any(is_alive(pid) for pid in pids)


async def test_a_worker_that_somebody_kills_takes_its_nodes_with_it_and_comes_again(tmp_path):
    async with open_rig("workers", tmp_path, workers=2) as r:
        pads = [r.notebook(f"pad-{number}") for number in (1, 2, 3)]
        for pad in pads:
            await pad.up()
            await pad.call("note", "still here")
        pads[0].handle.clock.step(1000.0)
        pads[0].handle.disk.fail_reads = True
        stepped_s = (await pads[0].call("time"))[1]
        os.kill(pads[0].handle.process.pid, signal.SIGKILL)
        await r.until(lambda: len(pads[2].heard) == 2)
        lost = ["started", "its worker process ended (signal 9)"]
        assert [pad.heard for pad in pads] == [lost, ["started"], lost]
        (told,) = (each for each in r.events if each["event"] == "process killed")
        assert (told["process"], told["nodes"]) == (1, ["pad-1", "pad-3"])
        await pads[0].up(2)
        assert (await pads[0].call("time"))[1] > stepped_s, "its clock goes on where it was"
        with pytest.raises(RpcError):
            await pads[0].call("read")
        pads[0].handle.disk.fail_reads = False
        await pads[0].handle.in_force()
        assert await pads[0].call("read") == "still here"
        assert await pads[1].call("read") == "still here"


async def test_links_act_on_what_workers_send_each_other_and_edges_are_kept(tmp_path):
    async with open_rig("workers", tmp_path, workers=2) as r:
        one = r.notebook("one-1", dials=("two",))
        two = r.notebook("two-1", dials=("one", "inner"))
        inner = r.notebook("inner-1", runner=r.in_process, dials=("one",))
        for pad in (one, two, inner):
            await pad.up()
            await pad.call("note", pad.name)
        assert one.handle.process is not two.handle.process
        r.world.links.shape(far)
        await _in_force(one, two)
        for dialer, target in ((one, two), (two, one), (two, inner), (inner, one)):
            answer, took_s = await dialer.call("dial", target.name)
            assert answer == target.name
            assert took_s >= 4 * FAR_S, "a handshake, then a question: each end delays its own"
        with pytest.raises(RpcError):
            await one.call("dial", "inner-1")
        await r.until(lambda: any(each["event"] == "connection refused" for each in r.events))
        refused = [each for each in r.events if each["event"] == "connection refused"]
        assert [(each["dialer"], each["node"]) for each in refused] == [("one-1", "inner-1")]
        with r.world.links.add(Partition(frozenset({"one-1"}), frozenset({"two-1"}))):
            await _in_force(one, two)
            for dialer, target in ((one, two), (two, one)):
                with pytest.raises(RpcError) as caught:
                    await dialer.call("dial", target.name)
                assert caught.value.code in ("timeout", "unavailable")
        await _in_force(one, two)
        assert (await one.call("dial", "two-1"))[0] == "two-1"


async def test_bandwidth_that_senders_share_is_shared_across_workers(tmp_path):
    """Two nodes in two processes answer at the same time over one line, or under one rule."""
    async with open_rig("workers", tmp_path, workers=2) as r:
        pads = [r.notebook(f"pad-{number}") for number in (1, 2)]
        for pad in pads:
            await pad.up()
            await pad.call("note", "x" * BULK)
        asker = r.notebook("asker-1", runner=r.in_process, dials=("pad",))
        await asker.up()
        plan = LinkPlan(
            declared=(DeclaredLink("pad", "asker", LinkOptions(bandwidth_bytes_per_s=4e6)),)
        )
        where = {name: (name[:-2], "here") for name in ("pad-1", "pad-2", "asker-1")}
        r.world.links.shape(plan.shaper(where, Outside()))
        await _takes_as_long_as_both(r, asker, pads)
        r.world.links.shape(LinkPlan().shaper(where, Outside()))
        group = frozenset({"pad-1", "pad-2"}), frozenset({"asker-1"})
        with r.world.links.add(Throttle(*group, bandwidth_bytes_per_s=4e6)):
            await _takes_as_long_as_both(r, asker, pads)


async def _takes_as_long_as_both(r, asker, pads) -> None:
    await _in_force(*pads)
    took: list[float] = []

    async def dial(pad) -> None:
        took.append((await asker.call("dial", pad.name))[1])

    async with trio.open_nursery() as nursery:
        for pad in pads:
            nursery.start_soon(dial, pad)
    assert max(took) >= 2 * BULK / 4e6 * 0.95, took


async def test_a_machine_that_comes_later_is_known_and_one_without_power_is_silent(tmp_path):
    async with open_rig("workers", tmp_path, workers=2) as r:
        early = r.notebook("early-1", dials=("late",))
        await early.up()
        late = r.notebook("late-1")
        await late.up()
        await early.handle.in_force()
        assert (await early.call("dial", "late-1"))[0] == ""
        late.handle.end(crash=True)
        await early.handle.in_force()
        began_s = r.world.timers.now_s()
        with pytest.raises(RpcError):
            await early.call("dial", "late-1")
        assert r.world.timers.now_s() - began_s > 0.9, "nobody refuses: there is only silence"
        late.handle.remove()
        await early.handle.in_force()
        with pytest.raises(RpcError, match="no machine is called late-1"):
            await early.call("dial", "late-1")


async def test_a_history_is_handed_over_in_its_true_order(tmp_path):
    async with open_rig("workers", tmp_path, workers=2) as r:
        recorder = r.world.history = Recorder(r.world.timers.now_s, by_time=True)
        pads = [r.notebook(f"pad-{number}") for number in (1, 2)]
        for pad in pads:
            await pad.up()
        own = recorder.invoke("own", "read")
        for round_ in range(3):
            for pad in pads:
                await pad.call("record", round_)
        own.ok("seen")
        for pad in pads:
            await pad.handle.in_force()
        recorder.sort()
        assert [(each.process, each.value, each.result) for each in recorder.operations] == [
            ("own", None, "seen"),
            *((pad.name, round_, (round_, "done")) for round_ in range(3) for pad in pads),
        ]
        first, *rest = recorder.operations
        for before, after in pairwise(rest):
            assert first.begin < before.begin < before.end < after.begin < after.end < first.end


async def test_what_a_worker_cannot_do_it_says(tmp_path):
    async with open_rig("workers", tmp_path) as r:
        pad = r.notebook()
        await pad.up()
        with pytest.raises(OSError, match="end the node before it is wiped"):
            pad.handle.disk.wipe()


async def test_a_disk_is_loaded_with_more_than_a_control_connection_carries(tmp_path):
    """As `emu restore` does it: its process has had other files open under the same name."""
    async with open_rig("workers", tmp_path) as r:
        pad = r.notebook(disk=DiskSpec(capacity_bytes=1 << 30))
        await pad.up()
        await pad.call("note", "before")
        await pad.call("keep")
        pad.handle.end(crash=False)
        await pad.handle.in_force()
        much = b"x" * (MAX_WAITING_BYTES + 1)
        pad.handle.disk.load({"notes": b"after", "much": much})
        await pad.up(2)
        assert pad.handle.process.why == "" and not pad.handle.process.ended
        assert await pad.call("read") == "after"
        assert await pad.call("note", "!") == 6
        assert pad.handle.disk.names() == ["much", "notes"]
        assert pad.handle.disk.read("notes") == b"after!"


async def test_workers_are_doubted_by_what_all_of_them_carry(tmp_path):
    """One loop carries some 10,000 requests/s; so do as many as there are cores for."""
    spec = CpuSpec(cores=1, service_time_s=1 / 15_000)
    async with open_rig("workers", tmp_path, workers=2) as r:
        for number in (1, 2, 3):
            r.notebook(f"pad-{number}", cpu=spec)
        cores = os.cpu_count() or 1
        assert r.world.loops == min(2, cores)
        doubts = [each for each in r.world.fidelity()["reasons"] if "declared cpus" in each]
        assert doubts == [
            "the declared cpus promise 45,000 requests/s together, this laptop carries some "
            f"{min(2, cores) * 10_000:,}: raise service_time"
        ]


async def test_an_end_that_says_what_it_may_not_is_ended(tmp_path):
    async with open_rig("workers", tmp_path) as r:
        pad = r.notebook()
        await pad.up()
        with suppress(RpcError):
            await pad.call("attack")  # its end may come before its answer
        await r.until(lambda: len(pad.heard) == 2)
        assert "PosixPath is no plain value" in pad.heard[1]
        await pad.up(2)


@pytest.mark.parametrize(("kind", "aliases"), [(LiveWorld, True), (SharedWorld, False)])
async def test_a_world_that_is_not_shared_takes_no_workers(tmp_path, kind, aliases):
    async with kind(7, tmp_path, aliases=aliases) as world, trio.open_nursery() as nursery:
        operator = Operator(world, nursery, world.events)
        with pytest.raises(OSError, match="need a world that is shared"):
            Workers(world, world.events, operator, nursery, count=2)


async def _in_force(*pads) -> None:
    for pad in pads:
        await pad.handle.in_force()
