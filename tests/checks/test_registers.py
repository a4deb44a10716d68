"""Registers and keys: histories by hand, each with the words that an anomaly is told in."""

from __future__ import annotations

from emu.checks import check
from tests.checks.histories import anomaly, did, fail, info, invoke, is_valid, ok, recorded, saw


def test_a_read_sees_the_last_write_and_null_before_it():
    assert is_valid(
        saw("a", "read", None), did("a", "write", 5), saw("b", "read", 5), model="register"
    )


def test_a_stale_read_is_told_with_the_write_that_it_missed():
    text = anomaly(
        did("a", "write", 5), did("b", "write", 7), saw("a", "read", 5), model="register"
    )
    assert text == (
        "read by a at 6 s returned 5, but 7 had been acknowledged at 4 s after 5 had been "
        "acknowledged at 2 s, and nothing wrote it again"
    )


def test_the_operations_of_an_anomaly_are_the_fewest_that_show_it():
    history = recorded(
        *[did("c", "write", value) for value in range(100, 120)],
        did("a", "write", 5), did("b", "write", 7), did("c", "write", 8), saw("a", "read", 7),
        *[did("c", "write", value) for value in range(200, 220)],
    )  # fmt: skip
    (found,) = check(history.operations, "register").anomalies
    assert [(each.f, each.result) for each in found.operations] == [
        ("write", 7), ("write", 8), ("read", 7)
    ]  # fmt: skip


def test_a_read_of_the_initial_value_after_a_write_is_stale():
    text = anomaly(did("a", "write", 5), saw("b", "read", None), model="register")
    assert "null is the initial value" in text and "5 had been acknowledged at 2 s" in text


def test_a_new_value_once_read_must_not_give_way_to_the_old_one():
    history = (
        did("w", "write", 1), invoke("w", "write", 2), saw("a", "read", 2), saw("b", "read", 1),
        ok("w"),
    )  # fmt: skip
    assert "2 had been read by a at 5 s" in anomaly(*history, model="register")


def test_reads_beside_a_write_may_go_either_way():
    assert is_valid(
        did("w", "write", 1), invoke("w", "write", 2), saw("a", "read", 1), saw("b", "read", 2),
        ok("w"), model="register",
    )  # fmt: skip


def test_a_write_of_unknown_outcome_may_take_effect_any_time_later_or_never():
    unknown = (did("a", "write", 1), invoke("b", "write", 2), info("b"))
    assert is_valid(*unknown, saw("a", "read", 1), saw("a", "read", 2), model="register")
    assert is_valid(*unknown, saw("a", "read", 1), saw("a", "read", 1), model="register")
    assert not is_valid(*unknown, saw("a", "read", 2), saw("a", "read", 1), model="register")


def test_a_write_that_failed_must_not_be_read():
    text = anomaly(invoke("a", "write", 1), fail("a"), saw("b", "read", 1), model="register")
    assert text == "read by b at 4 s returned 1, but write 1 by a (refused at 2 s) did not happen"


def test_a_value_out_of_nowhere_and_one_from_the_future():
    assert "which nobody wrote" in anomaly(saw("a", "read", 9), model="register")
    text = anomaly(saw("a", "read", 9), did("b", "write", 9), model="register")
    assert "which b began to write only at 3 s" in text


def test_true_is_not_one_and_a_list_is_a_value():
    assert not is_valid(did("a", "write", 1), saw("a", "read", True), model="register")
    assert is_valid(did("a", "write", [1, {"x": 2}]), saw("a", "read", [1, {"x": 2}]),
                    model="register")  # fmt: skip


def test_keys_are_judged_apart_and_an_anomaly_names_its_key():
    history = recorded(
        did("a", "write", 1, key="x"), did("a", "write", 1, key="y"), saw("a", "read", 1, key="x"),
        saw("a", "read", None, key="y"),
    )  # fmt: skip
    (found,) = check(history.operations, "register").anomalies
    assert found.key == "y" and str(found).startswith('register, key "y": read by a at 8 s')


def test_values_written_twice_are_left_to_the_search():
    assert is_valid(
        did("a", "write", 1), did("a", "write", 2), did("a", "write", 1), saw("b", "read", 1),
        model="register",
    )  # fmt: skip
    text = anomaly(
        did("a", "write", 1), did("a", "write", 1), did("b", "write", 2), saw("c", "read", 1),
        model="register",
    )  # fmt: skip
    assert "the value by then was 2 (after write 2 by b (acknowledged at 6 s))" in text


def test_compare_and_set_succeeds_only_on_the_old_value():
    assert is_valid(
        did("a", "write", 1), did("b", "cas", [1, 2], [1, 2, True]), saw("a", "read", 2),
        model="cas-register",
    )  # fmt: skip
    text = anomaly(
        did("a", "write", 1), did("b", "cas", [1, 2], [1, 2, True]),
        did("c", "cas", [1, 3], [1, 3, True]), model="cas-register",
    )  # fmt: skip
    assert text.startswith("cas 1 to 3 → done by c at 6 s cannot be")
    assert "the value by then was 2 (after cas 1 to 2 → done by b (acknowledged at 4 s))" in text


def test_a_refused_compare_and_set_is_an_observation():
    assert is_valid(did("a", "write", 1), did("b", "cas", [5, 6], [5, 6, False]),
                    model="cas-register")  # fmt: skip
    text = anomaly(did("a", "write", 5), did("b", "cas", [5, 6], [5, 6, False]),
                   model="cas-register")  # fmt: skip
    assert "cas 5 to 6 → refused by b at 4 s cannot be" in text


def test_a_failed_compare_and_set_says_nothing():
    assert is_valid(did("a", "write", 5), invoke("b", "cas", [5, 6]), fail("b"),
                    saw("a", "read", 5), model="cas-register")  # fmt: skip
    assert not is_valid(did("a", "write", 5), invoke("b", "cas", [5, 6]), fail("b"),
                        saw("a", "read", 6), model="cas-register")  # fmt: skip


def test_a_key_counts_deletes_and_grows():
    assert is_valid(
        did("a", "incr", 1, 1), did("a", "incr", 4, 5), saw("b", "get", 5),
        did("a", "delete", None, True), saw("b", "get", None), did("a", "delete", None, False),
        did("a", "append", "x"), did("a", "append", "y"), saw("b", "get", "xy"), model="kv",
    )  # fmt: skip
    assert is_valid(did("a", "append", 1), did("a", "append", 2), saw("b", "get", [1, 2]),
                    model="kv")  # fmt: skip


def test_a_lost_update_of_a_counter_is_found():
    text = anomaly(invoke("a", "incr"), invoke("b", "incr"), ok("a", 1), ok("b", 1), model="kv")
    assert "incr → 1 by b at 4 s cannot be" in text or "incr → 1 by a at 3 s cannot be" in text
    text = anomaly(did("a", "incr"), did("b", "incr"), saw("c", "read", 1), model="kv")
    assert "the value by then was 2 (after incr by b (acknowledged at 4 s))" in text


def test_a_delete_that_found_something_needs_something_to_find():
    text = anomaly(did("a", "delete", None, True), model="kv")
    assert "the value by then was null (as at the beginning)" in text


def test_too_few_steps_are_unknown_not_wrong():
    history = recorded(
        *[invoke(f"p{n}", "write", n % 3) for n in range(9)],
        *[ok(f"p{n}") for n in range(9)],
        saw("r", "read", 2), saw("r", "read", 1), model="register",
    )  # fmt: skip
    found = check(history.operations, "register", max_steps=50)
    assert found.valid == "unknown"
    assert found.unknown == ["register: 50 steps were not enough for 11 operations"]
    assert check(history.operations, "register").valid is False


def test_uncertain_operations_that_do_the_same_are_no_labyrinth():
    history = recorded(
        *[invoke(f"p{n}", "incr") + info(f"p{n}") for n in range(40)],
        did("a", "incr", None, 50), model="kv",
    )  # fmt: skip
    assert check(history.operations, "kv", max_steps=10_000).valid is False


def test_an_increment_that_was_answered_twice_names_the_first():
    text = anomaly(
        did("a", "incr", None, 1), did("b", "incr", None, 2), did("a", "incr", None, 2), model="kv"
    )
    assert text.endswith("; b had been answered the same at 4 s")


def test_lists_that_are_appended_to_a_key_extend_it():
    history = (did("a", "append", ["x"]), did("a", "append", ["y"]))
    assert is_valid(*history, saw("b", "get", ["x", "y"]), model="kv")
    assert not is_valid(*history, saw("b", "get", ["y"]), model="kv")


def test_a_value_that_nobody_wrote_needs_no_search():
    history = recorded(
        *[invoke(f"p{n}", "cas", [n % 7, n % 5]) for n in range(40)], saw("r", "read", 9),
        model="cas-register",
    )  # fmt: skip
    (found,) = check(history.operations, "cas-register", max_steps=1).anomalies
    assert found.text.endswith("cannot be: nobody wrote 9")
