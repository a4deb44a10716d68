"""What each command of a shard does, refuses, and leaves for the log."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.kv.machine import KvMachine
from nodes.kv.state import KvState
from protocols.errors import RpcError
from protocols.hashing.slots import SLOTS, slot_of
from protocols.kv import words as kv
from tests.nodes.kv.rig import Shard

KEYS = ("a", "b", "{t}c", "{t}d")
FEW = [[slot, slot] for slot in sorted({slot_of(key) for key in KEYS})]
AUTHOR = "author.name"


def refused(shard: Shard, code: str, name: str, *params: Any, epoch: int | None = None) -> RpcError:
    with pytest.raises(RpcError) as caught:
        shard.call(name, *params, epoch=epoch)
    assert caught.value.code == code, caught.value
    assert caught.value.definite
    return caught.value


def test_a_key_is_set_read_and_deleted() -> None:
    shard = Shard()
    assert shard.call("get", "k") is None
    assert shard.call("set", "k", "v") is True
    assert shard.call("get", "k") == "v"
    assert shard.call("delete", "k") is True
    assert shard.call("delete", "k") is False
    assert shard.call("get", "k") is None


def test_set_may_depend_on_whether_the_key_is_there() -> None:
    shard = Shard()
    assert shard.call("set", "k", 1, {"if": "present"}) is False
    assert shard.call("set", "k", 1, {"if": "absent"}) is True
    assert shard.call("set", "k", 2, {"if": "absent"}) is False
    assert shard.call("set", "k", 3, {"if": "present"}) is True
    assert shard.call("get", "k") == 3


def test_incr_counts_from_nothing_and_keeps_the_time_limit() -> None:
    shard = Shard()
    assert shard.call("incr", "n") == 1
    assert shard.call("incr", "n", 41) == 42
    shard.call("expire", "n", 5000)
    assert shard.call("incr", "n", -2) == 40
    assert shard.call("ttl", "n") == 5000
    shard.call("set", "n", 2**63 - 1)
    refused(shard, "refused", "incr", "n")


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [("ab", "c", "abc"), (b"a", b"b", b"ab"), ([1], [2, 3], [1, 2, 3])],
)
def test_append_extends_text_bytes_and_lists(first: Any, second: Any, whole: Any) -> None:
    shard = Shard()
    assert shard.call("append", "k", first) == len(first)
    assert shard.call("append", "k", second) == len(whole)
    assert shard.call("get", "k") == whole


def test_compare_and_set_wants_the_same_type_too() -> None:
    shard = Shard()
    assert shard.call("compare_and_set", "k", None, 1) is True
    assert shard.call("compare_and_set", "k", True, 2) is False
    assert shard.call("compare_and_set", "k", 1.0, 2) is False
    assert shard.call("compare_and_set", "k", 1, 2) is True
    assert shard.call("compare_and_set", "k", None, 3) is False


def test_time_limits_end_keys_and_can_be_kept_or_removed() -> None:
    shard = Shard()
    shard.call("set", "k", 1, {"ttl_ms": 100})
    assert shard.call("ttl", "k") == 100
    shard.call("set", "k", 2, {"keep_ttl": True})
    shard.now_ms += 99
    assert shard.call("get", "k") == 2
    shard.now_ms += 1
    assert shard.call("get", "k") is None
    assert shard.call("ttl", "k") is None
    shard.call("set", "k", 3, {"ttl_ms": 100})
    shard.call("set", "k", 4)
    assert shard.call("ttl", "k") == -1
    shard.call("expire", "k", 7)
    shard.call("expire", "k", None)
    assert shard.call("ttl", "k") == -1
    assert shard.call("expire", "nobody", 7) is False


def test_a_key_that_was_seen_to_be_over_never_comes_back_on_a_replica_with_a_slower_clock() -> None:
    shard = Shard()
    shard.call("set", "k", 1, {"ttl_ms": 100})
    before = shard.copy()
    assert "k" in before.content()
    shard.now_ms += 100
    assert shard.call("mget", ["k"]) == [None]
    assert "k" not in shard.copy().content()


def test_what_is_due_is_dropped_in_slices_and_only_once() -> None:
    shard = Shard()
    for number in range(5):
        shard.call("set", f"k{number}", 1, {"ttl_ms": 100 + number})
    shard.call("expire", "k1", 9000)
    shard.now_ms += 200
    assert shard.commands.drop_due(3) == 3
    shard.commands.drop_due(100)
    assert sorted(shard.state.content()) == ["k1"]
    assert [fact[2] for fact in shard.commands.facts] == ["k0", "k2", "k3", "k4"]


def test_the_heap_of_time_limits_does_not_grow_with_rewrites() -> None:
    shard = Shard()
    for number in range(5000):
        shard.call("set", "k", number, {"ttl_ms": 1000 + number})
    assert len(shard.state.due) < 2000


@pytest.mark.parametrize(
    ("name", "params", "result"),
    [
        ("set", ["n", 5], True),
        ("incr", ["n"], 1),
        ("append", ["s", "x"], 1),
        ("delete", ["d"], True),
        ("compare_and_set", ["d", 1, 2], True),
        ("expire", ["d", 10_000], True),
        ("update", ["doc", {"a": 1}], True),
        ("transact", [[["incr", "n"], ["get", "n"]]], [1, 1]),
    ],
)
def test_a_retry_with_the_same_request_id_gets_the_first_outcome(
    name: str, params: list[Any], result: Any
) -> None:
    shard = Shard()
    shard.call("set", "d", 1)
    shard.call("set", "doc", {})
    options = {"request_id": "r1"}
    assert shard.call(name, *params, options) == result
    shard.call("set", "n", 77)
    before = shard.state.content()
    assert shard.call(name, *params, options) == result
    assert shard.state.content() == before
    assert KvMachine(shard.copy()).dump() == KvMachine(shard.state).dump()


def test_the_oldest_request_ids_make_room() -> None:
    shard = Shard(request_ids=10)
    for number in range(30):
        shard.call("incr", f"k{number}", {"request_id": str(number)})
    assert len(shard.state.requests) == 10
    assert shard.call("incr", "k29", {"request_id": "29"}) == 1
    assert shard.call("incr", "k0", {"request_id": "0"}) == 2


def test_a_transaction_is_all_or_nothing() -> None:
    shard = Shard()
    shard.call("set", "{t}a", 1, {"ttl_ms": 5000})
    shard.call("set", "{t}s", "text")
    log = len(shard.log)
    operations = [
        ["incr", "{t}a"],
        ["set", "{t}new", 1],
        ["delete", "{t}s"],
        ["incr", "{t}x", "no"],
    ]
    refused(shard, "bad_request", "transact", operations)
    guarded = [["incr", "{t}a"], ["compare_and_set", "{t}s", "other", 1]]
    refused(shard, "refused", "transact", guarded)
    refused(
        shard, "refused", "transact", [["delete", "{t}s"], ["set", "{t}a", 0, {"if": "absent"}]]
    )
    assert shard.call("mget", ["{t}a", "{t}new", "{t}s"]) == [1, None, "text"]
    assert shard.call("ttl", "{t}a") == 5000
    assert len(shard.log) == log
    assert shard.call("transact", [["incr", "{t}a"], ["append", "{t}s", "s"]]) == [2, 5]


def test_atomicity_across_slots_is_refused() -> None:
    shard = Shard()
    refused(shard, "crossslot", "transact", [["incr", "a"], ["incr", "b"]])
    refused(shard, "crossslot", "mget", ["a", "b"], {"atomic": True})
    assert shard.call("mget", ["{t}a", "{t}b"], {"atomic": True}) == [None, None]
    assert shard.call("mget", ["a", "b"]) == [None, None]


BAD = [
    ("bad_request", "get", []),
    ("bad_request", "get", ["a", "b"]),
    ("bad_request", "get", [b"bytes"]),
    ("bad_request", "get", [5]),
    ("bad_request", "get", [""]),
    ("bad_request", "get", ["\ud800"]),
    ("too_large", "get", ["k" * (kv.MAX_KEY_BYTES + 1)]),
    ("too_large", "set", ["ä" * (kv.MAX_KEY_BYTES // 2 + 1), 1]),
    ("bad_request", "set", ["k"]),
    ("bad_request", "set", ["k", None]),
    ("bad_request", "set", ["k", 1, {"ttl": 5}]),
    ("bad_request", "set", ["k", 1, {"ttl_ms": 0}]),
    ("bad_request", "set", ["k", 1, {"ttl_ms": "5"}]),
    ("bad_request", "set", ["k", 1, {"ttl_ms": 5, "keep_ttl": True}]),
    ("bad_request", "set", ["k", 1, {"if": "maybe"}]),
    ("bad_request", "set", ["k", 1, {"request_id": ""}]),
    ("bad_request", "set", ["k", 1, {"request_id": 7}]),
    ("bad_request", "set", ["k", {"a": {1: 2}}]),
    ("too_large", "set", ["k", "x" * (kv.MAX_VALUE_BYTES + 1)]),
    ("too_large", "set", ["k", {"x": b"x" * kv.MAX_VALUE_BYTES}]),
    ("wrong_type", "incr", ["text"]),
    ("bad_request", "incr", ["n", 1.5]),
    ("wrong_type", "append", ["text", b"bytes"]),
    ("wrong_type", "append", ["doc", "x"]),
    ("bad_request", "append", ["text", 5]),
    ("too_large", "append", ["text", "x" * kv.MAX_VALUE_BYTES]),
    ("bad_request", "expire", ["text"]),
    ("bad_request", "expire", ["text", -1]),
    ("bad_request", "expire", ["text", kv.MAX_TTL_MS + 1]),
    ("wrong_type", "read", ["text", "a"]),
    ("bad_request", "read", ["doc", ""]),
    ("bad_request", "read", ["doc", ".".join("a" * 17)]),
    ("wrong_type", "update", ["text", {"a": 1}]),
    ("wrong_type", "update", ["doc", {"author.name.first": 1}]),
    ("bad_request", "update", ["doc", {}]),
    ("bad_request", "update", ["doc", {"a": {5: 6}}]),
    ("bad_request", "mget", ["a"]),
    ("bad_request", "mget", [[]]),
    ("bad_request", "mget", [["a"] * (kv.MAX_KEYS + 1)]),
    ("bad_request", "scan", ["nonsense"]),
    ("bad_request", "scan", ["99999:"]),
    ("bad_request", "scan", ["", {"count": 0}]),
    ("bad_request", "scan", ["", {"prefix": 1}]),
    ("bad_request", "transact", [[]]),
    ("bad_request", "transact", [["get"]]),
    ("bad_request", "transact", [[["scan", "a"]]]),
    ("bad_request", "transact", [[["set", "a", 1, {"request_id": "x"}]]]),
    ("bad_request", "find", [{"a": 1}]),
]


@pytest.mark.parametrize(("code", "name", "params"), BAD)
def test_bad_input_is_a_clear_refusal_and_changes_nothing(
    code: str, name: str, params: list[Any]
) -> None:
    shard = Shard(index=AUTHOR)
    shard.call("set", "text", "words")
    shard.call("set", "doc", {"author": {"name": "ada"}})
    before = KvMachine(shard.state).dump()
    assert refused(shard, code, name, *params).message
    assert KvMachine(shard.state).dump() == before


def test_a_full_shard_refuses_what_is_new_and_lets_go() -> None:
    shard = Shard(capacity_bytes=100)
    shard.call("set", "a", "x" * 80)
    refused(shard, "no_space", "set", "b", "x" * 30)
    assert shard.call("get", "a") == "x" * 80
    shard.call("delete", "a")
    shard.call("set", "b", "x" * 30)
    assert shard.state.bytes == 31


def test_a_slot_that_is_elsewhere_and_an_epoch_from_the_future_are_refused() -> None:
    here, there = sorted((slot_of("a"), slot_of("b")))
    shard = Shard(ranges=[[here, here]])
    key, other = ("a", "b") if slot_of("a") == here else ("b", "a")
    assert refused(shard, "moved", "get", other).details[0] == there
    refused(shard, "moved", "set", other, 1)
    assert shard.call("set", key, 1, epoch=1) is True
    assert refused(shard, "stale_epoch", "set", key, 2, epoch=2).details == (1,)
    assert refused(shard, "stale_epoch", "get", key, epoch=2).details == (1,)
    assert shard.call("get", key, epoch=0) == 1


def test_a_node_that_may_not_serve_says_why() -> None:
    shard = Shard()
    shard.commands.no_reads = RpcError("unavailable", "no lease")
    shard.commands.no_writes = RpcError("not_primary", "", "other")
    refused(shard, "unavailable", "get", "k")
    refused(shard, "unavailable", "scan", "")
    refused(shard, "not_primary", "set", "k", 1)


# --- documents ------------------------------------------------------------------------------


def test_fields_of_documents_are_read_and_changed_by_path() -> None:
    shard = Shard()
    shard.call("set", "d", {"author": {"name": "ada"}, "tags": ["x", "y"]})
    assert shard.call("read", "d", "author.name") == "ada"
    assert shard.call("read", "d", "tags.1") == "y"
    assert shard.call("read", "d", "tags.7") is None
    assert shard.call("read", "d", "author.name.first") is None
    assert shard.call("read", "absent", "a") is None
    changes = {"author.name": "grace", "tags.0": "z", "new.deep": 1, "tags.1": None}
    assert shard.call("update", "d", changes) is True
    assert shard.call("get", "d") == {
        "author": {"name": "grace"}, "tags": ["z"], "new": {"deep": 1}
    }  # fmt: skip
    assert shard.call("update", "absent", {"a": 1}) is False
    for far in ("9" * 5000, "１", "²", "-1"):
        assert shard.call("read", "d", f"tags.{far}") is None
        with pytest.raises(RpcError, match="wrong_type: the list has no item"):
            shard.call("update", "d", {f"tags.{far}": 1})


def test_a_document_that_was_handed_out_does_not_change_afterwards() -> None:
    shard = Shard()
    shard.call("set", "d", {"a": {"b": 1}})
    seen = shard.call("get", "d")
    shard.call("update", "d", {"a.b": 2})
    assert seen == {"a": {"b": 1}}


def test_the_index_follows_documents_through_changes_deletes_and_expiry() -> None:
    shard = Shard(index=AUTHOR)
    for number in range(6):
        shard.call("set", f"d{number}", {"author": {"name": "ada" if number % 2 else "alan"}})
    shard.call("set", "d9", {"author": {"name": "ada"}}, {"ttl_ms": 50})
    assert shard.call("find", "ada") == {"keys": ["d1", "d3", "d5", "d9"], "more": False}
    assert shard.call("find", "ada", {"limit": 2}) == {"keys": ["d1", "d3"], "more": True}
    assert shard.call("find", "ada", {"limit": 2, "after": "d3"})["keys"] == ["d5", "d9"]
    shard.call("update", "d1", {AUTHOR: "alan"})
    shard.call("delete", "d3")
    shard.now_ms += 50
    assert shard.call("find", "ada")["keys"] == ["d5"]
    shard.call("set", "d5", "no document")
    assert shard.call("find", "ada")["keys"] == []
    again = KvState(index=AUTHOR)
    KvMachine(again).restore(KvMachine(shard.state).dump())
    assert again.index is not None and sorted(again.index.find("alan")) == ["d0", "d1", "d2", "d4"]


def test_without_an_index_find_says_so() -> None:
    refused(Shard(), "refused", "find", "ada")


# --- scanning -------------------------------------------------------------------------------


def scan_all(shard: Shard, **options: Any) -> list[str]:
    keys: list[str] = []
    cursor = ""
    while True:
        page = shard.call("scan", cursor, options)
        keys += page["keys"]
        cursor = page["cursor"]
        if not cursor:
            return keys


def test_a_scan_gives_every_key_once_by_pages_and_prefix() -> None:
    shard = Shard()
    names = [f"user:{number}" for number in range(500)] + [f"{{t}}{n}" for n in range(300)]
    for name in names:
        shard.call("set", name, 1)
    assert sorted(scan_all(shard, count=7)) == sorted(names)
    assert sorted(scan_all(shard, prefix="user:1")) == sorted(
        name for name in names if name.startswith("user:1")
    )
    page = shard.call("scan", "", {"count": 3, "values": True})
    assert page["values"] == [1, 1, 1]


def test_a_scan_gives_what_was_there_throughout_while_others_come_and_go() -> None:
    shard = Shard()
    stay = [f"s{number}" for number in range(200)]
    for name in stay:
        shard.call("set", name, 1)
    seen: list[str] = []
    cursor, turn = "", 0
    while True:
        page = shard.call("scan", cursor, {"count": 5})
        seen += page["keys"]
        cursor, turn = page["cursor"], turn + 1
        shard.call("set", f"new{turn}", 1)
        shard.call("delete", f"new{turn - 3}")
        if not cursor:
            break
    assert sorted(key for key in seen if key in stay) == sorted(stay)


def test_a_scan_stops_at_a_slot_that_is_elsewhere_and_says_where_to_go_on() -> None:
    shard = Shard(ranges=[[0, 99], [200, SLOTS - 1]])
    assert shard.call("scan", "") == {"keys": [], "cursor": "100:"}
    refused(shard, "moved", "scan", "100:")
    assert shard.call("scan", "200:") == {"keys": [], "cursor": ""}


def test_a_slot_with_more_keys_than_a_page_may_look_at_is_scanned_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nodes.kv.scans.SCAN_EXAMINES", 10)
    shard = Shard()
    names = [f"{{t}}{number:03}" for number in range(105)]
    for name in names:
        shard.call("set", name, 1, {"ttl_ms": 50} if int(name[3:]) % 3 == 0 else {})
    shard.now_ms += 50
    assert scan_all(shard) == [name for name in names if int(name[3:]) % 3]


# --- the log --------------------------------------------------------------------------------

values = st.one_of(
    st.integers(-5, 5),
    st.text(max_size=3),
    st.lists(st.integers(-9, 9), max_size=2),
    st.fixed_dictionaries({"a": st.integers(0, 3)}),
)
keys = st.sampled_from(KEYS)
operations = st.one_of(
    st.tuples(st.just("set"), keys, values),
    st.tuples(st.just("set"), keys, values, st.fixed_dictionaries({"ttl_ms": st.integers(1, 9)})),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("incr"), keys, st.integers(-3, 3)),
    st.tuples(st.just("append"), keys, st.one_of(st.text(max_size=2), st.lists(st.just(7)))),
    st.tuples(st.just("compare_and_set"), keys, values, values),
    st.tuples(st.just("expire"), keys, st.one_of(st.none(), st.integers(1, 9))),
    st.tuples(st.just("update"), keys, st.fixed_dictionaries({"a": st.integers(0, 3)})),
    st.tuples(st.just("get"), keys),
    st.tuples(st.just("wait"), st.integers(1, 5)),
)


def run(shard: Shard, steps: list[Any]) -> None:
    for number, (name, *params) in enumerate(steps):
        if name == "wait":
            shard.now_ms += params[0]
            continue
        if name in kv.WRITES:
            options = params.pop() if type(params[-1]) is dict and name == "set" and len(
                params) == 3 else {}  # fmt: skip
            params.append({**options, "request_id": f"r{number}"})
        try:
            shard.call(name, *params)
        except RpcError as error:
            assert error.code in ("wrong_type", "bad_request", "refused")


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=30))
def test_a_replica_that_applies_the_log_is_equal_and_so_is_a_restored_dump(
    steps: list[Any],
) -> None:
    shard = Shard(ranges=FEW, index="a")
    run(shard, steps)
    replica = shard.copy()
    assert KvMachine(replica).dump() == KvMachine(shard.state).dump()
    again = KvState(index="a")
    KvMachine(again).restore(KvMachine(replica).dump())
    assert KvMachine(again).dump() == KvMachine(replica).dump()
    assert (again.keys, again.bytes) == (replica.keys, replica.bytes)
    assert again.keys == len(again.content())


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=30), st.data())
def test_facts_repeated_from_an_earlier_one_end_in_the_same_state(
    steps: list[Any], data: st.DataObject
) -> None:
    """A copy that is newer than where its stream begins: this is what a move does."""
    shard = Shard(ranges=FEW, index="a")
    run(shard, steps)
    taken = data.draw(st.integers(1, len(shard.log)))
    begun = data.draw(st.integers(1, taken))
    copy = KvState(index="a")
    for fact in [*shard.log[:taken], *shard.log[begun:]]:
        copy.apply_fact(fact)
    assert copy.content() == shard.state.content()
    assert copy.requests.find(slot_of("a"), "r0") == shard.state.requests.find(slot_of("a"), "r0")


def test_a_list_keeps_only_its_last_items_if_the_append_says_so() -> None:
    shard = Shard()
    for number in range(5):
        assert shard.call("append", "l", [number], {"keep": 3}) == min(number + 1, 3)
    assert shard.call("get", "l") == [2, 3, 4]
    assert shard.call("append", "l", [5, 6, 7, 8], {"keep": 2, "request_id": "r"}) == 2
    assert shard.call("append", "l", [5, 6, 7, 8], {"keep": 2, "request_id": "r"}) == 2
    assert shard.call("get", "l") == [7, 8]
    assert shard.call("append", "l", [9]) == 3
    assert shard.copy().content() == shard.state.content()
    refused(shard, "bad_request", "append", "l", [1], {"keep": 0})
    refused(shard, "bad_request", "append", "l", [1], {"keeps": 1})
