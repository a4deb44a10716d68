"""A log in segments on a disk that forgets: whatever is done to it, and whenever power fails."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio

from emu.sim.world import SimWorld
from nodes.base import Context
from nodes.replica.files import ReplicaFiles
from nodes.replica.segments import CorruptLog, segment_lsn
from protocols.replication import snapshot_file
from protocols.replication.log import DATA, Entry
from protocols.replication.replica import VOTER, HardState, Members, Snapshot
from tests.conformance.conftest import run_in_virtual_time, spec

ALONE = (("server-1", VOTER),)
SEGMENT_BYTES = 600


class Nothing:
    """A state machine that nobody asks."""

    def apply(self, payload: bytes, lsn: int) -> None: ...
    def dump(self) -> bytes:
        return b""

    def restore(self, data: Any) -> None: ...
    def describe(self, payload: bytes) -> Any:
        return payload.decode()


def files_of(ctx: Context, segment_bytes: int = SEGMENT_BYTES) -> ReplicaFiles:
    files = ReplicaFiles(ctx, "server-1", Nothing())
    files.log._segment_bytes = segment_bytes
    return files


async def all_of(files: ReplicaFiles, first_lsn: int) -> list[Entry]:
    found: list[Entry] = []
    while entries := await files.log.read(first_lsn + len(found), 1000):
        found += entries
    return found


class Life:
    """What is done to one machine's log, and what of it must be there after the power failed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"segments/{seed}")
        self.written: dict[tuple[int, int], bytes] = {}
        """By LSN and epoch."""
        self.epoch = 0
        self.last_lsn = self.synced_lsn = self.needed_lsn = 0
        """The last record, the last one that must survive, and what a snapshot has."""

    async def run(self, ctx: Context) -> None:
        """Recover, look, and go on until the power fails."""
        files = files_of(ctx)
        found = await files.recover(ALONE)
        storage = found.storage
        assert storage.last_lsn >= self.synced_lsn, "what was synced is lost"
        assert files.snapshots.lsn >= self.needed_lsn, "the snapshot is lost"
        self.needed_lsn = files.snapshots.lsn
        assert storage.first_lsn <= self.needed_lsn + 1, "what no snapshot has is lost"
        entries = await all_of(files, storage.first_lsn)
        lsns = range(storage.first_lsn, storage.last_lsn + 1)
        assert [each[1] for each in entries] == list(lsns)
        for epoch, lsn, _, payload in entries:
            assert self.written[lsn, epoch] == payload
            assert storage.epoch_at(lsn) == epoch
        self.epoch += 1
        self.last_lsn = self.synced_lsn = storage.last_lsn
        while True:
            await self.act(files)

    async def act(self, files: ReplicaFiles) -> None:
        rng = self.rng
        match rng.choices(("append", "sync", "cut", "snapshot", "install"), (10, 5, 2, 2, 0.3))[0]:
            case "append":
                self.append(files)
                await trio.sleep(rng.choice((0.0, 0.001)))
            case "sync":
                last_lsn = self.last_lsn
                files.begin_sync()
                self.append(files)
                await files.sync(lambda mark, written_bytes: None)
                self.synced_lsn = max(self.synced_lsn, last_lsn)
            case "cut" if self.last_lsn > self.needed_lsn:
                lsn = rng.randint(self.needed_lsn + 1, self.last_lsn)
                self.synced_lsn = min(self.synced_lsn, lsn - 1)
                await files.cut(lsn)
                self.last_lsn, self.epoch = lsn - 1, self.epoch + 1
            case "snapshot" if self.synced_lsn > self.needed_lsn:
                lsn = rng.randint(self.needed_lsn + 1, self.synced_lsn)
                await self.snapshot(files, lsn)
            case "install" if self.last_lsn:
                await self.install(files)

    def append(self, files: ReplicaFiles) -> None:
        lsns = range(self.last_lsn + 1, self.last_lsn + self.rng.choice((2, 3, 12)))
        sizes = [self.rng.choice((1, 40, 900)) for _ in lsns]
        entries = [
            (self.epoch, lsn, DATA, self.rng.randbytes(size))
            for lsn, size in zip(lsns, sizes, strict=True)
        ]
        self.written.update({(each[1], each[0]): each[3] for each in entries})
        files.append(entries, self.synced_lsn, 0)
        self.last_lsn = lsns[-1]

    async def snapshot(self, files: ReplicaFiles, lsn: int) -> None:
        epoch = max(at for known, at in self.written if known == lsn)
        made = Snapshot(lsn, epoch, ALONE, ((epoch, lsn),))
        assert await files.snapshots.save(made, b"state" * 300, (), lambda: True)
        self.needed_lsn = lsn
        await files.log.drop_before(self.rng.randint(1, lsn + 1))

    async def install(self, files: ReplicaFiles) -> None:
        lsn, state = self.last_lsn + self.rng.randint(1, 9), b"another"
        self.epoch += 1
        made = Snapshot(lsn, self.epoch, ALONE, ((self.epoch, lsn),))
        receiving = files.snapshots.receive()
        sent = snapshot_file.encode_head(len(state), ()) + snapshot_file.seal_piece(state, 0)
        for byte in sent:
            receiving.add(bytes([byte]))
        await files.snapshots.complete(receiving, made)
        self.synced_lsn = 0  # it is between the two
        await files.install(receiving, made)
        self.last_lsn = self.synced_lsn = self.needed_lsn = lsn


async def lives(seed: int, most: int) -> None:
    life = Life(seed)
    async with SimWorld(seed) as world:
        machine = world.machine(spec("server-1"))
        for generation in range(1, most + 1):
            alive, ctx = machine.boot(generation)
            with trio.move_on_after(life.rng.choice((0.003, 0.02, 0.1))):
                await life.run(ctx)
            alive.end(crash=True)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 60, 10))
def test_power_that_fails_at_any_moment_loses_nothing_that_was_synced(first: int) -> None:
    for seed in range(first, first + 10):
        run_in_virtual_time(lambda seed=seed: lives(seed, 6))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(100, 2100, 100))
def test_power_that_fails_at_any_moment_of_thousands_of_lives(first: int) -> None:
    for seed in range(first, first + 100):
        run_in_virtual_time(lambda seed=seed: lives(seed, 8))


# --- damage, which is no torn tail ---------------------------------------------------------------

THREE = (("server-1", VOTER), ("server-2", VOTER), ("server-3", VOTER))


async def with_log(world: SimWorld, records: int) -> tuple[Any, list[str]]:
    """A machine whose log of several segments is synced; and their names."""
    machine = world.machine(spec("server-1"))
    life, ctx = machine.boot(1)
    files = files_of(ctx)
    await files.recover(ALONE)
    await files.save_state(HardState(1, "server-1", True))
    for lsn in range(1, records + 1):
        files.append([(1, lsn, DATA, b"%d" % lsn * 50)], lsn - 1, lsn)
        await files.sync(lambda mark, written_bytes: None)
    names = files.log.names
    assert len(names) > 3
    life.end(crash=False)
    return machine, names


def damaged(
    harm: Callable[[Any, list[str]], object], members: Members
) -> tuple[HardState, list[int], list[str]]:
    """What a start finds after the harm: the state, the log's LSNs, and what was set aside."""

    async def script() -> tuple[HardState, list[int], list[str]]:
        async with SimWorld(1) as world:
            machine, names = await with_log(world, 60)
            harm(machine.disk, names)
            _, ctx = machine.boot(2)
            files = files_of(ctx)
            state, storage = await files.recover(members)
            lsns = [each[1] for each in await all_of(files, storage.first_lsn)]
            return state, lsns, [each for each in ctx.disk.names() if "damaged" in each]

    return run_in_virtual_time(script)


def test_a_flipped_bit_in_an_inner_segment_leaves_what_is_before_it_and_peers_have_the_rest():
    state, lsns, aside = damaged(lambda disk, names: disk.flip_bit(names[1], 200, 3), THREE)
    assert not state.standing
    assert lsns == list(range(1, len(lsns) + 1))
    assert segment_lsn(aside[0].removesuffix(".damaged-2")) <= len(lsns) + 1 < 60
    assert len(aside) > 2


def test_a_segment_that_is_missing_is_damage():
    def remove(disk: Any, names: list[str]) -> None:
        disk.files.remove(names[2])

    state, lsns, _ = damaged(remove, THREE)
    assert not state.standing
    assert lsns and len(lsns) < 60


@pytest.mark.parametrize("place", [0, 2])
def test_without_peers_damage_is_refused_with_the_place_and_nothing_is_touched(place: int):
    def harm(disk: Any, names: list[str]) -> None:
        disk.flip_bit(names[place], 100, 0)

    with pytest.raises(CorruptLog, match=r"file log-\d{16}, byte \d+: .*wipe this node's disk"):
        damaged(harm, ALONE)


def test_damage_that_is_met_while_others_are_served_ends_the_node():
    async def script() -> None:
        async with SimWorld(1) as world:
            machine, names = await with_log(world, 60)
            _, ctx = machine.boot(2)
            files = files_of(ctx)
            await files.recover(ALONE)
            machine.disk.flip_bit(names[1], 0, 0)
            with pytest.raises(CorruptLog, match="is damaged"):
                await all_of(files, 1)

    run_in_virtual_time(script)


def test_records_that_are_not_there_any_more_are_not_read():
    async def script() -> tuple[list[Entry], list[Entry], list[int]]:
        async with SimWorld(1) as world:
            machine, names = await with_log(world, 60)
            _, ctx = machine.boot(2)
            files = files_of(ctx)
            await files.recover(ALONE)
            await files.log.drop_before(30)
            await files.log.cut(50)
            first = segment_lsn(files.log.names[0])
            assert first is not None and len(files.log.names) < len(names)
            kept = [each[1] for each in await all_of(files, first)]
            return await files.log.read(first - 1, 100), await files.log.read(50, 100), kept

    before, behind, kept = run_in_virtual_time(script)
    assert (before, behind) == ([], [])
    assert kept == list(range(kept[0], 50)) and kept[0] <= 30
