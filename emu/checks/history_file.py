"""A history as a file: JSON lines, one object per event, read strictly.

The line format is a contract (see README): `invoke` and then one of `ok`, `fail`, `info`. What a
value must look like is the model's business (emu/checks/shapes.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from emu.checks.history import FAIL, INFO, INVOKE, OK, Operation

MAX_LINE_BYTES: Final = 16 << 20
MAX_PROBLEMS: Final = 20
TYPES: Final = (INVOKE, OK, FAIL, INFO)
REQUIRED: Final = ("index", "process", "type", "f", "time")

Shape = Callable[[str, str, Any], str]
"""(type, f, value) → what is wrong with such a line, or an empty string."""


class HistoryError(Exception):
    """The file is no history. `problems`: (line number, what is wrong there), in order."""

    def __init__(self, path: str, problems: list[tuple[int, str]]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{path}:{line}: {text}" for line, text in problems))


def write_history(path: str | Path, operations: Iterable[Operation]) -> None:
    """One line per event, in order. Indices are as recorded: there may be gaps."""
    events = [event for each in operations for event in each.events()]
    events.sort(key=lambda event: event[0])
    with open(path, "w", encoding="utf-8") as out:
        for index, line in events:
            out.write(json.dumps({"index": index, **line}, default=_as_json) + "\n")


def write_by_model(folder: Path, operations: Iterable[Operation]) -> list[Path]:
    """One file for each model that was recorded, named after it. Raises OSError."""
    by_model: dict[str, list[Operation]] = {}
    for operation in operations:
        by_model.setdefault(operation.model, []).append(operation)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for model, mine in by_model.items():
        paths.append(folder / f"{model}.jsonl")
        write_history(paths[-1], mine)
    return paths


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


def read_history(
    path: str | Path, *, model: str = "kv", shape: Shape = lambda line_type, f, value: ""
) -> list[Operation]:
    """The operations of a file, in the order of their invocations.

    Raises HistoryError with every malformed line (up to MAX_PROBLEMS), OSError.
    """
    reader = _Reader(model, shape)
    with open(path, "rb") as source:
        for number, line in enumerate(_bounded_lines(source), start=1):
            if line.strip():
                reader.take(number, line)
            if len(reader.problems) >= MAX_PROBLEMS:
                break
    if reader.problems:
        raise HistoryError(str(path), reader.problems)
    return reader.operations


def _bounded_lines(source: IO[bytes]) -> Iterator[bytes]:
    while line := source.readline(MAX_LINE_BYTES):
        yield line


class _Reader:
    """Pairs invocations with completions, and notes what is wrong with which line."""

    def __init__(self, model: str, shape: Shape) -> None:
        self.operations: list[Operation] = []
        self.problems: list[tuple[int, str]] = []
        self._model = model
        self._shape = shape
        self._open: dict[str | int, tuple[Operation, int]] = {}
        self._last_index = -1

    def take(self, number: int, line: bytes) -> None:
        problem = self._take(number, line)
        if problem:
            self.problems.append((number, problem))

    def _take(self, number: int, line: bytes) -> str:
        """Use one line; say what is wrong with it, or nothing."""
        try:
            event = _DECODER.decode(line.decode())
        except (ValueError, RecursionError) as error:
            return f"not a JSON object: {error}"
        problem = _field_problem(event)
        if problem:
            return problem
        if event["index"] <= self._last_index:
            return f"index {event['index']} after {self._last_index}: indices must rise"
        self._last_index = event["index"]
        shape_problem = self._shape(event["type"], event["f"], event.get("value"))
        pair_problem = self._pair(number, event)
        return shape_problem or ("" if self.problems else pair_problem)

    def _pair(self, number: int, event: dict[str, Any]) -> str:
        process, f, key = event["process"], event["f"], event.get("key")
        open_operation = self._open.get(process)
        if event["type"] == INVOKE:
            if open_operation is not None:
                return (
                    f"process {process} invokes `{f}`, but its `{open_operation[0].f}` "
                    f"of line {open_operation[1]} has not been completed"
                )
            operation = Operation(
                process, f, event.get("value"), key,
                model=self._model, begin=event["index"], invoked_s=event["time"],
            )  # fmt: skip
            self._open[process] = operation, number
            self.operations.append(operation)
            return ""
        if open_operation is None:
            return f"process {process} completes `{f}` that it has not invoked"
        operation, invoked_line = self._open.pop(process)
        if (operation.f, operation.key) != (f, key):
            return (
                f"process {process} completes {_named(f, key)}, but at line {invoked_line} "
                f"it invoked {_named(operation.f, operation.key)}"
            )
        value, reason = event.get("value"), str(event.get("error", ""))
        operation.settle(event["type"], value, reason, event["index"], event["time"])
        return ""


def _field_problem(event: Any) -> str:
    """What is wrong with the fields that every line has."""
    if not isinstance(event, dict):
        return f"a line must be a JSON object, not {json.dumps(event)[:60]}"
    missing = [name for name in REQUIRED if name not in event]
    if missing:
        return f"no `{'`, no `'.join(missing)}` in this line"
    if "value" not in event and event["type"] in (INVOKE, OK):
        return "no `value` in this line (null where there is none)"
    if type(event["index"]) is not int or event["index"] < 0:
        return f"`index` must be a number from 0 on, not {json.dumps(event['index'])[:60]}"
    if type(event["process"]) not in (int, str):
        return "`process` must be a number or a name"
    if event["type"] not in TYPES:
        return f"`type` is {json.dumps(event['type'])[:60]}; it must be one of {', '.join(TYPES)}"
    if type(event["f"]) is not str:
        return "`f` must be the operation's name"
    if type(event["time"]) not in (int, float):
        return "`time` must be a number of seconds"
    return ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return found


_DECODER: Final = json.JSONDecoder(
    parse_constant=_no_constant, object_pairs_hook=_no_twice
)  # one for all lines: to make one costs more than to use it


def _named(f: str, key: Any) -> str:
    return f"`{f}`" if key is None else f"`{f}` of key {json.dumps(key)}"
