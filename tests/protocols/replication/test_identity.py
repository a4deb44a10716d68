"""A message says in which group it is said, and of which founding: nobody hears another group's."""

from __future__ import annotations

import random
from typing import Any
from unittest.mock import patch

import msgpack
import pytest

from protocols.replication import log
from protocols.replication.log import DATA, EPOCH_START
from protocols.replication.messages import ForeignMessage, HandOver, StaleEpoch
from protocols.replication.replica import VOTER, HardState, Message, Replica
from protocols.replication.storage import encode_members, founding_in
from tests.protocols.replication.machine import Disk, Settings
from tests.protocols.replication.world import Broken, World

SEEDS = range(12)


def lived(seed: int | str, seconds: float = 6.0, **settings: Any) -> World:
    """A group that has worked for a while."""
    world = World(seed, Settings(**settings))
    for number in range(int(seconds)):
        world.propose(world.wait_for_primary(), b"early %d" % number)
        world.run(1.0)
    return world


def all_said(seed: int | str, **settings: Any) -> list[Message]:
    """Whatever the members of a group of the same names say in a life with several epochs."""
    world, said = World(seed, Settings(**settings)), list[Message]()
    world.on_send = said.append
    for _ in range(3):
        primary = world.wait_for_primary()
        world.propose(primary, b"theirs")
        world.run(0.5)
        primary.stop(power_cut=False)
        world.wait_for_primary()
        primary.boot()
        world.run(0.5)
    return said


def disturbed(seed: int, strangers: list[Message]) -> World:
    """The life of a founded group whose members also get all that."""
    world, rng = lived(seed), random.Random(seed)
    for message in strangers:
        machine = world.machines[message.to]
        world.at(world.now_s + rng.uniform(0.0, 10.0), lambda m=machine, s=message: m.receive(s))
    for number in range(12):
        world.run(1.0)
        world.propose(world.wait_for_primary(), b"late %d" % number)
    world.settle()
    return world


def payloads(world: World) -> list[bytes]:
    return [entry[3] for _, entry in sorted(world.truth.items()) if entry[2] == DATA]


def foreign(world: World) -> int:
    return sum(each.replica.foreign_messages for each in world.machines.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_what_another_founding_says_changes_nothing(seed: int) -> None:
    said = [each for each in all_said(f"other {seed}") if each.founding]
    world, alone = disturbed(seed, said), disturbed(seed, [])
    assert foreign(world) == len(said) > 100
    assert world.primaries == alone.primaries
    assert payloads(world) == payloads(alone)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_group_of_another_name_says_changes_nothing_from_its_first_word(seed: int) -> None:
    said = all_said(f"other {seed}", group="another")
    world, alone = disturbed(seed, said), disturbed(seed, [])
    assert foreign(world) == len(said)
    assert world.primaries == alone.primaries
    assert payloads(world) == payloads(alone)


def test_without_the_check_the_same_words_would_do_harm() -> None:
    harmed = 0
    for seed in SEEDS:
        said = all_said(f"other {seed}")
        with patch.object(Replica, "_is_foreign", lambda self, message: False):
            try:
                world = disturbed(seed, said)
                harmed += world.primaries != disturbed(seed, []).primaries
            except (AssertionError, Broken):
                harmed += 1
    assert harmed == len(SEEDS)


def test_whoever_speaks_in_another_group_is_told_of_once_and_counted_always() -> None:
    world = lived(1, 1.0)
    core = world.machines["a"].replica
    events = []
    world.on_ready = lambda name, ready: events.extend(ready.events)
    for founding in (5, 5, 6):
        stranger = HandOver("b", "a", core.epoch, "", founding)
        world.machines["a"].receive(stranger)
    world.machines["a"].receive(StaleEpoch("b", "a", 9, "else", 5))
    assert core.foreign_messages == 4
    strangers = [("b", "", 5), ("b", "", 6), ("b", "else", 5)]
    assert events == [ForeignMessage(*each) for each in strangers]


def test_strangers_without_number_are_not_remembered_without_bound() -> None:
    world = lived(1, 1.0)
    core = world.machines["a"].replica
    for founding in range(10**6, 10**6 + 1000):
        core.step(HandOver("b", "a", core.epoch, "", founding), world.machines["a"].now_s())
    ready = core.ready()
    assert core.foreign_messages == 1000
    assert ready is not None and len(ready.events) < 100


# --- how the founding becomes known ----------------------------------------------------------


def foundings(world: World) -> list[int]:
    return [machine.disk.state.founding for machine in world.machines.values()]


@pytest.mark.parametrize("seed", SEEDS)
def test_all_members_remember_the_same_founding_and_each_group_another(seed: int) -> None:
    world = lived(seed, 2.0)
    (founding,) = set(foundings(world))
    assert founding
    (other,) = set(foundings(lived(f"other {seed}", 2.0)))
    assert other != founding


def test_a_lost_disk_and_a_newcomer_learn_it_from_the_primary_though_the_log_has_no_beginning():
    world = World(3, Settings(names=("a", "b", "c", "x"), retained_bytes=0))
    primary = world.wait_for_primary()
    world.run(0.5)
    for number in range(20):
        world.propose(primary, b"%d" % number)
    world.run(0.5)
    primary.compact()
    wiped = next(m for m in world.machines.values() if m.name in "abc" and m is not primary)
    wiped.wipe()
    wiped.boot()
    assert world.change_member(primary, "x", "learner")
    world.run(2.0)
    assert set(foundings(world)) == {primary.replica.founding}
    world.settle()


def as_earlier(disk: Disk, members: tuple[tuple[str, str], ...]) -> None:
    """The disk as it was before there were foundings."""
    disk.state = HardState(*disk.state[:6])
    records = []
    for entry in disk.log:
        epoch, lsn, kind, payload = entry
        if founding_in(entry):
            payload = b"" if kind == EPOCH_START else encode_members(members)
        records.append((epoch, lsn, kind, payload))
    disk.log = records


@pytest.mark.parametrize("kept", ["the whole log", "a snapshot"])
@pytest.mark.parametrize("seed", SEEDS)
def test_disks_of_the_earlier_format_go_on_with_all_they_have(seed: int, kept: str) -> None:
    world = lived(seed, 4.0, retained_bytes=0)
    before = dict(world.wait_for_primary().state)
    for machine in world.machines.values():
        if kept == "a snapshot":
            machine.compact()
        machine.stop(power_cut=False)
    for machine in world.machines.values():
        as_earlier(machine.disk, world.settings.founders)
    world.truth.clear()
    world.written.clear()
    for machine in world.machines.values():
        machine.boot()
        assert machine.replica.founding == 0
    primary = world.wait_for_primary()
    world.propose(primary, b"after")
    world.settle()
    assert before.items() <= dict(world.wait_for_primary().state).items()
    assert len(set(foundings(world))) == 1 and foundings(world)[0]


def test_a_state_file_of_the_earlier_format_is_read() -> None:
    earlier = log.seal(msgpack.packb((7, "a", True, 6, 2, ("a", "b"))))
    assert HardState.decode(earlier) == HardState(7, "a", True, 6, 2, ("a", "b"), 0)


def test_a_founding_that_never_was_committed_is_forgotten_with_its_record() -> None:
    """The first primary dies before anybody has its first record; the others found the group."""
    founders = (("a", VOTER), ("b", VOTER), ("c", VOTER))
    world = World(5, Settings(founders=founders))
    while not (first := [m for m in world.machines.values() if m.replica.role == "primary"]):
        world.run(0.001)
    (first_primary,) = first
    for name in world.machines:
        world.cuts |= {(first_primary.name, name), (name, first_primary.name)}
    assert first_primary.replica.founding == 0
    world.run(5.0)
    world.settle()
    assert len(set(foundings(world))) == 1 and foundings(world)[0]
