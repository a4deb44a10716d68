"""Partitions and consumer groups: histories by hand, valid and not."""

from __future__ import annotations

from typing import Any

from emu.checks.losses import find_losses
from tests.checks.histories import (
    Event,
    anomaly,
    did,
    fail,
    info,
    invoke,
    is_valid,
    ok,
    recorded,
    saw,
)


def put(process: str, offset: int, value: Any) -> list[Event]:
    return did(process, "publish", value, [offset, value])


def polled(process: str, *rows: list[Any], everything: bool = False) -> list[Event]:
    return did(process, "poll", "all" if everything else None, list(rows))


def consumed(process: str, *rows: list[Any]) -> list[Event]:
    return saw(process, "consume", list(rows))


def test_records_are_read_where_they_were_published_by_everybody():
    assert is_valid(
        put("p", 0, "a"), put("p", 1, "b"), polled("r", [0, "a"]), polled("r", [1, "b"]),
        polled("s", [0, "a"], [1, "b"]), polled("s", everything=False),
        polled("e", [0, "a"], [1, "b"], everything=True), model="queue",
    )  # fmt: skip


def test_a_publish_of_unknown_outcome_may_be_there_or_not():
    unknown = invoke("p", "publish", "a"), info("p"), put("q", 0, "b")
    assert is_valid(*unknown, polled("r", [0, "b"], everything=True), model="queue")
    late = polled("r", [0, "b"], [1, "a"], everything=True)
    assert is_valid(*unknown, late, model="queue")


def test_a_publisher_that_goes_on_after_its_answer_is_never_out_of_sequence():
    refused = invoke("p", "publish", "b"), fail("p", "out_of_sequence")
    text = anomaly(put("p", 0, "a"), *refused, polled("r", [0, "a"], everything=True),
                   model="queue")  # fmt: skip
    assert text.startswith('publish "b" by p (refused at 4 s) was out of sequence')
    full = invoke("p", "publish", "b"), fail("p", "full")
    assert is_valid(put("p", 0, "a"), *full, model="queue")


def test_a_lost_prefix_middle_and_suffix_are_told_apart():
    three = put("p", 0, "a"), put("p", 1, "b"), put("p", 2, "c")
    rows = [[0, "a"], [1, "b"], [2, "c"]]
    for gone, where in ((0, "before"), (1, "among"), (2, "behind")):
        there = [row for row in rows if row[0] != gone]
        history = *three, polled("r", *there, everything=True)
        text = anomaly(*history, model="queue")
        assert f"at offset {gone} was lost" in text and f"find it {where} offsets" in text
        losses = find_losses(recorded(*history, model="queue").operations, "queue")
        assert losses is not None and [each.value for each in losses.lost] == ["abc"[gone]]
    assert "was lost" in anomaly(*three, polled("r", [0, "a"], [2, "c"]), model="queue")
    assert is_valid(*three, polled("r", [1, "b"]), model="queue"), "it began later"


def test_what_was_read_and_is_gone_is_lost_though_nobody_acknowledged_it():
    unknown = invoke("p", "publish", "a"), info("p")
    gone = *unknown, polled("r", [0, "a"]), polled("r", everything=True)
    text = anomaly(*gone, model="queue")
    assert "at offset 0 was lost: r had found it" in text
    assert is_valid(*unknown, polled("r", everything=True), polled("r", [0, "a"]), model="queue")


def test_who_polls_on_passes_over_nothing_that_is_there():
    three = put("p", 0, "a"), put("p", 1, "b"), put("p", 2, "c")
    text = anomaly(*three, polled("r", [0, "a"]), polled("r", [2, "c"]), model="queue")
    assert 'polled offset 2 after 0, and passed over "b" at 1' in text


def test_an_offset_with_two_values_is_told():
    text = anomaly(
        put("p", 0, "a"), polled("r", [0, "a"]), invoke("q", "publish", "b"),
        polled("s", [0, "b"]), model="queue",
    )  # fmt: skip
    assert text == 'offset 0 had two values: "a" for p at 2 s, "b" for s at 7 s'


def test_a_record_that_is_there_twice_is_told():
    text = anomaly(put("p", 0, "a"), polled("r", [0, "a"], [1, "a"]), model="queue")
    assert text == '"a" is there twice, at offsets 0 and 1'


def test_what_nobody_published_or_only_later_is_told():
    assert "which nobody published" in anomaly(polled("r", [0, "a"]), model="queue")
    failed = invoke("p", "publish", "a"), fail("p"), polled("r", [0, "a"])
    assert "did not happen" in anomaly(*failed, model="queue")
    early = polled("r", [0, "a"]), put("p", 0, "a")
    assert "before it was published" in anomaly(*early, model="queue")


def test_order_is_that_of_acknowledgements():
    text = anomaly(put("p", 1, "a"), put("q", 0, "b"), model="queue")
    assert text == (
        '"b" is at offset 0, before "a" at 1, which was acknowledged at 2 s before it was published'
    )
    beside = invoke("p", "publish", "a"), put("q", 0, "b"), ok("p", [1, "a"])
    assert is_valid(*beside, model="queue")


def test_polls_of_a_process_go_on():
    two = put("p", 0, "a"), put("p", 1, "b")
    back = anomaly(*two, polled("r", [0, "a"], [1, "b"]), polled("r", [1, "b"]), model="queue")
    assert back == "r polled offset 1 after 1"
    mixed = anomaly(*two, polled("r", [1, "b"], [0, "a"]), model="queue")
    assert mixed == "one poll gave offset 0 after 1"


def test_a_group_commits_each_record_once_and_in_order():
    two = put("p", 0, "a"), put("p", 1, "b")
    assert is_valid(
        *two, consumed("m", [0, "a"]), consumed("n", [1, "b"]), saw("m", "drain", []),
        model="queue",
    )  # fmt: skip
    twice = anomaly(*two, consumed("m", [0, "a"]), consumed("n", [0, "a"]), model="queue")
    assert "offset 0 was worked off and committed twice, by m" in twice
    back = anomaly(*two, consumed("m", [1, "b"]), consumed("n", [0, "a"]), model="queue")
    assert back == "n committed offset 0 after 1 was"


def test_what_is_committed_and_was_never_worked_off_is_told():
    two = put("p", 0, "a"), put("p", 1, "b"), consumed("m", [1, "b"])
    text = anomaly(*two, saw("m", "drain", []), model="queue")
    assert '"a", acknowledged at 2 s, was passed over: 1 records are committed' in text
    unsure = invoke("n", "consume"), info("n")
    assert is_valid(*two, *unsure, saw("m", "drain", []), model="queue")


def test_several_partitions_of_one_object_are_judged_each_by_itself():
    def at(partition: int, offset: int, value: str) -> list[Event]:
        return did("p", "publish", value, [partition, offset, value])

    assert is_valid(at(0, 0, "a"), at(1, 0, "b"), consumed("m", [0, 0, "a"], [1, 0, "b"]),
                    model="queue")  # fmt: skip


def test_a_queue_is_drained():
    two = did("p", "enqueue", 1), did("p", "enqueue", 2)
    assert is_valid(*two, saw("c", "drain", [1, 2]), model="queue", guarantee="unordered")
    lost = anomaly(*two, saw("c", "drain", [2]), model="queue", guarantee="unordered")
    assert lost.startswith("1 was lost")
