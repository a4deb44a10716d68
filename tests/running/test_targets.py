"""Target words mean what their reader expects, and say so when they mean nothing."""

import random

import pytest

from emu.running.targets import Candidate, TargetError, resolve

NODES = [
    Candidate("lb-1", "lb", "balancer", "us-east"),
    *[Candidate(f"web-{i}", "web", "web", "us-east" if i < 3 else "eu-west") for i in range(1, 5)],
    Candidate("db-1", "db", "database", "us-east", "replica"),
    Candidate("db-2", "db", "database", "us-east", "primary"),
    Candidate("db-3", "db", "database", "eu-west", "replica"),
]


def names(words: str, seed: int = 1) -> list[str]:
    return resolve(words, NODES, random.Random(seed))


def test_a_name_a_tier_a_region_and_all_mean_themselves():
    assert names("web-2") == ["web-2"]
    assert names("db") == ["db-1", "db-2", "db-3"]
    assert names("eu-west") == ["web-3", "web-4", "db-3"]
    assert len(names("all")) == len(NODES)


def test_machines_are_all_but_who_only_asks_unless_it_is_named():
    users = Candidate("users-us-east-1", "users-us-east", "users", "us-east", asks=True)
    nodes, rng = [*NODES, users], random.Random(1)
    assert users.name not in resolve("all", nodes, rng, machines=True)
    assert users.name not in resolve("us-east", nodes, rng, machines=True)
    assert users.name in resolve("all", nodes, rng)
    for words in ("users-us-east", "users-us-east-1", "users*", "all,users-us-east"):
        assert users.name in resolve(words, nodes, rng, machines=True), words


def test_a_glob_and_a_list_join_without_doubles():
    assert names("web-[12],web-1,lb-1") == ["lb-1", "web-1", "web-2"]


def test_two_that_have_nothing_in_common_are_both_meant():
    assert names("lb web-1") == ["lb-1", "web-1"]
    assert names("web db-1 lb") == names("web,db-1,lb")
    assert names("web web-3") == ["web-3"], "this one is among those"
    with pytest.raises(TargetError, match="no `eu-west` in `lb eu-west`"):
        names("lb eu-west")


def test_roles_and_regions_narrow_a_tier():
    assert names("db primary") == ["db-2"]
    assert names("db replica us-east") == ["db-1"]
    assert names("web eu-west") == ["web-3", "web-4"]


@pytest.mark.parametrize(
    ("words", "count"),
    [("one web", 1), ("two web", 2), ("half web", 2), ("minority db", 1), ("majority db", 2)],
)
def test_counting_words_choose_at_random_but_repeatably(words, count):
    assert len(names(words)) == count
    assert names(words, 7) == names(words, 7)
    assert len({tuple(names(words, seed)) for seed in range(40)}) > 1


def test_a_wrong_word_names_the_nearest_right_one():
    with pytest.raises(TargetError, match="did you mean `web`"):
        names("wbe")
    with pytest.raises(TargetError, match="roles just now: primary, replica"):
        names("db leader")
    with pytest.raises(TargetError, match="of what"):
        names("one")


def test_where_no_word_is_near_the_tiers_are_named_and_not_each_node():
    with pytest.raises(TargetError, match=r"nothing is called `queue`; there are: db, lb, web$"):
        names("queue")


def test_a_region_may_be_called_one():
    assert names("region eu-west") == names("eu-west")
    assert names("web region eu-west") == names("web eu-west")
    with pytest.raises(
        TargetError, match="no region is called `mars`; there are: eu-west, us-east"
    ):
        names("region mars")
    with pytest.raises(TargetError, match="`region` needs a region's name"):
        names("region")


@pytest.mark.parametrize("words", ["", " ", ",", "db,", ",,web"])
def test_an_empty_target_says_so(words):
    with pytest.raises(TargetError, match="an empty target: name a node, a tier"):
        names(words)


@pytest.mark.parametrize("words", ["outside", "one outside", "web,outside", "outside,outside"])
def test_the_outside_is_an_end_of_links_and_no_node(words):
    with pytest.raises(TargetError, match="`outside` is no node; it is for slow, loss, throttle"):
        names(words)
    assert "outside" in resolve(words, NODES, random.Random(1), links=True)
