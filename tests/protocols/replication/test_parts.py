"""The parts of the replication core, and one test for each mistake that the swarm once found."""

from __future__ import annotations

import pytest

from protocols.replication.messages import Append, AppendReply
from protocols.replication.progress import SNAPSHOT, Progress
from protocols.replication.quorum import InSync, reached_by
from protocols.replication.replica import (
    DATA,
    LEARNER,
    VOTER,
    WITNESS,
    AckRule,
    BadMessage,
    Diverged,
    HardState,
    MemoryLog,
    Refused,
    Snapshot,
    from_wire,
    to_wire,
)
from tests.protocols.replication.machine import Settings
from tests.protocols.replication.world import World

MEMBERS = (("a", VOTER), ("b", VOTER), ("w", WITNESS))


def entry(epoch: int, lsn: int) -> tuple[int, int, int, bytes]:
    return (epoch, lsn, DATA, b"%d/%d" % (epoch, lsn))


# --- words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "level", "method", "count", "names"),
    [
        ("quorum", "on", "quorum", 0, ()),
        ("async", "local", "quorum", 0, ()),
        ("off", "off", "quorum", 0, ()),
        ("remote_apply", "remote_apply", "quorum", 0, ()),
        ("ANY 1 (b, c)", "on", "any", 1, ("b", "c")),
        ("remote_write first 2", "remote_write", "first", 2, ()),
    ],
)
def test_commit_levels_are_read_in_postgresqls_words(text, level, method, count, names):
    assert AckRule.parse(text) == AckRule(level, method, count, names)


@pytest.mark.parametrize("text", ["", "sometimes", "ANY 0", "ANY 3 (a, b)", "on off"])
def test_what_is_no_commit_level_is_refused(text):
    with pytest.raises(ValueError, match=r"commit level|at least 1"):
        AckRule.parse(text)


def test_a_message_survives_the_wire_and_nonsense_does_not():
    message = Append("a", "b", 3, 6, 2, (entry(3, 7),), 5, 5, 1, 9, False, 0, (), "db", 8)
    assert from_wire(to_wire(message)) == message._replace(entries=[entry(3, 7)])
    wire = to_wire(message)
    for broken in ([], [99], wire[:-1], ["x", *wire[1:]], [*wire[:3], "epoch", *wire[4:]]):
        with pytest.raises(BadMessage):
            from_wire(broken)
    with pytest.raises(BadMessage, match="record 8"):
        from_wire(to_wire(message._replace(prev_lsn=7)))


def test_the_highest_lsn_of_a_majority():
    assert reached_by([5, 9, 7], 2) == 7
    assert reached_by([5], 2) == 0


# --- storage ---------------------------------------------------------------------------------


def test_a_state_file_gives_back_what_was_written():
    state = HardState(7, "a", True, 6, 2, ("a", "b"), 5)
    assert HardState.decode(state.encode()) == state


def test_a_log_remembers_where_epochs_began_beyond_what_it_keeps():
    log = MemoryLog([entry(1, 1), entry(1, 2), entry(3, 3), entry(3, 4)])
    log.append([entry(5, 5)])
    assert log.epochs_until(4) == ((1, 1), (3, 3))
    snapshot = Snapshot(4, 3, (), log.epochs_until(4))
    log.snapshot = snapshot
    log.trim_before(5)
    assert (log.epoch_at(4), log.epoch_at(3), log.first_lsn) == (3, None, 5)
    assert log.epochs_until(5) == ((1, 1), (3, 3), (5, 5))
    log.truncate_from(5)
    assert log.epochs_until(9) == ((1, 1), (3, 3))
    assert [snapshot.epoch_at(lsn) for lsn in (1, 2, 3, 4, 5)] == [1, 1, 3, 3, None]


def test_a_batch_holds_at_least_one_record_and_no_more_than_fits():
    log = MemoryLog([entry(1, lsn) for lsn in range(1, 10)])
    size_bytes = 40
    assert [e[1] for e in log.entries(3, 9, size_bytes * 2)] == [3, 4]
    assert [e[1] for e in log.entries(3, 9, 1)] == [3]
    assert [e[1] for e in log.entries(3, 5)] == [3, 4, 5]


# --- witnesses: mistakes that the swarm found ------------------------------------------------


def test_an_empty_set_is_never_declared_or_witnesses_would_forget_whom_they_vouch_for():
    sets = InSync()
    sets.declare(["b"])
    sets.declare([])
    assert sets.declared == ("b",)


def test_only_voters_in_the_declared_set_count_towards_the_majority():
    sets = InSync()
    sets.declare(["b"])
    assert sets.vouched([1], ["a", "b"], 2)
    assert not sets.vouched([1], ["a"], 2)  # b has been removed


def test_a_set_that_can_never_count_is_replaced_and_all_named_meanwhile_are_required():
    sets = InSync()
    sets.declare(["a"])
    assert not sets.vouched([1], ["a", "b", "y"], 3)
    sets.declare(["a", "b"])
    assert sets.required == ("a", "b")
    assert sets.vouched([2], ["a", "b", "y"], 3)


# --- progress: mistakes that the swarm found -------------------------------------------------


def snapshot_under_way(acked_bytes: int) -> Progress:
    to = Progress(1, 0.0)
    to.send_snapshot(10)
    to.snapshot_sent_bytes = 900
    to.snapshot_arrived(acked_bytes)
    return to


def test_an_old_answer_about_a_snapshot_does_not_send_it_all_again():
    to = snapshot_under_way(600)
    to.snapshot_arrived(200)
    assert (to.snapshot_acked_bytes, to.snapshot_sent_bytes) == (600, 900)
    to.resume_snapshot(1000)  # it did move since the last heartbeat
    assert to.snapshot_sent_bytes == 900
    to.resume_snapshot(1000)
    assert to.snapshot_sent_bytes == 200


def test_a_snapshot_begins_again_for_a_member_that_had_it_all_and_came_up_anew():
    to = snapshot_under_way(1000)
    to.resume_snapshot(1000)
    to.resume_snapshot(1000)
    assert (to.state, to.snapshot_sent_bytes) == (SNAPSHOT, 0)


# --- stories: mistakes that the swarm found --------------------------------------------------


def quiet(**fields) -> World:
    """A group in which nothing is random but the elections."""
    return World(
        "parts", Settings(**{"delay_s": (0.001, 0.001), "sync_s": (0.001, 0.001), **fields})
    )


def test_a_new_primary_serves_nothing_older_than_what_was_acknowledged_under_first_1():
    world = quiet(ack="FIRST 1")
    old = world.wait_for_primary()
    world.propose(old, b"x")
    world.run(1.0)
    acknowledged_lsn = old.replica.acknowledgeable_lsn
    third = next(m for m in world.machines.values() if m.name not in (old.name, "a"))
    world.cuts |= {(third.name, "a"), ("a", third.name)}
    old.stop(power_cut=False)
    world.run(0.1)
    world.cuts.clear()
    new = world.wait_for_primary()
    assert new.replica.visible_lsn >= acknowledged_lsn


def test_a_streaming_member_whose_missing_records_were_dropped_gets_the_snapshot():
    world = quiet(retained_bytes=0)
    primary = world.wait_for_primary()
    world.run(1.0)
    behind = next(m for m in world.machines.values() if m is not primary)
    world.cuts |= {(primary.name, behind.name)}
    for number in range(200):
        world.propose(primary, b"%d" % number)
        world.run(0.002)
    world.run(0.05)
    primary.compact()
    assert primary.replica.storage.first_lsn > behind.replica.last_lsn + 1
    world.settle()


def test_a_member_that_lost_its_disk_is_not_declared_in_sync():
    world = quiet(names=("a", "b", "w"), founders=MEMBERS)
    primary = world.wait_for_primary()
    world.propose(primary, b"x")
    world.run(1.0)
    other = next(world.machines[name] for name in "ab" if name != primary.name)
    primary.stop(power_cut=False)
    other_log = len(other.disk.log)
    new = world.wait_for_primary()
    assert new is other and other_log >= 2
    primary.wipe()
    primary.boot()
    world.run(0.3)
    declared = new.replica._leading.in_sync.declared
    assert primary.disk.state.standing or primary.name not in declared
    world.settle()


def test_a_primary_does_not_remove_itself_nor_strand_the_group():
    world = quiet(names=("a", "b", "c", "x"))
    primary = world.wait_for_primary()
    with pytest.raises(Refused, match="hand over first"):
        primary.replica.change_member(primary.name, None, primary.now_s())
    gone, other = (world.machines[name] for name in "abc" if name != primary.name)
    gone.stop(power_cut=False)
    world.run(1.5)
    with pytest.raises(Refused, match="no majority"):
        primary.replica.change_member(other.name, None, primary.now_s())
    assert world.change_member(primary, gone.name, None)
    assert not world.change_member(primary, "x", VOTER)  # a learner first
    world.run(0.1)
    assert world.change_member(primary, "x", LEARNER)


def test_divergent_records_are_reported_even_when_a_snapshot_takes_their_place():
    world = quiet(ack="async", retained_bytes=0)
    old = world.wait_for_primary()
    world.propose(old, b"common")
    world.run(0.5)
    for name in world.machines:
        world.cuts |= {(old.name, name), (name, old.name)}
    lost = [world.propose(old, payload) for payload in (b"lost 1", b"lost 2")]
    world.run(1.0)
    old.stop(power_cut=False)
    new = world.wait_for_primary()
    for number in range(20):
        world.propose(new, b"new %d" % number)
        world.run(0.05)
    new.compact()
    assert new.replica.storage.first_lsn > lost[-1]
    world.settle()
    assert [(e[1], e[3]) for e in old.disk.divergent] == [
        (lost[0], b"lost 1"),
        (lost[1], b"lost 2"),
    ]


def test_whoever_ran_ahead_of_a_record_that_is_cut_is_told_to_go_back():
    world = quiet()
    old = world.wait_for_primary()
    world.run(0.5)
    for name in world.machines:
        world.cuts |= {(old.name, name), (name, old.name)}
    lsn = world.propose(old, b"never committed")
    rebuilt: list[int | None] = []
    world.on_ready = lambda name, ready: (
        rebuilt.append(ready.rebuild_from)
        if name == old.name and any(isinstance(e, Diverged) for e in ready.events)
        else None
    )
    world.run(2.5)
    world.settle()
    assert rebuilt == [lsn]


def test_a_followers_vote_is_its_primarys_so_a_lost_disk_cannot_vote_twice():
    world = quiet()
    primary = world.wait_for_primary()
    world.run(0.5)
    wiped = next(m for m in world.machines.values() if m is not primary)
    wiped.wipe()
    wiped.boot()
    world.run(1.0)
    assert wiped.disk.state.standing
    assert (wiped.disk.state.epoch, wiped.disk.state.vote) == (primary.replica.epoch, primary.name)


# --- staleness -------------------------------------------------------------------------------


def test_a_replica_knows_how_old_its_state_may_be_whatever_its_clock_says():
    world = quiet(drift=0.02)
    primary = world.wait_for_primary()
    world.run(2.0)
    replica = next(m for m in world.machines.values() if m is not primary)
    assert replica.replica.lag_s(replica.now_s()) < 0.3
    world.cuts |= {(primary.name, replica.name)}
    world.run(0.6)
    assert replica.replica.lag_s(replica.now_s()) > 0.5


def test_a_primary_without_a_lease_vouches_for_no_freshness():
    world = quiet()
    primary = world.wait_for_primary()
    world.run(1.0)
    core, name = primary.replica, next(n for n in world.machines if n != primary.name)
    before = core.progress[name].echo_us
    core._leading.lease.give_up()
    said = (core.epoch, 0, 10**15, -1, 0, 0, 1, 1, 1, True, 0, False)
    reply = AppendReply(name, primary.name, *said, "", core.founding)
    core.step(reply, primary.now_s() + 5.0)
    assert core.progress[name].echo_us == before
