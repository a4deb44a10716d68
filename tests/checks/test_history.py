"""Recording, writing and reading histories."""

from __future__ import annotations

import json

import pytest

from emu.checks.history import Recorder
from emu.checks.history_file import HistoryError, read_history, write_by_model, write_history
from emu.checks.shapes import shape_of

INVOKE = {"index": 0, "process": "a", "type": "invoke", "f": "write", "value": 1, "time": 0.5}
DONE = {"index": 1, "process": "a", "type": "ok", "f": "write", "value": 1, "time": 0.7}


def a_recorder(**options) -> Recorder:
    ticks = iter(range(1000))
    return Recorder(lambda: float(next(ticks)), **options)


def problems(path, *lines, model="register") -> list[tuple[int, str]]:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    with pytest.raises(HistoryError) as caught:
        read_history(path, shape=shape_of(model))
    return caught.value.problems


def test_what_was_recorded_can_be_written_and_read_again(tmp_path):
    recorder = a_recorder()
    write = recorder.invoke("a", "write", 5, "x", model="register")
    read = recorder.invoke("b", "read", None, "x", model="register")
    write.info("timeout")
    read.ok(5)
    recorder.invoke("c", "cas", [5, 6], "x", model="register").fail("not now")
    recorder.invoke("d", "read", None, "y", model="register")
    path = tmp_path / "history.jsonl"
    write_history(path, recorder.operations)
    again = read_history(path, model="register")
    wanted = ("process", "f", "key", "value", "result", "outcome", "begin", "end", "completed_s")
    for one, other in zip(recorder.operations, again, strict=True):
        assert [getattr(one, name) for name in wanted] == [getattr(other, name) for name in wanted]


def test_the_lines_of_a_file_are_the_contract(tmp_path):
    recorder = a_recorder()
    recorder.invoke("a", "write", 5).ok()
    write_history(tmp_path / "h", recorder.operations)
    lines = [json.loads(line) for line in (tmp_path / "h").read_text().splitlines()]
    about = {"process": "a", "f": "write", "value": 5}
    assert lines == [
        {"index": 0, **about, "type": "invoke", "time": 0.0},
        {"index": 1, **about, "type": "ok", "time": 1.0},
    ]


def test_a_full_recorder_keeps_a_true_prefix():
    told: list[int] = []
    recorder = a_recorder(max_operations=2, on_full=told.append)
    one, two = recorder.invoke("a", "write", 1), recorder.invoke("b", "write", 2)
    one.ok()
    assert (told, recorder.full_s) == ([], None)
    recorder.invoke("a", "write", 3).ok()
    two.ok()
    recorder.invoke("a", "write", 4)
    assert told == [2] and recorder.full_s is not None
    assert [each.outcome for each in recorder.operations] == ["ok", "info"]
    assert recorder.dropped == 2


def test_a_process_does_one_thing_at_a_time():
    recorder = a_recorder()
    recorder.invoke("a", "write", 1)
    with pytest.raises(AssertionError, match="process a invoked read before its last ended"):
        recorder.invoke("a", "read")


def test_an_operation_ends_once():
    recorder = a_recorder()
    write = recorder.invoke("a", "write", 1)
    write.ok()
    write.fail()
    assert write.is_ok


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not a JSON object"),
        ("[1, 2]", "a line must be a JSON object"),
        ('{"index": 0, "index": 1}', "a name appears twice"),
        ('{"index": NaN}', "NaN is no JSON"),
        ("[" * 100_000, "not a JSON object"),
        ({**INVOKE, "type": "done"}, '`type` is "done"; it must be one of'),
        ({**INVOKE, "index": "0"}, "`index` must be a number"),
        ({**INVOKE, "time": None}, "`time` must be a number"),
        ({**INVOKE, "process": None}, "`process` must be"),
        ({**INVOKE, "f": 5}, "`f` must be"),
        ({"index": 0, "type": "ok"}, "no `process`, no `f`, no `time`"),
        ({key: INVOKE[key] for key in INVOKE if key != "value"}, "no `value`"),
        ({**INVOKE, "f": "cas"}, "`cas` is no operation of the model register; it has: read"),
        ({**INVOKE, "f": "read"}, "`read` is invoked with 1; its value must be null"),
        (DONE, "process a completes `write` that it has not invoked"),
    ],
)
def test_a_malformed_line_is_told_with_its_number(tmp_path, line, words):
    good = [{**INVOKE, "process": "z"}, {**DONE, "process": "z"}]
    if isinstance(line, dict) and type(line["index"]) is int:
        line = {**line, "index": line["index"] + 2}
    ((number, text),) = problems(tmp_path / "h", *good, line)
    assert number == 3 and words in text


def test_every_malformed_line_is_told(tmp_path):
    lines = [INVOKE, {**INVOKE, "index": 1}, "x", {**DONE, "index": 1}, {**DONE, "index": 4}]
    found = problems(tmp_path / "h", *lines)
    assert [number for number, _ in found] == [2, 3, 4]
    assert "has not been completed" in found[0][1] and "indices must rise" in found[2][1]


def test_a_completion_fits_its_invocation(tmp_path):
    ((number, text),) = problems(tmp_path / "h", INVOKE, {**DONE, "key": "x"})
    assert (number, text) == (
        2, 'process a completes `write` of key "x", but at line 1 it invoked `write`'
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "f", "kind", "value"),
    [
        ("cas-register", "cas", "invoke", [1]),
        ("cas-register", "cas", "ok", [1, 2]),
        ("list-append", "read", "ok", 5),
        ("set", "read", "ok", {"x": 1}),
        ("bank", "transfer", "invoke", {"from": "x"}),
        ("bank", "balances", "ok", {"x": "5"}),
        ("kv", "incr", "invoke", "5"),
        ("queue", "dequeue", "invoke", 1),
    ],
)
def test_each_model_has_its_shapes(model, f, kind, value):
    assert "its value must be" in shape_of(model)(kind, f, value)
    assert shape_of(model)("info", f, value) == ""


def test_blank_lines_are_skipped_and_an_open_operation_is_unknown(tmp_path):
    path = tmp_path / "h"
    path.write_text(f"\n{json.dumps(INVOKE)}\n\n")
    (operation,) = read_history(path)
    assert operation.outcome == "info" and operation.completed is None


def test_each_model_has_a_file_of_its_own(tmp_path):
    recorder = a_recorder()
    recorder.invoke("a", "add", 1, model="set").ok()
    recorder.invoke("a", "get", None, "x", model="kv").ok(5)
    paths = write_by_model(tmp_path / "seen", recorder.operations)
    assert [path.name for path in paths] == ["set.jsonl", "kv.jsonl"]
    assert [len(read_history(path)) for path in paths] == [1, 1]
