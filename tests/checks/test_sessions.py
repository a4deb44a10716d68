"""What a client may expect of lagging replicas, and what states must agree on."""

from __future__ import annotations

from emu.checks.states import Claim, check_logs, check_owners, check_replicas
from tests.checks.histories import anomaly, did, invoke, is_valid, ok, saw

# --- sessions ----------------------------------------------------------------------------------


def test_a_stale_read_by_somebody_else_breaks_no_session():
    stale = (did("a", "write", 1), did("a", "write", 2), saw("b", "read", 1))
    assert not is_valid(*stale, model="register")
    assert is_valid(*stale, model="register", guarantee="session")


def test_a_process_reads_its_own_writes():
    for seen in (1, None):
        text = anomaly(
            did("a", "write", 1), did("a", "write", 2), saw("a", "read", seen),
            model="register", guarantee="read-your-writes",
        )  # fmt: skip
        assert "without its own write 2 that had been acknowledged at 4 s" in text


def test_a_write_beside_mine_may_win():
    assert is_valid(
        invoke("b", "write", 9), did("a", "write", 2), ok("b"), saw("a", "read", 9),
        model="register", guarantee="session",
    )  # fmt: skip


def test_a_process_does_not_read_backwards():
    text = anomaly(
        did("w", "write", 1), did("w", "write", 2), saw("r", "read", 2), saw("r", "read", 1),
        model="register", guarantee="monotonic-reads",
    )  # fmt: skip
    assert "r read 1 at 8 s, older than 2 that it had read at 6 s" in text


def test_nobody_reads_what_nobody_wrote():
    text = anomaly(did("a", "write", 1), saw("b", "read", 7), model="register", guarantee="session")
    assert "b read 7 at 4 s: nobody had written 7 by then" in text
    later = (saw("b", "read", 7), did("a", "write", 7))
    assert not is_valid(*later, model="register", guarantee="session")
    lists = (did("a", "append", 1), saw("b", "read", [1, 3]))
    assert "nobody had written 3" in anomaly(*lists, model="list-append", guarantee="session")


def test_what_may_have_been_written_may_be_read():
    unheard = (invoke("a", "write", 7), saw("b", "read", 7))
    assert is_valid(*unheard, model="register", guarantee="session")
    changed = (did("a", "set", "x"), invoke("a", "append", "y"), saw("b", "get", "xy"))
    assert is_valid(*changed, model="kv", guarantee="session")
    assert is_valid(saw("b", "read", None), model="register", guarantee="session")
    assert is_valid(saw("b", "read", []), model="list-append", guarantee="session")


def test_null_may_come_back_where_something_deletes():
    assert is_valid(
        did("w", "set", 1), saw("r", "get", 1), invoke("x", "delete"), saw("r", "get", None),
        ok("x"), model="kv", guarantee="session",
    )  # fmt: skip


def test_lists_and_sets_have_sessions_too():
    lists = (did("a", "append", 1), saw("a", "read", []))
    assert "without its own append 1" in anomaly(*lists, model="list-append", guarantee="session")
    sets = (invoke("a", "add", 1), saw("r", "read", [1]), saw("r", "read", []))
    assert "older than [1]" in anomaly(*sets, model="set", guarantee="monotonic-reads")


def test_of_what_only_grows_each_own_write_stays():
    for f, model in (("append", "list-append"), ("add", "set")):
        three = did("a", f, 1), did("a", f, 2), saw("a", "read", [2])
        text = anomaly(*three, model=model, guarantee="read-your-writes")
        assert f"a read [2] at 6 s, without its own {f} 1 that had been acknowledged" in text
        assert is_valid(did("a", f, 1), saw("b", "read", []), model=model, guarantee="session")


def test_one_process_appends_in_its_own_order():
    text = anomaly(
        did("a", "append", 1), did("a", "append", 2), saw("r", "read", [2, 1]),
        model="list-append", guarantee="monotonic-writes",
    )  # fmt: skip
    assert "a appended 1 before 2, but r read them the other way round" in text


def test_a_change_that_was_refused_is_none_and_a_value_may_come_back():
    first = did("w", "write", 1), did("w", "write", 2)
    refused = did("p", "cas", [9, 10], [9, 10, False])
    back = did("p", "cas", [2, 1], [2, 1, True])
    for more in ((refused, saw("p", "read", 2)), (back, saw("p", "read", 1))):
        assert is_valid(*first, *more, model="cas-register", guarantee="session")
    seen = saw("r", "read", 2), back, saw("r", "read", 1)
    assert is_valid(*first, *seen, model="cas-register", guarantee="session")
    stale = did("w", "set", 6), did("w", "set", 5), did("p", "incr", None, 6), saw("p", "get", 6)
    assert is_valid(*stale, model="kv", guarantee="session")
    text = anomaly(*first, back, saw("p", "read", 7), did("q", "write", 8), saw("q", "read", 1),
                   model="cas-register", guarantee="read-your-writes")  # fmt: skip
    assert "q read 1 at 12 s, without its own write 8" in text


def test_an_element_that_is_appended_twice_says_nothing_of_the_order():
    twice = did("a", "append", 1), did("a", "append", 2), did("b", "append", 1)
    assert is_valid(
        *twice, saw("r", "read", [1, 2, 1]), model="list-append", guarantee="monotonic-writes"
    )


# --- states ------------------------------------------------------------------------------------


def test_replicas_that_differ_are_told_with_the_keys():
    assert not list(check_replicas({"db-1": {"x": 1}, "db-2": {"x": 1}}))
    (found,) = check_replicas({"db-1": {"x": 1}, "db-2": {"x": 2, "y": None}})
    assert found.text == (
        'db-1 and db-2 differ: "x" is 1 at db-1 and 2 at db-2; '
        '"y" is absent at db-1 and null at db-2'
    )


def test_a_slot_has_one_owner_in_an_epoch():
    assert not list(check_owners([Claim(7, 1, "kv-1"), Claim(7, 2, "kv-2"), Claim(7, 1, "kv-1")]))
    (found,) = check_owners([Claim(7, 1, "kv-1"), Claim(7, 1, "kv-2")])
    assert (found.key, found.text) == (7, "both kv-1 and kv-2 owned it in epoch 1")


def test_logs_agree_as_far_as_both_go():
    assert not list(check_logs({"a": [1, 2, 3], "b": [1, 2]}))
    (found,) = check_logs({"a": [1, 2, 3], "b": [1, 9]})
    assert found.text == "a and b differ at record 1: 2 and 9"
    assert not list(check_logs({"a": [1, 2, 3], "b": [1, 9]}, committed={"a": 3, "b": 1}))
