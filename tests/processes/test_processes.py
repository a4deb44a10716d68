"""What is a child process's own: a real pid, a place on emu's network, and what it cannot do."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import trio

from emu.live.world import LiveWorld
from emu.machine.links import Partition, Shape
from emu.machine.world import MachineSpec
from emu.model.topology import Placement
from emu.running.operator import Operator
from protocols.errors import RpcError
from tests.processes.notebook import NOTEBOOK, NotebookConfig
from tests.processes.rig import open_rig
from tests.processes.runner import Processes
from tests.processes.shared import SharedWorld

pytestmark = pytest.mark.slow


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_each_generation_is_a_process_and_none_outlives_the_cluster(tmp_path):
    async with open_rig("child", tmp_path) as r:
        pad = r.notebook()
        await pad.up()
        first = pad.handle.pid
        pad.handle.end(crash=False)
        await pad.up(2)
        second = pad.handle.pid
        assert not is_alive(first) and is_alive(second)
        pad.handle.end(crash=True)
        assert is_alive(second), "it holds its sockets, silent, until the power is back"
    assert not is_alive(second)


async def test_a_process_that_somebody_kills_has_failed(tmp_path):
    async with open_rig("child", tmp_path) as r:
        pad = r.notebook()
        await pad.up()
        await pad.call("note", "still here")
        os.kill(pad.handle.pid, signal.SIGKILL)
        await r.until(lambda: len(pad.heard) == 2)
        assert pad.heard == ["started", "the process ended (-9)"]
        await pad.up(2)
        assert await pad.call("read") == "still here"


async def test_links_act_on_what_processes_send_each_other_and_edges_are_kept(tmp_path):
    async with open_rig("child", tmp_path) as r:
        far = r.notebook("far-1", dials=("near",))
        near = r.notebook("near-1", dials=("far", "inner"))
        inner = r.notebook("inner-1", runner=r.in_process, dials=("far",))
        for pad in (far, near, inner):
            await pad.up()
            await pad.call("note", pad.name)
        shape = Shape(latency_s=0.03)
        r.world.links.shape(lambda source, target: (shape, ""))
        await _in_force(far, near)
        for dialer, target in ((far, near), (near, far), (near, inner), (inner, far)):
            answer, took_s = await dialer.call("dial", target.name)
            assert answer == target.name
            assert took_s >= 4 * 0.03, "a handshake, then a question: each end delays its own"
        with pytest.raises(RpcError):
            await far.call("dial", "inner-1")
        refused = [each for each in r.events if each["event"] == "connection refused"]
        assert [(each["dialer"], each["node"]) for each in refused] == [("far-1", "inner-1")]
        with r.world.links.add(Partition(frozenset({"far-1"}), frozenset({"near-1"}))):
            await _in_force(far, near)
            for dialer, target in ((far, near), (near, far)):
                with pytest.raises(RpcError) as caught:
                    await dialer.call("dial", target.name)
                assert caught.value.code in ("timeout", "unavailable")
        await _in_force(far, near)
        assert (await far.call("dial", "near-1"))[0] == "near-1"


async def _in_force(*pads) -> None:
    for pad in pads:
        await pad.handle.in_force()


async def test_a_machine_that_comes_later_is_known_and_one_without_power_is_silent(tmp_path):
    async with open_rig("child", tmp_path) as r:
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


async def test_what_a_child_cannot_do_it_says(tmp_path):
    async with open_rig("child", tmp_path) as r:
        pad = r.notebook()
        spec = MachineSpec("people-1", "people", "people", "here")
        with pytest.raises(OSError, match="people-1 records a history"):
            r.runner.handle(Placement(spec, NotebookConfig(), replace(NOTEBOOK, clients=True)))
        await pad.up()
        with pytest.raises(OSError, match="end it before it is wiped"):
            pad.handle.disk.wipe()
        with pytest.raises(RpcError):
            await pad.call("record")
        await r.until(lambda: any("history" in str(each) for each in r.events))


@pytest.mark.parametrize(("kind", "aliases"), [(LiveWorld, True), (SharedWorld, False)])
async def test_a_world_that_is_not_shared_takes_no_child_processes(tmp_path, kind, aliases):
    async with kind(7, tmp_path, aliases=aliases) as world, trio.open_nursery() as nursery:
        operator = Operator(world, nursery, world.events)
        with pytest.raises(OSError, match="a live world that is shared"):
            Processes(world, world.events, operator, nursery)
