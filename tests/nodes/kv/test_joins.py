"""A shard's part of a join, without a cluster: against what a plain loop over a dict would give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import RpcError
from protocols.hashing.slots import slot_of
from protocols.kv.words import MAX_KEY_BYTES, MAX_KEYS
from tests.nodes.kv.rig import Shard

TO_USER = {"on": "author", "to": "user:*"}
AUTHORS = ("ada", "alan", "grace", "nobody", 7, None, "x" * MAX_KEY_BYTES)


def posts(*authors: Any) -> Shard:
    shard = Shard(index="author")
    for number, author in enumerate(authors):
        shard.call("set", f"post:{number}", {"author": author, "text": f"no. {number}"})
    for name in ("ada", "alan", "7"):
        shard.call("set", f"user:{name}", {"name": name})
    return shard


def rows_of(page: dict[str, Any]) -> list[list[Any]]:
    return sorted([key, other, page["right"].get(other)] for key, _, other in page["rows"])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(AUTHORS), max_size=30), st.sampled_from(("prefix", "find", "keys")))
def test_a_join_gives_what_a_loop_over_all_keys_would(authors: list[Any], side: str) -> None:
    shard = posts(*authors)
    values = {key: value for key, (value, _) in shard.state.content().items()}
    posted = {key: each for key, each in values.items() if key.startswith("post:")}
    left: dict[str, Any] = {"prefix": "post:"}
    if side == "find":
        left = {"find": "ada"}
        posted = {key: each for key, each in posted.items() if each["author"] == "ada"}
    elif side == "keys":
        left = {"keys": [*posted, "post:absent"]}
    page = shard.call("join", left, TO_USER, {"limit": MAX_KEYS})
    expected = []
    for key, value in posted.items():
        author = value["author"]
        other = (
            f"user:{author}" if isinstance(author, str | int) and len(str(author)) < 99 else None
        )
        expected.append([key, other, values.get(other) if other else None])
    assert rows_of(page) == sorted(expected)
    assert page["next"] == "" and not page["more"] and page["skipped"] == []


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 9))
def test_pages_of_a_join_give_every_row_exactly_once(count: int, limit: int) -> None:
    shard = posts(*(["ada", "grace"] * count)[:count])
    seen: list[str] = []
    after = ""
    for _ in range(count + 1):
        page = shard.call("join", {"prefix": "post:"}, TO_USER, {"limit": limit, "after": after})
        assert len(page["rows"]) <= limit
        assert page["more"] == bool(page["next"])
        seen += [key for key, _, _ in page["rows"]]
        after = page["next"]
        if not after:
            break
    assert sorted(seen) == sorted(f"post:{number}" for number in range(count))


def test_slots_that_are_elsewhere_are_named_and_their_right_sides_left_open() -> None:
    here = slot_of("{here}")
    shard = Shard(ranges=[[here, here]])
    shard.call("set", "{here}post:1", "away")
    shard.call("set", "{here}post:2", "here")
    shard.call("set", "{here}user", 1)
    right = {"to": "{*}user"}
    page = shard.call("join", {"prefix": "{here}post:"}, right)
    assert page["rows"] == [
        ["{here}post:1", "away", "{away}user"],
        ["{here}post:2", "here", "{here}user"],
    ]
    assert page["right"] == {"{here}user": 1}
    elsewhere = slot_of("{away}user")
    page = shard.call("join", {"keys": ["{here}post:1", "{away}post:9"]}, right)
    assert [row[0] for row in page["rows"]] == ["{here}post:1"]
    assert page["skipped"] == [[elsewhere, elsewhere]]


def test_a_key_whose_time_is_over_is_on_neither_side() -> None:
    shard = posts("ada", "ada")
    shard.call("expire", "post:0", 50)
    shard.call("expire", "user:ada", 50)
    shard.now_ms += 50
    page = shard.call("join", {"prefix": "post:"}, TO_USER)
    assert rows_of(page) == [["post:1", "user:ada", None]]


def test_an_atomic_join_is_within_one_slot_or_refused() -> None:
    shard = Shard()
    shard.call("set", "{ada}post:1", {"author": "ada"})
    shard.call("set", "{ada}user", {"name": "Ada"})
    left, atomic = {"prefix": "{ada}post:"}, {"atomic": True}
    page = shard.call("join", left, {"on": "author", "to": "{*}user"}, atomic)
    assert rows_of(page) == [["{ada}post:1", "{ada}user", {"name": "Ada"}]]
    assert page["examined"] == 3
    for bad_left, bad_to in (
        ({"prefix": "post:"}, "user:*"),
        ({"find": "ada"}, "user:*"),
        ({"keys": ["{ada}post:1", "{alan}post:1"]}, "user:*"),
        (left, "user:*"),
        (left, "{people}*"),
    ):
        with pytest.raises(RpcError) as caught:
            shard.call("join", bad_left, {"on": "author", "to": bad_to}, atomic)
        assert caught.value.code == "crossslot" and caught.value.definite


@pytest.mark.parametrize(
    ("left", "right", "options"),
    [
        ("post:", TO_USER, {}),
        ({}, TO_USER, {}),
        ({"prefix": "a", "find": "b"}, TO_USER, {}),
        ({"suffix": "a"}, TO_USER, {}),
        ({"prefix": 5}, TO_USER, {}),
        ({"prefix": "p" * (MAX_KEY_BYTES + 1)}, TO_USER, {}),
        ({"keys": []}, TO_USER, {}),
        ({"keys": ["k"] * (MAX_KEYS + 1)}, TO_USER, {}),
        ({"keys": [5]}, TO_USER, {}),
        ({"find": None}, TO_USER, {}),
        ({"prefix": "post:"}, {}, {}),
        ({"prefix": "post:"}, {"to": "user:"}, {}),
        ({"prefix": "post:"}, {"to": "*user:*"}, {}),
        ({"prefix": "post:"}, {"to": "user:*", "on": ""}, {}),
        ({"prefix": "post:"}, {"to": "user:*", "where": "author"}, {}),
        ({"prefix": "post:"}, TO_USER, {"limit": 0}),
        ({"prefix": "post:"}, TO_USER, {"limits": 5}),
        ({"prefix": "post:"}, TO_USER, {"slots": [[5, 1]]}),
        ({"prefix": "post:"}, TO_USER, {"after": "nonsense"}),
        ({"find": "ada"}, TO_USER, {"after": 5}),
    ],
)
def test_a_join_that_is_not_one_is_a_bad_request(left: Any, right: Any, options: Any) -> None:
    with pytest.raises(RpcError) as caught:
        posts("ada").call("join", left, right, options)
    assert caught.value.code == "bad_request" and caught.value.message
