"""Lists, sets, queues and banks: histories by hand, valid and not."""

from __future__ import annotations

from tests.checks.histories import (
    anomaly,
    checked,
    did,
    fail,
    info,
    invoke,
    is_valid,
    ok,
    recorded,
    saw,
)

# --- lists -------------------------------------------------------------------------------------


def test_a_list_grows_at_its_end():
    assert is_valid(
        saw("r", "read", []), did("a", "append", 1), invoke("b", "append", 2),
        invoke("c", "append", 3), saw("r", "read", [1, 3]), ok("b"), ok("c"),
        saw("r", "read", [1, 3, 2]), model="list-append",
    )  # fmt: skip


def test_an_acknowledged_append_that_a_later_read_lacks_is_told():
    text = anomaly(did("a", "append", 1), did("a", "append", 2), saw("r", "read", [1]),
                   model="list-append")  # fmt: skip
    assert text == (
        "read by r at 6 s shows 1 elements, without 2, which had been acknowledged at 4 s"
    )


def test_reads_that_disagree_are_told_with_the_place():
    text = anomaly(
        invoke("a", "append", 1), invoke("b", "append", 2), saw("r", "read", [1, 2]),
        saw("s", "read", [2, 1]), model="list-append",
    )  # fmt: skip
    assert "two reads disagree about element 0: 1 for r at 4 s, 2 for s at 6 s" in text


def test_a_read_never_shows_less_than_one_before_it():
    text = anomaly(invoke("a", "append", 1), saw("r", "read", [1]), saw("s", "read", []),
                   model="list-append")  # fmt: skip
    assert "but r had already read 1 at 3 s" in text


def test_appends_keep_the_order_of_real_time():
    text = anomaly(did("a", "append", 1), did("b", "append", 2), saw("r", "read", [2, 1]),
                   model="list-append")  # fmt: skip
    assert text.startswith("1 comes after 2 in the list, though append 1 had been acknowledged")


def test_a_lost_append_is_seen_from_a_later_one():
    text = anomaly(
        did("a", "append", 1), did("b", "append", 2), invoke("r", "read"), ok("r", [2]),
        model="list-append",
    )  # fmt: skip
    assert "without 1" in text
    text = anomaly(
        invoke("r", "read"), did("a", "append", 1), did("b", "append", 2), ok("r", [2]),
        model="list-append",
    )  # fmt: skip
    assert text.startswith("1 is missing")


def test_a_list_shows_nothing_strange():
    shown = [("twice", [1, 1]), ("which nobody appended", [1, 9]), ("did not happen", [1, 2])]
    for words, seen in shown:
        assert words in anomaly(
            did("a", "append", 1), invoke("b", "append", 2), fail("b"), saw("r", "read", seen),
            model="list-append",
        )  # fmt: skip
    assert "began to append only at 3 s" in anomaly(
        saw("r", "read", [1]), did("a", "append", 1), model="list-append"
    )


def test_an_element_appended_twice_is_left_to_the_search():
    twice = (did("a", "append", 1), did("a", "append", 1))
    assert is_valid(*twice, saw("r", "read", [1, 1]), model="list-append")
    assert "it was [1, 1]" in anomaly(*twice, saw("r", "read", [1]), model="list-append")


# --- sets --------------------------------------------------------------------------------------


def test_a_set_keeps_what_was_acknowledged():
    assert is_valid(
        did("a", "add", 1), invoke("b", "add", 2), info("b"), invoke("c", "add", 3), fail("c"),
        saw("r", "read", [2, 1]), model="set",
    )  # fmt: skip


def test_a_lost_element_is_told_with_its_acknowledgement():
    text = anomaly(did("a", "add", 1), did("a", "add", 2), saw("r", "read", [1]), model="set")
    assert text == (
        "2 was lost: its add by a was acknowledged at 4 s, and the last read, by r at 6 s, lacks it"
    )


def test_an_element_that_is_late_is_not_lost():
    assert is_valid(did("a", "add", 1), saw("r", "read", []), saw("r", "read", [1]), model="set")


def test_an_element_that_was_seen_must_not_vanish():
    text = anomaly(invoke("a", "add", 1), info("a"), saw("r", "read", [1]), saw("r", "read", []),
                   model="set")  # fmt: skip
    assert text.startswith("1 vanished: r had read it at 4 s")


def test_a_set_shows_nothing_strange():
    for words, seen in [("twice", [1, 1]), ("nobody added", [1, 9]), ("did not happen", [1, 2])]:
        history = (did("a", "add", 1), invoke("b", "add", 2), fail("b"), saw("r", "read", seen))
        assert words in anomaly(*history, model="set")
    assert "began to add only at 3 s" in anomaly(
        saw("r", "read", [1]), did("a", "add", 1), model="set"
    )


def test_a_set_without_reads_says_nothing():
    assert is_valid(did("a", "add", 1), model="set")


# --- queues ------------------------------------------------------------------------------------


def test_a_queue_gives_each_element_once_in_order():
    assert is_valid(
        did("p", "enqueue", 1), did("p", "enqueue", 2), saw("c", "dequeue", 1),
        did("p", "enqueue", 3), saw("c", "dequeue", 2), model="queue",
    )  # fmt: skip


def test_an_element_that_an_empty_queue_has_swallowed_is_lost():
    text = anomaly(did("p", "enqueue", 1), saw("c", "dequeue", None), model="queue")
    assert text == (
        "1 was lost: its enqueue by p was acknowledged at 2 s, and c found the queue empty at 4 s"
    )


def test_an_element_that_was_skipped_is_lost():
    skipped = (did("p", "enqueue", 1), did("p", "enqueue", 2), saw("c", "dequeue", 2))
    assert "and 2, put in later, came out at 6 s" in anomaly(*skipped, model="queue")
    assert is_valid(*skipped, model="queue", guarantee="unordered")


def test_a_taker_that_got_no_answer_may_have_taken_it():
    assert is_valid(
        did("p", "enqueue", 1), invoke("c", "dequeue"), info("c"), saw("d", "dequeue", None),
        model="queue",
    )  # fmt: skip


def test_a_second_delivery_is_a_duplicate_unless_permitted():
    twice = (did("p", "enqueue", 1), saw("c", "dequeue", 1), saw("d", "dequeue", 1))
    assert "1 came out 2 times, for c at 4 s and for d at 6 s" in anomaly(*twice, model="queue")
    assert is_valid(*twice, model="queue", guarantee="at-least-once")
    assert is_valid(
        did("p", "enqueue", 1), did("p", "enqueue", 1), *[saw("c", "dequeue", 1)] * 2, model="queue"
    )


def test_a_queue_is_not_found_empty_while_something_is_in_it():
    there = (did("p", "enqueue", 1), saw("c", "dequeue", None), saw("d", "dequeue", 1))
    assert anomaly(*there, model="queue") == (
        "c found the queue empty at 4 s, and it never was: 1, whose enqueue was acknowledged at "
        "2 s, came out at 6 s"
    )
    assert is_valid(*there, model="queue", guarantee="unordered")
    relay = (
        did("p", "enqueue", 1), invoke("c", "dequeue"), did("p", "enqueue", 2),
        saw("d", "dequeue", 1), ok("c", None), saw("d", "dequeue", 2),
    )  # fmt: skip
    assert "never was: 1," in anomaly(*relay, model="queue")
    gap = (
        did("p", "enqueue", 1), invoke("c", "dequeue"), saw("d", "dequeue", 1),
        did("p", "enqueue", 2), ok("c", None), saw("d", "dequeue", 2),
    )  # fmt: skip
    assert is_valid(*gap, model="queue")


def test_elements_of_one_partition_come_out_in_order():
    history = (
        did("p", "enqueue", 1), did("p", "enqueue", 2), saw("c", "dequeue", 2),
        saw("c", "dequeue", 1),
    )  # fmt: skip
    text = anomaly(*history, model="queue")
    assert text.startswith("1 came out at 8 s, after 2 (6 s), though its enqueue had been")
    beside = (
        invoke("p", "enqueue", 1), did("q", "enqueue", 2), ok("p"), saw("c", "dequeue", 2),
        saw("c", "dequeue", 1),
    )  # fmt: skip
    assert is_valid(*beside, model="queue")
    assert is_valid(*history, model="queue", guarantee="unordered")


def test_partitions_have_no_order_between_them():
    assert is_valid(
        did("p", "enqueue", 1, key="x"), did("p", "enqueue", 2, key="y"),
        saw("c", "dequeue", 2, key="y"), saw("c", "dequeue", 1, key="x"), model="queue",
    )  # fmt: skip


def test_nothing_comes_out_that_was_not_put_in():
    assert "which nobody put in" in anomaly(saw("c", "dequeue", 9), model="queue")
    failed = (invoke("p", "enqueue", 1), fail("p"), saw("c", "dequeue", 1))
    assert "did not happen" in anomaly(*failed, model="queue")
    early = (saw("c", "dequeue", 1), did("p", "enqueue", 1))
    assert "began to put in only at 3 s" in anomaly(*early, model="queue")


# --- banks -------------------------------------------------------------------------------------

MOVE = {"from": "x", "to": "y", "amount": 3}


def test_a_transfer_keeps_the_total():
    assert is_valid(
        saw("r", "balances", {"x": 5, "y": 5}), did("a", "transfer", MOVE),
        saw("r", "balances", {"x": 2, "y": 8}), model="bank",
    )  # fmt: skip


def test_half_a_transfer_is_told_with_the_transfer():
    text = anomaly(
        saw("r", "balances", {"x": 5, "y": 5}), invoke("a", "transfer", MOVE),
        saw("r", "balances", {"x": 2, "y": 5}), ok("a"), model="bank",
    )  # fmt: skip
    assert text == (
        "r saw at 5 s a total of 7; it was 10 for r at 2 s; half of the transfer of 3 by a "
        "would explain it"
    )


def test_money_below_zero_and_accounts_that_come_or_go():
    assert "below zero" in anomaly(saw("r", "balances", {"x": -1, "y": 2}), model="bank")
    text = anomaly(
        saw("r", "balances", {"x": 5, "y": 5}), saw("s", "balances", {"x": 5, "z": 5}), model="bank"
    )
    assert 'it lacks "y" and has "z" besides' in text


def test_several_anomalies_are_all_told():
    found = checked(saw("r", "read", [1, 2]), model="set")
    assert len(found.anomalies) == 2


def test_models_can_be_mixed_in_one_recording():
    assert recorded(did("a", "write", 1)).models() == ["register"]
