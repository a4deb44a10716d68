"""JSON-like documents: reading and changing a field by its path, and the one secondary index.

A change copies what it passes through, so that a value that was handed out stays as it was.
"""

from __future__ import annotations

from typing import Any, Final

from protocols.errors import RpcError
from protocols.kv.words import MAX_PATH_PARTS
from protocols.numerals import whole

Scalar = str | int | float | bool | bytes
NESTED: Final = (dict, list)


def parts_of(path: Any) -> list[str]:
    """`author.name` → its parts. Raises RpcError bad_request."""
    if not isinstance(path, str) or not path:
        raise RpcError("bad_request", "a path is text such as `author.name` or `tags.0`")
    parts = path.split(".")
    if len(parts) > MAX_PATH_PARTS or not all(parts):
        raise RpcError("bad_request", f"a path has 1 to {MAX_PATH_PARTS} parts, none empty")
    return parts


def check_index(path: str) -> None:
    """Of a Config; "" for none. Raises ValueError."""
    try:
        if path:
            parts_of(path)
    except RpcError as error:
        raise ValueError(f"`index`: {error.message}") from None


def read_path(document: Any, parts: list[str]) -> Any:
    """The field there, or None."""
    for part in parts:
        if type(document) is dict:
            document = document.get(part)
        elif type(document) is list and (at := whole(part)) is not None and at < len(document):
            document = document[at]
        else:
            return None
    return document


def with_field(document: Any, parts: list[str], value: Any) -> Any:
    """A copy with that field set (None: removed); missing maps on the way are made.

    Raises RpcError wrong_type where the path goes through what is neither map nor list.
    """
    part, *rest = parts
    if type(document) is list:
        at = whole(part)
        if at is None or at >= len(document):
            raise RpcError("wrong_type", f"the list has no item `{part[:60]}`")
        items = list(document)
        if rest:
            items[at] = with_field(items[at], rest, value)
        elif value is None:
            del items[at]
        else:
            items[at] = value
        return items
    if type(document) is not dict:
        raise RpcError("wrong_type", f"`{part}`: the path goes through a {_word(document)}")
    fields = dict(document)
    if rest:
        if value is None and part not in fields:
            return fields
        fields[part] = with_field(fields.get(part, {}), rest, value)
    elif value is None:
        fields.pop(part, None)
    else:
        fields[part] = value
    return fields


def _word(value: Any) -> str:
    return "text" if type(value) is str else type(value).__name__


class Index:
    """Field value → keys of the documents that have it, in the order in which they got it.

    It follows from the data, so it is never dumped: whoever restores or copies builds it again.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._parts = parts_of(path)
        self._keys: dict[tuple[type, Any], dict[str, None]] = {}

    def replace(self, key: str, old: Any, new: Any) -> None:
        """The document at `key` was `old` and is `new`; either may be no document at all."""
        before, after = self._entry(old), self._entry(new)
        if before == after:
            return
        if before is not None:
            keys = self._keys[before]
            del keys[key]
            if not keys:
                del self._keys[before]
        if after is not None:
            self._keys.setdefault(after, {})[key] = None

    def find(self, value: Any) -> list[str]:
        """The keys of the documents whose field is `value`, of the same type."""
        return list(self._keys.get((type(value), value), ()))

    def _entry(self, document: Any) -> tuple[type, Any] | None:
        if type(document) is not dict:
            return None
        value = read_path(document, self._parts)
        return None if value is None or type(value) in NESTED else (type(value), value)
