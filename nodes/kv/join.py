"""A join's question as a client asks it, and one shard's page of the answer: plain values.

Every left key refers to one right key, by a field of its value and a pattern with a star.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from nodes.kv.arguments import check_one_slot, checked_count, only_options
from nodes.kv.documents import parts_of, read_path
from nodes.kv.state import size_of
from protocols.errors import RpcError
from protocols.hashing.partitioning import ranges_to_wire, to_ranges
from protocols.hashing.slots import has_tag
from protocols.kv import words
from protocols.kv.words import MAX_KEY_BYTES, MAX_KEYS

STAR: Final = "*"
DEFAULT_LIMIT: Final = 100
LEFT_SIDES: Final = ("prefix", "find", "keys")


@dataclass(frozen=True, slots=True)
class JoinQuery:
    """What is joined with what. Of `prefix`, `find` and `keys` one is set."""

    left: dict[str, Any]
    to: str
    on: list[str]
    """The path of the field that names the right key; empty: the value itself."""
    limit: int
    atomic: bool

    @classmethod
    def of(cls, params: list[Any], *options: str) -> tuple[JoinQuery, dict[str, Any]]:
        """The question, and its options (those named may be there beside the usual).

        Raises RpcError.
        """
        if len(params) not in (2, 3) or not all(type(each) is dict for each in params):
            raise RpcError(
                "bad_request",
                'join takes {"prefix": ...}, {"to": "user:*", "on": field} and a map of options',
            )
        left, right, given = (*params, {})[:3]
        only_options(right, "to", "on")
        only_options(given, "limit", "atomic", *options)
        to, on = right.get("to"), right.get("on")
        if type(to) is not str or to.count(STAR) != 1 or len(to.encode()) > MAX_KEY_BYTES:
            raise RpcError("bad_request", "`to` is the right side's key with one * in it")
        limit = checked_count(given.get("limit", DEFAULT_LIMIT))
        path = parts_of(on) if on is not None else []
        query = cls(_checked_left(left), to, path, limit, bool(given.get("atomic")))
        if query.atomic:
            _check_one_slot(query)
        return query, given

    @property
    def prefix(self) -> str:
        return str(self.left.get("prefix", ""))

    @property
    def find(self) -> Any:
        return self.left.get("find")

    @property
    def keys(self) -> list[str]:
        return list(self.left.get("keys", ()))

    def routing_keys(self) -> list[Any]:
        """What decides where the left side is; [] if it is everywhere."""
        return words.routing_keys(words.JOIN, [self.left])

    def right_key(self, value: Any) -> str | None:
        """The key that a row refers to, if it does."""
        reference = read_path(value, self.on) if self.on else value
        if type(reference) is not str and type(reference) is not int:
            return None
        key = self.to.replace(STAR, str(reference))
        return key if len(key.encode()) <= MAX_KEY_BYTES else None


def _check_one_slot(query: JoinQuery) -> None:
    keys = query.routing_keys()
    if not keys:
        raise RpcError(
            "crossslot", "an atomic join is within one slot: give the left side's prefix a {tag}"
        )
    check_one_slot([*keys, query.to] if has_tag(query.to.partition(STAR)[0]) else keys)


def _checked_left(left: dict[str, Any]) -> dict[str, Any]:
    if len(left) != 1 or next(iter(left)) not in LEFT_SIDES:
        raise RpcError("bad_request", "the left side is one of: `prefix`, `find`, `keys`")
    match left:
        case {"prefix": str(prefix)} if len(prefix.encode()) <= MAX_KEY_BYTES:
            return left
        case {"keys": list(keys)} if 0 < len(keys) <= MAX_KEYS:
            return left
        case {"find": str() | int() | float()}:
            return left
    raise RpcError(
        "bad_request",
        f"the left side: a prefix (text), a value to find, or a list of 1 to {MAX_KEYS} keys",
    )


@dataclass(slots=True)
class Page:
    """What one shard gives: rows, the right side's values that it has, and how far it looked."""

    query: JoinQuery
    room_bytes: int
    rows: list[list[Any]] = field(default_factory=list)
    """[left key, left value, right key or nil]"""
    references: dict[str, None] = field(default_factory=dict)
    right: dict[str, Any] = field(default_factory=dict)
    skipped: list[int] = field(default_factory=list)
    """Slots that were asked for and are not served here."""
    examined: int = 0
    next: str = ""
    more: bool = False

    def take(self, key: str, value: Any) -> None:
        """One row of the left side."""
        reference = self.query.right_key(value)
        if reference is not None:
            self.references[reference] = None
        self.rows.append([key, value, reference])
        self.room_bytes -= len(key) + size_of(value)

    def join(self, key: str, value: Any) -> None:
        """What the right side has there (None: nothing)."""
        self.examined += 1
        self.right[key] = value

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= self.query.limit or self.room_bytes <= 0

    def to_wire(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "right": self.right,
            "next": self.next,
            "more": self.more,
            "skipped": ranges_to_wire(to_ranges(sorted(dict.fromkeys(self.skipped)))),
            "examined": self.examined,
        }
