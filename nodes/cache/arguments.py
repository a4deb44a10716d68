"""The checks that every request to a cache passes. Each raises RpcError with a clear code."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgpack

from nodes.cache.listings import Place
from protocols import cache as words
from protocols.errors import RpcError

NUMBER_BYTES: Final = 9
NO_OPTIONS: Final[dict[str, Any]] = {}
OF_GET: Final = ("wait_ms",)
OF_SET: Final = ("ttl_ms", "token", "took_ms", "absent")


class SetOptions(NamedTuple):
    """What a `set` says beside its key and value."""

    ttl_s: float | None
    token: int | None
    took_s: float
    absent: bool


def bad(why: str) -> RpcError:
    return RpcError("bad_request", why)


def check_key(key: Any) -> str:
    if type(key) is not str or not key:
        raise bad("a key is text, and not empty")
    if not words.is_key(key):
        raise RpcError("too_large", f"a key is at most {words.MAX_KEY_BYTES} bytes")
    return key


def check_keys(keys: Any) -> list[str]:
    if type(keys) is str:
        return [check_key(keys)]
    if type(keys) is not list or len(keys) > words.MAX_KEYS:
        raise bad(f"keys: one, or a list of at most {words.MAX_KEYS}")
    return [check_key(each) for each in keys]


def size_of(value: Any) -> int:
    """Of a value that came over the wire."""
    kind = type(value)
    if kind is str or kind is bytes:
        size_bytes = len(value)
    elif value is None or kind in (int, float, bool):
        return NUMBER_BYTES
    else:
        try:
            size_bytes = len(msgpack.packb(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise bad(f"no value: {error}"[:200]) from error
    if size_bytes > words.MAX_VALUE_BYTES:
        raise RpcError("too_large", f"a value is at most {words.MAX_VALUE_BYTES} bytes")
    return size_bytes


def number(value: Any, name: str, most: int = 1 << 53) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise bad(f"`{name}` is a whole number from 0 to {most}")
    return value


def place(given: Any) -> Place | None:
    """Of a page of keys; None: the first."""
    if given is None:
        return None
    if type(given) is not list or len(given) != 2:
        raise bad("a place is what the page before has told: a listing and a number")
    return Place(number(given[0], "listing"), number(given[1], "at"))


def _only(options: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if options is None:
        return NO_OPTIONS
    if type(options) is not dict:
        raise bad("options are a map")
    for each in options:
        if each not in known:
            raise bad(f"no option {str(each)[:40]!r}; there are {', '.join(known)}")
    return options


def wait_s(options: Any) -> float:
    """Of a `get`."""
    given = _only(options, OF_GET)
    return number(given.get("wait_ms", 0), "wait_ms", words.MAX_WAIT_MS) / 1000


def set_options(options: Any) -> SetOptions:
    given = _only(options, OF_SET)
    if not given:
        return SetOptions(None, None, 0.0, False)
    ttl_s = None
    if given.get("ttl_ms") is not None:
        ttl_s = number(given["ttl_ms"], "ttl_ms", words.MAX_TTL_MS) / 1000
    token = number(given["token"], "token") if given.get("token") is not None else None
    took_s = number(given.get("took_ms", 0), "took_ms", words.MAX_TTL_MS) / 1000
    absent = given.get("absent", False)
    if type(absent) is not bool:
        raise bad("`absent` is true or false")
    return SetOptions(ttl_s, token, took_s, absent)
