"""What clients ask of the database, in the words of a diagram: `INSERT posts`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from protocols import database as words

CHANGING: Final = ("INSERT ", "UPDATE ", "DELETE ", "CREATE ")
SQL: Final = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE)\b"
    r"(?:.*?\b(?:FROM|INTO|(?:TABLE|INDEX)(?: IF NOT EXISTS)?))?\s+(\w+)",
    re.IGNORECASE | re.DOTALL,
)


def statement(params: list[Any]) -> str:
    """What is done to which table: of a transaction, its first change; "" where it cannot be
    told."""
    told = [f"{sql[1].upper()} {sql[2]}" for text in _texts(params) if (sql := SQL.match(text))]
    changing = [each for each in told if each.startswith(CHANGING)]
    return next(iter(changing or told), "")


def _texts(values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            yield from _texts(value)
        elif isinstance(value, str):
            yield value


LABELS: Final = dict.fromkeys((words.QUERY, words.WRITE, words.EXECUTE), statement)
