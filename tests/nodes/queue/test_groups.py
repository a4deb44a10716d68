"""Consumer groups: who reads what, when members come, go and answer late."""

from __future__ import annotations

import random

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.queue.assigning import Where, assign
from nodes.queue.groups import ConsumerGroup
from protocols.errors import RpcError

TOPIC = {"t": 6}


def read_by(group: ConsumerGroup) -> dict[Where, list[str]]:
    found: dict[Where, list[str]] = {}
    for name, member in group.members.items():
        for where in (*member.assigned, *member.revoking):
            found.setdefault(where, []).append(name)
    return found


def settle(group: ConsumerGroup) -> None:
    """Every member hears and obeys, until nothing changes."""
    for _ in range(10):
        for name, member in group.members.items():
            owned = list(member.assigned)
            if group.is_news(name, owned):
                group.report(name, owned)


def test_after_scaling_up_nobody_is_idle():
    group = ConsumerGroup()
    for number in range(5):
        group.join(f"m{number}", ["t"], 1000, 1000, TOPIC)
        settle(group)
    loads = [len(member.assigned) for member in group.members.values()]
    assert sorted(loads) == [1, 1, 1, 1, 2]


def test_a_partition_passes_only_when_its_owner_has_let_go_of_it():
    group = ConsumerGroup()
    group.join("a", ["t"], 1000, 1000, TOPIC)
    settle(group)
    had = list(group.members["a"].assigned)
    group.join("b", ["t"], 1000, 1000, TOPIC)
    group.report("b", [])
    assert not group.members["b"].assigned, "all are still read by a"
    epoch = group.members["a"].epoch
    group.report("a", had)
    assert group.members["a"].epoch == epoch, "it has not confirmed"
    group.check_commit("a", epoch, had)
    group.report("a", list(group.members["a"].assigned))
    group.report("b", [])
    assert len(group.members["b"].assigned) == 3
    assert all(len(names) == 1 for names in read_by(group).values())


def test_those_whose_partitions_stay_are_not_disturbed():
    group = ConsumerGroup()
    for number in range(10):
        group.join(f"m{number}", ["t"], 1000, 1000, {"t": 60})
        settle(group)
    before = {name: list(member.assigned) for name, member in group.members.items()}
    group.leave("m3", {"t": 60})
    settle(group)
    for name, member in group.members.items():
        assert set(before[name]) <= set(member.assigned)
    assert sum(len(each.assigned) for each in group.members.values()) == 60


def test_a_commit_of_an_old_generation_is_refused():
    group = ConsumerGroup()
    group.join("a", ["t"], 1000, 1000, TOPIC)
    settle(group)
    old = group.members["a"].epoch
    group.check_commit("a", old, [("t", 0)])
    group.join("b", ["t"], 1000, 1000, TOPIC)
    settle(group)
    given = list(group.members["b"].assigned)
    for name, epoch, wheres in (("a", old, []), ("a", group.epoch, given), ("z", group.epoch, [])):
        with pytest.raises(RpcError, match="stale_generation"):
            group.check_commit(name, epoch, wheres)


def test_offsets_only_grow():
    group = ConsumerGroup()
    group.commit(("t", 0), 5)
    group.commit(("t", 0), 3)
    assert group.committed["t", 0] == 5
    assert group.trim(("t", 0), 0, 9) == 4 and group.lost["t", 0] == 4


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_no_partition_is_read_by_two_and_all_are_read_in_the_end(seed: int):
    rng = random.Random(seed)
    topics = {"t": 7, "u": 3}
    group = ConsumerGroup()
    for _ in range(200):
        names = list(group.members)
        match rng.randrange(4):
            case 0 if len(names) < 6:
                wants = rng.sample(["t", "u"], rng.randint(1, 2))
                group.join(f"m{rng.randrange(8)}", wants, 1000, 1000, topics)
            case 1 if names:
                group.leave(rng.choice(names), topics)
            case 2 if names:
                name = rng.choice(names)
                member = group.members[name]
                kept = [each for each in member.revoking if rng.random() < 0.5]
                owned = [*member.assigned, *kept]
                if group.is_news(name, owned):
                    group.report(name, owned)
            case 3:
                group = ConsumerGroup.from_wire(msgpack.unpackb(msgpack.packb(group.to_wire())))
        assert all(len(names) == 1 for names in read_by(group).values())
    settle(group)
    wanted = {topic for member in group.members.values() for topic in member.topics}
    assert len(read_by(group)) == sum(topics[topic] for topic in wanted)
    assert all(member.epoch == group.epoch for member in group.members.values())


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from("tuv"), st.integers(0, 9), min_size=1),
    st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("tuv")), min_size=1),
)
def test_an_assignment_is_whole_fair_and_sticks(
    partitions: dict[str, int], wants: dict[str, list[str]]
):
    found = assign(partitions, wants, {})
    given_away = [where for wheres in found.values() for where in wheres]
    assert len(given_away) == len(set(given_away))
    read = {topic for topics in wants.values() for topic in topics}
    assert len(given_away) == sum(n for topic, n in partitions.items() if topic in read)
    for one, mine in found.items():
        for other, theirs in found.items():
            if set(wants[one]) == set(wants[other]):
                assert abs(len(mine) - len(theirs)) <= 1
    assert assign(partitions, wants, found) == found
