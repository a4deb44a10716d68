"""What a handler takes besides the call, read from its signature, and whether given params fit.

A param whose annotation is plain (`int`, `str | None`, `dict[str, Any]`, `list[str]`) is checked
before the handler sees it; any other is the handler's own to check.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from math import isfinite
from types import CodeType
from typing import Any, Final

from protocols.errors import RpcError

UNBOUNDED: Final = 1 << 16
PLAIN: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bytes": (bytes,),
    "list": (list,),
    "dict": (dict,),
    "None": (type(None),),
}
WORDS: Final[dict[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    bytes: "bytes",
    list: "a list",
    dict: "a map",
    type(None): "nil",
}


class Parameter:
    """One parameter: what types of value it takes (None: any), and its elements."""

    __slots__ = ("elements", "name", "types")

    def __init__(self, name: str, annotation: str) -> None:
        self.name = name
        allowed: list[type] = []
        elements: list[tuple[type, ...]] = []
        for word in annotation.split(" | "):
            outer, _, inner = word.partition("[")
            if outer not in PLAIN:
                allowed.clear()
                break
            allowed += PLAIN[outer]
            if outer == "list" and inner[:-1] in PLAIN:
                elements.append(PLAIN[inner[:-1]])
        self.types = frozenset(allowed) or None
        self.elements = frozenset(elements[0]) if self.types and elements else None

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        if self.types is None:
            return ""
        if type(value) not in self.types:
            wanted = [word for kind, word in WORDS.items() if kind in self.types]
            if float in self.types:
                wanted.remove(WORDS[int])
            return f"`{self.name}` is {' or '.join(wanted)}, not {_shown(value)}"
        if isinstance(value, float) and not isfinite(value):
            return f"`{self.name}` is a number, not {value}"
        if self.elements is not None and isinstance(value, list):
            for each in value:
                if type(each) not in self.elements:
                    return f"`{self.name}` has {_shown(each)} in it"
        return ""


class Arguments:
    """The parameters of one handler."""

    __slots__ = ("least", "most", "parameters")

    def __init__(self, least: int, most: int, parameters: tuple[Parameter, ...]) -> None:
        self.least = least
        self.most = most
        self.parameters = parameters

    def refusal(self, method: str, params: Sequence[Any]) -> RpcError | None:
        """Why the handler cannot be called with these, or None."""
        if not self.least <= len(params) <= self.most:
            wanted = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
            return RpcError("bad_request", f"{method} takes {wanted} params, not {len(params)}")
        for parameter, value in zip(self.parameters, params, strict=False):
            types = parameter.types
            if types is not None and (type(value) not in types or type(value) in (float, list)):
                problem = parameter.problem(value)
                if problem:
                    return RpcError("bad_request", f"{method}: {problem}")
        return None


def arguments_of(handler: Callable[..., Any]) -> Arguments:
    """What `handler(call, *params)` takes after the call."""
    function = getattr(handler, "__func__", handler)
    own = 2 if function is not handler else 1  # self and the call
    annotations = tuple(function.__annotations__.items())
    return _read(function.__code__, own, len(function.__defaults__ or ()), annotations)


@cache
def _read(
    code: CodeType, own: int, defaults: int, annotations: tuple[tuple[str, str], ...]
) -> Arguments:
    """Every node of a kind has the same handlers: a thousand of them are read once."""
    named = dict(annotations)
    most = code.co_argcount - own
    parameters = tuple(
        Parameter(name, str(named.get(name, "")))
        for name in code.co_varnames[own : code.co_argcount]
    )
    open_ended = bool(code.co_flags & inspect.CO_VARARGS)
    return Arguments(max(0, most - defaults), UNBOUNDED if open_ended else most, parameters)


def _shown(value: object) -> str:
    word = WORDS.get(type(value), type(value).__name__)
    return f"{word} ({value!r})" if isinstance(value, (bool, int, float)) else word
