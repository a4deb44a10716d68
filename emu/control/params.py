"""What a control method is given must be what its signature says: it is told before it begins."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from protocols.errors import RpcError

WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false",
         dict: "a map", list: "a list", NoneType: "null"}  # fmt: skip

ALSO: dict[Any, tuple[type, ...]] = {float: (float, int), Sequence: (list,)}


class Param(NamedTuple):
    """`kinds`: what it may be; (): anything."""

    name: str
    kinds: tuple[type, ...]


def params_of(method: Callable[..., Any]) -> list[Param]:
    """Of all after the call itself."""
    hints = get_type_hints(method)
    names = list(inspect.signature(method).parameters)[1:]
    return [Param(name, _kinds(hints.get(name, Any))) for name in names]


def check(params: list[Param], given: tuple[Any, ...]) -> None:
    """Raises RpcError."""
    for param, value in zip(params, given, strict=False):
        if param.kinds and type(value) not in param.kinds:
            kinds = [each for each in param.kinds if each is not int or float not in param.kinds]
            meant = " or ".join(WORDS.get(each, each.__name__) for each in kinds)
            raise RpcError("bad_request", f"`{param.name}` must be {meant}")


def _kinds(hint: Any) -> tuple[type, ...]:
    found: tuple[type, ...] = ()
    for each in get_args(hint) if isinstance(hint, UnionType) else (hint,):
        if each is Any:
            return ()
        kind = get_origin(each) or each
        found += ALSO.get(kind, (kind,))
    return tuple(dict.fromkeys(found))
