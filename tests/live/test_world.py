"""What only the live world has: real files, real syncs, and whether the run can be believed."""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import trio

from emu.live import world
from emu.live.addresses import Subnet
from emu.live.ring import Ring, RingSyncer
from emu.live.sync import Syncer
from emu.live.world import PROBE_S, LiveWorld
from emu.machine.disk import Work
from emu.machine.events import Events
from emu.machine.life import current_life
from emu.machine.world import CpuSpec, DiskSpec, MachineSpec
from nodes.kind import HTTP


def spec(name: str, **fields) -> MachineSpec:
    return MachineSpec(name, name.partition("-")[0], "test", "here", **fields)


async def test_machines_are_found_again_and_removed_ones_keep_their_disk(tmp_path):
    async with LiveWorld(7, tmp_path) as world:
        machine = world.machine(spec("db-1"))
        assert world.machine(spec("db-1")) is machine
        life, ctx = machine.boot(1)
        ctx.disk.append("log", b"abc")
        life.end(crash=False)
        world.remove_machine("db-1")
        assert list(world.machines()) == []
        _, ctx = world.machine(spec("db-1")).boot(1)
        assert await ctx.disk.read("log") == b"abc"


async def test_a_temporary_world_takes_a_removed_machines_disk_with_it(tmp_path):
    async with LiveWorld(7, tmp_path, temporary=True) as world:
        life, ctx = world.machine(spec("db-1")).boot(1)
        ctx.disk.append("log", b"abc")
        assert (tmp_path / "db-1" / "log").read_bytes() == b"abc"
        life.end(crash=False)
        world.remove_machine("db-1")
        assert not (tmp_path / "db-1").exists()


async def test_a_port_that_another_program_holds_is_replaced_and_told(tmp_path):
    async with LiveWorld(7, tmp_path) as world:
        machine = world.machine(spec("web-1", ports=(HTTP,), public=True))
        _, ctx = machine.boot(1)
        with socket.socket() as taken:  # as 0.0.0.0:8080 takes it on every address
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((machine.address, 8080))
            taken.listen()
            listener = await ctx.network.listen(8080)
        address, _, port = world.endpoint("web-1", 8080).rpartition(":")
        assert (address, listener.port) == (machine.address, 8080)
        assert port != "8080"
        await world.outside_network().open_stream("web-1", 8080)
        assert (await listener.accept()).peer.name == "outside"
        (told,) = [each for each in world.events if "taken" in each["event"]]
        assert (told["node"], told["port"], told["instead"]) == ("web-1", 8080, int(port))


async def test_a_node_that_writes_nothing_has_no_folder(tmp_path):
    async with LiveWorld(7, tmp_path) as world:
        world.machine(spec("web-1")).boot(1)
        assert list(tmp_path.iterdir()) == []


async def test_on_disks_that_stay_each_run_has_a_name_of_its_own(tmp_path):
    runs = []
    for temporary in (False, False, True):
        async with LiveWorld(7, tmp_path, temporary=temporary) as world:
            runs.append(world.machine(spec("web-1")).boot(1)[1].run)
            await trio.sleep(0.002)
    assert runs[0] != runs[1] != "" == runs[2]


async def test_a_running_machine_is_not_booted_twice_nor_removed(tmp_path):
    async with LiveWorld(7, tmp_path) as world:
        machine = world.machine(spec("web-1"))
        machine.boot(1)
        with pytest.raises(AssertionError, match="running"):
            machine.boot(2)
        with pytest.raises(AssertionError, match="running"):
            world.remove_machine("web-1")


async def test_leaving_the_world_closes_every_descriptor_and_ends_every_life(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    async with LiveWorld(7, tmp_path) as world:
        life, ctx = world.machine(spec("db-1", disk=DiskSpec(sync_mode="real"))).boot(1)
        ctx.disk.append("log", b"abc")
        await ctx.disk.sync("log")
        await ctx.network.listen(7000)
    assert life.dead
    assert set(os.listdir("/proc/self/fd")) <= before
    assert not gc.callbacks or all("LiveWorld" not in repr(each) for each in gc.callbacks)


async def test_a_real_sync_is_counted_shared_and_survives_a_crash(tmp_path):
    async with LiveWorld(7, tmp_path) as world, trio.open_nursery() as nursery:
        machine = world.machine(spec("db-1", disk=DiskSpec(sync_mode="real")))
        life, ctx = machine.boot(1)
        for _ in range(20):
            ctx.disk.append("log", b"abc")
            nursery.start_soon(ctx.disk.sync, "log")
        await ctx.disk.sync("log")
        ctx.disk.append("other", b"new")
        await ctx.disk.sync("other")
        await ctx.disk.rename("other", "renamed")
        ctx.disk.append("log", b"lost")
        await ctx.disk.truncate("renamed", 2)
        life.end(crash=True)
        _, ctx = machine.boot(2)
        assert await ctx.disk.read("log") == b"abc" * 20
        assert await ctx.disk.read("renamed") == b"ne"


@pytest.fixture(params=[RingSyncer, Syncer])
def new_syncer(request) -> type[Syncer | RingSyncer]:
    try:
        request.param().close()
    except OSError as error:
        pytest.skip(f"syncs by the kernel: {error}")
    return request.param


async def hand_over(syncer: Syncer | RingSyncer, *works: Work) -> list[int | None]:
    """The errno of each."""
    ended: list[tuple[int, int | None]] = []
    finished = trio.Event()

    def done(number: int, error: OSError | None) -> None:
        ended.append((number, error and error.errno))
        if len(ended) == len(works):
            finished.set()

    for number, work in enumerate(works):
        syncer.submit(work, partial(done, number))
    with trio.fail_after(10):
        await finished.wait()
    assert isinstance(syncer, RingSyncer) or ended == sorted(ended, key=lambda each: each[0])
    return [error for _, error in sorted(ended, key=lambda each: each[0])]


def some_fd(tmp_path) -> int:
    return os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)


async def test_syncs_end_with_their_errors_and_leave_nothing_open(tmp_path, new_syncer):
    def open_fds() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_fds()
    syncer = new_syncer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(syncer.run)
        folder = Work(os.open(tmp_path, os.O_RDONLY), names_too=True)
        readable, writable = os.pipe()
        errors = await hand_over(syncer, Work(some_fd(tmp_path)), Work(readable), folder)
        assert errors == [None, errno.EINVAL, None]
        many = [Work(some_fd(tmp_path)) for _ in range(200)]
        assert await hand_over(syncer, *many) == [None] * 200
        os.close(writable)
        nursery.cancel_scope.cancel()
    assert open_fds() == before


async def test_a_descriptor_that_is_kept_is_synced_again_and_forgotten_before_its_number_is_used(
    tmp_path,
):
    syncer = Syncer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(syncer.run)
        fd = some_fd(tmp_path)
        kept = Work(fd, is_kept=True)
        assert await hand_over(syncer, *[kept] * 100) == [None] * 100
        assert await hand_over(syncer, kept) == [None]
        copies = f"/proc/{syncer.pid}/fd"
        assert sum("file" in os.readlink(f"{copies}/{each}") for each in os.listdir(copies)) == 1
        syncer.forget(fd)
        os.close(fd)
        readable, writable = os.pipe()
        assert fd in (readable, writable)
        assert await hand_over(syncer, Work(fd, is_kept=True)) == [errno.EINVAL]
        assert not any("file" in os.readlink(f"{copies}/{each}") for each in os.listdir(copies))
        nursery.cancel_scope.cancel()
    os.close(readable)
    os.close(writable)


async def test_what_is_handed_over_is_synced_though_its_owner_closes_it_at_once(
    tmp_path, new_syncer
):
    syncer = new_syncer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(syncer.run)
        works = [Work(some_fd(tmp_path), is_kept=True) for _ in range(100)]
        ended: list[OSError | None] = []
        for work in works:
            syncer.submit(work, ended.append)
            syncer.forget(work.fd)
            os.close(work.fd)
        nursery.cancel_scope.cancel()
    assert ended == [], "nobody is told at the end, and all is waited for"


def test_a_kernel_that_may_not_be_asked_is_found_out_at_once(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "abacus")
    with pytest.raises(OSError, match="x86-64"):
        Ring()
    assert isinstance(world.syncer(), Syncer)


def kill_soon(pid: int) -> None:
    time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)


async def test_a_dead_sync_process_fails_what_it_had_and_is_replaced(tmp_path):
    syncer = Syncer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(syncer.run)
        assert await hand_over(syncer, Work(some_fd(tmp_path))) == [None]
        assert syncer.pid is not None
        os.kill(syncer.pid, signal.SIGSTOP)
        nursery.start_soon(trio.to_thread.run_sync, kill_soon, syncer.pid)
        lost = [Work(some_fd(tmp_path)) for _ in range(3)]
        assert await hand_over(syncer, *lost) == [errno.EIO] * 3
        assert await hand_over(syncer, Work(some_fd(tmp_path))) == [None]
        nursery.cancel_scope.cancel()


async def test_the_log_of_a_node_carries_its_name_and_ends_with_its_life(tmp_path):
    async with LiveWorld(7, tmp_path) as world:
        life, ctx = world.machine(spec("web-1")).boot(1)
        ctx.log.info("server up", port=8080)
        life.end(crash=False)
        ctx.log.error("from beyond")
        (event,) = [each for each in world.events if each.get("node")]
        assert (event["event"], event["node"], event["tier"], event["region"], event["port"]) == (
            "server up", "web-1", "web", "here", 8080,
        )  # fmt: skip


async def test_random_streams_are_named_and_differ_by_generation(tmp_path):
    async with LiveWorld(7, tmp_path, temporary=True) as world:
        machine = world.machine(spec("web-1"))
        life, one = machine.boot(1)
        first = one.rng("backoff").random()
        assert one.rng("backoff").random() != first, "a stream goes on"
        assert one.rng("other").random() != first
        assert one.rare("short-batch") is False
        life.end(crash=False)
        _, two = machine.boot(2)
        assert two.rng("backoff").random() != first
    async with LiveWorld(7, tmp_path, temporary=True) as world:
        _, again = world.machine(spec("web-1")).boot(1)
        assert again.rng("backoff").random() == first


async def test_a_later_run_on_kept_disks_draws_no_id_again(tmp_path):
    drawn = []
    for _ in range(2):
        async with LiveWorld(7, tmp_path) as world:
            _, ctx = world.machine(spec("web-1")).boot(1)
            drawn.append(ctx.rng("site").getrandbits(128))
    assert drawn[0] != drawn[1]


class Recorder:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def leave(self, key, *, model="kv"): ...

    def invoke(self, process, f, value=None, key=None, *, model="kv"):
        self.seen.append(f"invoke {f}")
        return self

    def ok(self, value=None):
        self.seen.append("ok")

    fail = info = ok


async def test_a_dead_client_neither_invokes_nor_completes(tmp_path):
    history = Recorder()
    async with LiveWorld(7, tmp_path, history=history) as world:
        life, ctx = world.machine(spec("users-1")).boot(1)
        ctx.history.invoke("p1", "read").ok(1)
        pending = ctx.history.invoke("p1", "write", 2)
        life.end(crash=False)
        pending.ok()
        ctx.history.invoke("p1", "read").info()
    assert history.seen == ["invoke read", "ok", "invoke write"]


async def test_fidelity_of_a_quiet_world_is_trusted_and_has_its_numbers(tmp_path):
    async with LiveWorld(7, tmp_path) as world:
        world.machine(spec("web-1", cpu=CpuSpec(2, 0.002))).boot(1)
        world.settle()
        world.timers.late_s.extend([0.0001] * 98 + [0.0004] * 2)
        summary = world.fidelity()
        assert summary["declared_cores"] == 2
        assert summary["loop_lag_s"]["p50"] == pytest.approx(0.0001, abs=1e-4)
        assert (summary["trustworthy"], summary["reasons"]) == (True, [])


async def test_a_late_loop_a_stalled_host_and_absurd_cpus_are_not_trusted(tmp_path):
    async with LiveWorld(7, tmp_path) as world:
        world.machine(spec("web-1", cpu=CpuSpec(64, 0.001))).boot(1)
        world.settle()
        world.timers.late_s.extend([0.05] * 100)
        world.clock.longest_s = 0.3
        summary = world.fidelity()
        assert not summary["trustworthy"]
        late, withheld, cpus = summary["reasons"]
        assert "50.0 ms late at p99" in late
        assert "withheld 0.0 s of 0.0 s (300 ms at a time)" in withheld
        assert "64,000 requests/s" in cpus


async def test_of_a_crowd_a_laptop_carries_the_sample(tmp_path):
    async with LiveWorld(7, tmp_path) as world:
        world.machine(spec("web-1", cpu=CpuSpec(64, 0.001, stands_for=100))).boot(1)
        world.settle()
        assert world.fidelity()["reasons"] == []


async def test_the_node_that_holds_the_loop_is_named(tmp_path):
    async with LiveWorld(7, tmp_path) as world, trio.open_nursery() as nursery:
        life, ctx = world.machine(spec("web-1")).boot(1)

        async def hog() -> None:
            with life.scope:
                await ctx.clock.sleep(0.001)
                until_s = time.thread_time() + 1.2 * PROBE_S  # the offence: a probe is due in it
                while time.thread_time() < until_s:
                    pass
                await ctx.clock.sleep(0.001)

        async def run_as_the_node() -> None:
            current_life.set(life)
            async with trio.open_nursery() as inner:
                inner.start_soon(hog)

        world.settle()
        nursery.start_soon(run_as_the_node)
        await trio.sleep(3 * PROBE_S)
        assert world.fidelity()["culprit"] == "web-1"
        assert world.fidelity()["held_s"] >= 0.03
        assert world.fidelity()["loop_lag_s"]["max"] >= 0.001, "the probe saw nothing"


async def test_collections_are_counted_and_frozen_after_boot(tmp_path):
    async with LiveWorld(7, tmp_path, events=Events) as world:
        world.settle()
        assert world.fidelity()["gc_pauses"] >= 1
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


async def test_a_topology_that_cannot_fit_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("emu.live.network.raise_file_limit", lambda: 200)
    async with LiveWorld(7, tmp_path) as world:
        with pytest.raises(OSError, match=r"web-12 does not fit.*ulimit -Hn") as caught:
            for number in range(100):
                world.machine(spec(f"web-{number}"))
        assert caught.value.errno == errno.EMFILE


async def test_a_hundred_machines_raise_the_soft_limit_of_open_files(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        async with LiveWorld(7, tmp_path) as world:
            for number in range(100):
                _, ctx = world.machine(spec(f"web-{number}")).boot(1)
                for port in (8080, 7900, 7000):
                    await ctx.network.listen(port)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


CLAIMANT = """
import sys
from emu.live import world
from emu.live.addresses import Subnet
subnet = Subnet()
print(subnet.number, flush=True)
sys.stdin.read()
"""


def claimant() -> subprocess.Popen[str]:
    """A process that holds a subnet until it is told to end, and has said which."""
    return subprocess.Popen(
        [sys.executable, "-c", CLAIMANT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.slow
def test_a_subnet_is_ones_own_and_free_again_when_its_emu_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with claimant() as one, claimant() as two:
        numbers = [child.stdout.readline().strip() for child in (one, two)]
        assert sorted(numbers) == ["7", "8"], "two clusters, two networks"
        one.kill()
        one.wait(10)
        again = Subnet()
        assert str(again.number) == numbers[0], "the kernel freed it"
        again.release()
        two.stdin.close()


async def test_both_of_two_worlds_at_once_have_the_same_ports(tmp_path):
    async with LiveWorld(7, tmp_path / "a") as one, LiveWorld(7, tmp_path / "b") as two:
        for world in (one, two):
            _, ctx = world.machine(spec("web-1")).boot(1)
            await ctx.network.listen(8080)
        addresses = [world.machine(spec("web-1")).address for world in (one, two)]
        assert addresses[0] != addresses[1]
