"""The checks that every command makes of what a client sent: keys, values, options, cursors.

Each raises RpcError with a clear code; nothing here knows the data.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack

from protocols.errors import RpcError
from protocols.hashing.slots import SLOTS, slot_of
from protocols.kv.words import (
    ABSENT,
    MAX_KEY_BYTES,
    MAX_KEYS,
    MAX_REQUEST_ID_CHARS,
    MAX_TTL_MS,
    MAX_VALUE_BYTES,
    PRESENT,
)
from protocols.numerals import whole

LAST_SLOT: Final = SLOTS - 1
NO_OPTIONS: Final[dict[str, Any]] = {}


def checked_key(key: Any) -> bytes:
    """The key's bytes. Raises RpcError bad_request or too_large."""
    if type(key) is not str or not key:
        raise RpcError("bad_request", "a key is text, and not empty")
    try:
        raw = key.encode()
    except UnicodeEncodeError as error:
        raise RpcError("bad_request", f"a key is Unicode text: {error.reason}") from error
    if len(raw) > MAX_KEY_BYTES:
        raise RpcError("too_large", f"a key of {len(raw)} bytes; at most {MAX_KEY_BYTES}")
    return raw


def checked_value(value: Any) -> int:
    """The value's size in bytes. Raises RpcError bad_request or too_large."""
    kind = type(value)
    if kind is str or kind is bytes:
        size = len(value)
    elif kind is int or kind is float or kind is bool:
        return 8
    elif kind is dict or kind is list:
        _check_document(value)
        size = len(msgpack.packb(value))
    else:
        raise RpcError(
            "bad_request", f"{_word(value)} is no value: text, bytes, number, list or document"
        )
    if size > MAX_VALUE_BYTES:
        raise RpcError("too_large", f"a value of {size} bytes; at most {MAX_VALUE_BYTES}")
    return size


def _check_document(value: Any) -> None:
    for each in value.values() if type(value) is dict else value:
        if type(each) is dict or type(each) is list:
            _check_document(each)
        elif type(each) not in (str, bytes, int, float, bool, type(None)):
            raise RpcError("bad_request", f"a document cannot hold a {_word(each)}")
    if type(value) is dict and not all(type(key) is str for key in value):
        raise RpcError("bad_request", "a document's keys are text")


def _word(value: Any) -> str:
    return "nil" if value is None else type(value).__name__


def checked_ttl(ttl_ms: Any) -> int:
    if type(ttl_ms) is not int or not 0 < ttl_ms <= MAX_TTL_MS:
        raise RpcError("bad_request", f"`ttl_ms` is an integer from 1 to {MAX_TTL_MS}")
    return ttl_ms


def check_one_slot(keys: list[Any]) -> None:
    """Raises RpcError crossslot where atomicity is asked for across slots."""
    first = key_slot(keys[0])
    for key in keys:
        if key_slot(key) != first:
            raise RpcError(
                "crossslot",
                f"`{keys[0]}` and `{key}` are in different slots: give them one {{tag}}",
            )


def key_slot(key: Any) -> int:
    """The slot of a key as a client wrote it. Raises RpcError."""
    return slot_of(checked_key(key))


def parse_cursor(cursor: Any) -> tuple[int, str]:
    """`slot:last key` → both. Raises RpcError bad_request."""
    if cursor == "":
        return 0, ""
    if type(cursor) is str:
        number, colon, after = cursor.partition(":")
        slot = whole(number)
        if colon and slot is not None and slot < SLOTS:
            return slot, after
    raise RpcError("bad_request", 'a cursor is "" or what the last page gave')


def params_of(params: list[Any], count: int) -> list[Any]:
    """The `count` params and the options after them. Raises RpcError bad_request."""
    if len(params) == count:
        return [*params, NO_OPTIONS]
    if len(params) == count + 1 and type(params[count]) is dict:
        return params
    raise RpcError("bad_request", f"{count} params and a map of options at most are expected")


def only_key(params: list[Any]) -> str:
    if len(params) != 1:
        raise RpcError("bad_request", "one key is expected")
    checked_key(params[0])
    return str(params[0])


def only_options(options: dict[str, Any], *known: str) -> None:
    for name in options:
        if name not in known:
            raise RpcError("bad_request", f"no option `{name}`; there are: {', '.join(known)}")


def checked_count(value: Any) -> int:
    if type(value) is not int or not 0 < value <= MAX_KEYS:
        raise RpcError("bad_request", f"a count is an integer from 1 to {MAX_KEYS}")
    return value


def condition_holds(condition: Any, present: bool) -> bool:
    if condition is None:
        return True
    if condition not in (ABSENT, PRESENT):
        raise RpcError("bad_request", f"`if` is `{ABSENT}` or `{PRESENT}`")
    return present is (condition == PRESENT)


def checked_request_id(request_id: Any) -> str:
    """Raises RpcError bad_request."""
    if type(request_id) is not str or not 0 < len(request_id) <= MAX_REQUEST_ID_CHARS:
        raise RpcError("bad_request", f"request_id: text of 1 to {MAX_REQUEST_ID_CHARS} characters")
    return request_id
