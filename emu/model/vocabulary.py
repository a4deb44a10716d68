"""Every verb that there is: the general ones (faults.py), and those that kinds bring (their
operations, and faults of their own), which a topology may load from anywhere."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, field, fields, make_dataclass
from typing import Any, ClassVar, Final, Literal, get_args, get_origin, get_type_hints

from emu.extensions import ExtensionError
from emu.model import faults
from emu.model.docstrings import HELP, descriptions
from emu.model.faults import Fault
from emu.model.kinds import known_kinds
from emu.model.topology import Topology
from nodes.kind import Kind
from nodes.operations import ANY_TEXT, Operation

TYPES: Final[Mapping[str, type]] = {each.__name__: each for each in (str, int, float, bool, tuple)}
Described = dict[str, Any]
"""An operation's word as plain data: `{"verb", "main", "help", "breaks", "fields", ...}`."""


def operations_of(kinds: Iterable[Kind]) -> dict[str, Operation]:
    """What these kinds bring, by verb. Raises ExtensionError where two things have one verb."""
    found: dict[str, Operation] = {}
    for kind in kinds:
        for each in kind.operations:
            if each.verb in faults.VERBS or found.setdefault(each.verb, each) is not each:
                raise ExtensionError(f"the verb `{each.verb}` means two things; rename one")
    return found


def operations(topology: Topology | None = None) -> dict[str, Operation]:
    """Of all known kinds, and of those of the topology. Raises ExtensionError."""
    tiers = topology.tiers if topology is not None else ()
    return operations_of((*known_kinds().values(), *(tier.kind for tier in tiers)))


def verbs_of(found: Mapping[str, Operation]) -> dict[str, type[Fault]]:
    """The general verbs, and those of the operations."""
    return {**faults.VERBS, **{verb: each.word for verb, each in found.items()}}


def verbs(topology: Topology | None = None) -> dict[str, type[Fault]]:
    """Every verb that a cluster of that topology knows. Raises ExtensionError."""
    return verbs_of(operations(topology))


def passing(found: Mapping[str, Operation]) -> tuple[str, ...]:
    """The verbs that leave nothing to undo, of the general ones and of the operations."""
    return (*faults.PASSING, *(verb for verb, each in found.items() if each.undo is None))


def any_texts(word: type[Fault]) -> list[str]:
    """Its fields that may be empty texts."""
    own = fields(word)  # type: ignore[arg-type]
    return [each.name for each in own if _is_any_text(each)]


def _is_any_text(each: Field[Any]) -> bool:
    return ANY_TEXT.keys() <= each.metadata.keys()


# --- over the control socket ----------------------------------------------------------------------


def described(operation: Operation) -> Described:
    """For a command line that has not loaded the kinds; `word_of` reads it."""
    word: Any = operation.word
    hints, texts = get_type_hints(word), descriptions(word)
    return {
        "verb": operation.verb,
        "main": word.main,
        "help": inspect.cleandoc(word.__doc__ or ""),
        "breaks": word.breaks,
        "fields": [
            _field(each, hints[each.name], texts.get(each.name, "")) for each in fields(word)
        ],
        "lasts": operation.undo is not None,
        "plans": operation.plan is not None,
        "cancels": bool(operation.cancel),
        "progresses": operation.progress is not None,
    }


def _field(each: Field[Any], hint: Any, help_text: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": each.name, "help": help_text}
    if get_origin(hint) is Literal:
        found["choices"] = list(get_args(hint))
    else:
        found["type"] = (get_origin(hint) or hint).__name__
    if _is_any_text(each):
        found["any_text"] = True
    if each.default is not MISSING:
        found["default"] = each.default
    return found


def word_of(told: Described) -> type[Fault]:
    """A dataclass with the same fields, whose unit, type and default say the same."""
    made: list[Any] = []
    for each in told["fields"]:
        if "choices" in each:
            hint: Any = Literal[tuple(each["choices"])]
        else:
            hint = TYPES[each["type"]]
        hint = tuple[str, ...] if hint is tuple else hint
        default = {"default": each["default"]} if "default" in each else {}
        metadata = {HELP: each["help"], **(ANY_TEXT if each.get("any_text") else {})}
        made.append((each["name"], hint, field(metadata=metadata, **default)))
    namespace = {"verb": told["verb"], "main": told["main"], "breaks": told["breaks"]}
    word: Any = make_dataclass(
        told["verb"].title().replace(" ", "").replace("-", ""),
        [*((name, ClassVar[Any]) for name in namespace), *made],
        namespace=namespace,
        frozen=True,
    )
    word.__doc__ = told["help"]
    return word  # type: ignore[no-any-return]
