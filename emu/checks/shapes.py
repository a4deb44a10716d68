"""What the lines of each model must look like: its operations, and the shapes of their values.

Used where a history comes from a file; what emu's own clients record is shaped by them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from emu.checks.history import INVOKE, OK
from emu.checks.history_file import Shape

Test = Callable[[Any], bool]


def _anything(value: Any) -> bool:
    return True


def _nothing(value: Any) -> bool:
    return value is None


def _is_list(value: Any) -> bool:
    return type(value) is list


def _list_or_nothing(value: Any) -> bool:
    return value is None or type(value) is list


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _number_or_nothing(value: Any) -> bool:
    return value is None or _is_number(value)


def _truth_or_nothing(value: Any) -> bool:
    return value is None or type(value) is bool


def _is_exchange(value: Any) -> bool:
    return type(value) is list and len(value) == 2


def _is_exchanged(value: Any) -> bool:
    return type(value) is list and len(value) == 3 and type(value[2]) is bool


def _is_transfer(value: Any) -> bool:
    return type(value) is dict and {"from", "to"} <= set(value) and _is_number(value.get("amount"))


def _are_balances(value: Any) -> bool:
    return type(value) is dict and all(_is_number(each) for each in value.values())


class Word:
    """The values of one operation: when invoked and when ok, each with its name in messages."""

    def __init__(self, asked: tuple[Test, str], answered: tuple[Test, str] | None = None) -> None:
        self.asked = asked
        self.answered = answered or asked


def _all_or_nothing(value: Any) -> bool:
    return value is None or value == "all"


def _is_row(value: Any) -> bool:
    return type(value) is list and len(value) in (2, 3) and type(value[-2]) is int


def _are_rows(value: Any) -> bool:
    return type(value) is list and all(_is_row(each) for each in value)


NOTHING = (_nothing, "null")
ROWS = (_are_rows, "a list of [offset, value]")
ANYTHING = (_anything, "any value")
READ: Final = Word(NOTHING, ANYTHING)
WRITE: Final = Word(ANYTHING)
CAS: Final = Word((_is_exchange, "[old, new]"), (_is_exchanged, "[old, new, true or false]"))
ANY: Final = Word(ANYTHING)
LIST: Final = Word(NOTHING, (_list_or_nothing, "a list"))

WORDS: Final[dict[str, dict[str, Word]]] = {
    "register": {"read": READ, "write": WRITE},
    "cas-register": {"read": READ, "write": WRITE, "cas": CAS},
    "kv": {
        "get": READ,
        "read": READ,
        "set": WRITE,
        "write": WRITE,
        "delete": Word(NOTHING, (_truth_or_nothing, "true, false or null")),
        "incr": Word((_number_or_nothing, "a number or null"), (_number_or_nothing, "a number")),
        "cas": CAS,
        "append": WRITE,
    },
    "list-append": {"append": WRITE, "read": LIST},
    "set": {"add": WRITE, "read": LIST},
    "queue": {
        "enqueue": WRITE,
        "dequeue": READ,
        "drain": Word(NOTHING, (_is_list, "a list")),
        "publish": Word(ANYTHING, (_is_row, "[offset, value]")),
        "poll": Word((_all_or_nothing, 'null or "all"'), ROWS),
        "consume": Word(NOTHING, ROWS),
    },
    "bank": {
        "transfer": Word((_is_transfer, '{"from", "to", "amount"}'), ANYTHING),
        "balances": Word(NOTHING, (_are_balances, "an object of numbers")),
    },
}
"""Model → the operations it knows."""


def shape_of(model: str, operations: tuple[str, ...] = ()) -> Shape:
    """What is wrong with a line, for a reader of histories of that model; of a model that is not
    one of these, with `operations` (() for any)."""
    words = WORDS.get(model) or dict.fromkeys(operations, ANY)
    if not words:
        return lambda line_type, f, value: ""

    def problem(line_type: str, f: str, value: Any) -> str:
        word = words.get(f)
        if word is None:
            return f"`{f}` is no operation of the model {model}; it has: {', '.join(words)}"
        if line_type not in (INVOKE, OK):
            return ""
        test, wanted = word.asked if line_type == INVOKE else word.answered
        if test(value):
            return ""
        shown = json.dumps(value)[:60]
        state = "invoked with" if line_type == INVOKE else "answered"
        return f"`{f}` is {state} {shown}; its value must be {wanted}"

    return problem
