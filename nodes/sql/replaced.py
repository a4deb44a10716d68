"""Where REPLACE deletes a row, a foreign key that follows (or a trigger behind it) may change the
very row that is being updated. SQLite then writes that as it had read it before: the change is
lost, a reference may dangle, and an index keeps what no row has. Seen as it happens, it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

Row = Sequence[Any] | None
Key = tuple[Any, ...]


class Replacing:
    """What the statement that runs has done since it last deleted a row, by depth: 0 is the
    statement itself, 1 what it sets off, and so on."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[str, dict[Key, Row]]] = {}
        """The table of the deleted row, and rows of it that were changed further inside: as they
        were before."""

    @property
    def is_near(self) -> bool:
        """Whether a row was deleted just before."""
        return bool(self._since)

    def clear(self) -> None:
        """Another statement begins."""
        self._since.clear()

    def loses(self, update: apsw.PreUpdate, key: Key, *, is_blind: bool) -> bool:
        """Whether the update of a row that is about to happen undoes what was set off meanwhile.
        `key` names the row; the values of a blind table's rows are not shown."""
        since, depth, table = self._since, update.depth, update.table_name
        what, old = update.op, None if is_blind else update.old
        lost = False
        if what == "UPDATE" and depth in since and since[depth][0] == table:
            changed = since[depth][1]
            lost = key in changed and _is_back(changed[key], old, None if is_blind else update.new)
        for outer, (deleted_from, changed) in since.items():
            if outer < depth and deleted_from == table and what == "UPDATE":
                changed.setdefault(key, old)
        for ended in [each for each in since if each > depth]:
            del since[ended]
        if what != "DELETE":
            since.pop(depth, None)
        elif depth not in since or since[depth][0] != table:
            since[depth] = table, {}
        return lost


def _is_back(before: Row, now: Row, then: Row) -> bool:
    """Whether a column that has changed becomes what it was. (Nobody knows: it may.)"""
    if before is None or now is None or then is None:
        return True
    return any(a != b and c == a for a, b, c in zip(before, now, then, strict=True))
