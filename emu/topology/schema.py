"""A frozen dataclass as the schema of its YAML mapping: pydantic models made from its fields.

The field's name carries its unit, its type says what is allowed, its default whether it may be
left out. So no tier parses anything, and the JSON Schema comes from the same place.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    create_model,
)
from pydantic import Field as ModelField
from pydantic_core import PydanticCustomError

from emu.machine import units
from emu.model.docstrings import descriptions
from emu.model.problems import hint
from emu.topology.document import Document, Path

OWN_ERROR: Final = "emu"


def build(
    document: Document,
    place: Path,
    value: Any,
    config: type,
    what: str,
    also: Iterable[str] = (),
) -> Any | None:
    """The dataclass `config` from a mapping, or None with its problems noted.

    `what` names the thing in messages ("a balancer", "`cpu`"); `also` are keys that belong to it
    too and are read elsewhere.
    """
    if not isinstance(value, dict):
        document.problem(place, f"{what} is a mapping of options, not {units.shown(value)}; "
                         f"write for example {_example(config)}")  # fmt: skip
        return None
    before = len(document.problems)
    good = dict(value)
    try:
        model_of(config).model_validate(good)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_context=True):
            _note(document, place, config, what, {**each, "also": tuple(also)})
            good.pop(str(each["loc"][0]) if each["loc"] else "", None)
    # What is left of it may break the Config's own rules too: find each of them, one at a time.
    while True:
        try:
            made = _to_dataclass(config, model_of(config).model_validate(good))
        except ValidationError:  # something it needs is missing or wrong, and was noted
            return None
        except ValueError as error:
            taken_away = [key for key in value if key not in good]
            if any(f"`{key}`" in str(error) for key in taken_away):
                return None  # a mistake of its own was noted, and this may only follow from it
            key = _note_own_check(document, place, config, good, str(error))
            if key not in good:
                return None
            del good[key]
        else:
            return made if len(document.problems) == before else None


def keys_of(config: type) -> dict[str, Field[Any]]:
    """The YAML keys of a dataclass, with their fields."""
    return {units.key_of(each.name): each for each in fields(config) if each.init}


def json_schema_of(config: type) -> dict[str, Any]:
    """The JSON Schema of a dataclass's mapping; shared parts are under `$defs`."""
    return model_of(config).model_json_schema(by_alias=True)


@cache
def model_of(config: type) -> type[BaseModel]:
    """The pydantic model of a dataclass."""
    hints = get_type_hints(config)
    members: dict[str, Any] = {}
    for key, each in keys_of(config).items():
        optional = each.default is not MISSING or each.default_factory is not MISSING
        members[f"field_{each.name}"] = (
            _type_of(hints[each.name], each),
            ModelField(
                default=None if optional else ...,
                validation_alias=key,
                serialization_alias=key,
                title=key,
                json_schema_extra=_explain(config, each),
            ),
        )
    made: type[BaseModel] = create_model(
        config.__name__, __config__=ConfigDict(extra="forbid"), **members
    )
    return made


def _explain(config: type, each: Field[Any]) -> Callable[[dict[str, Any]], None]:
    """Adds to the JSON Schema, and only there (sources take long to read), what the field's
    docstring says, and the default as one would write it: the model's own None says `left out`."""

    def change(schema: dict[str, Any]) -> None:
        described = descriptions(config).get(each.name)
        if described:
            schema["description"] = described
        schema.pop("default", None)
        default = each.default
        if isinstance(default, bool) or (isinstance(default, str) and default):
            schema["default"] = default
        elif isinstance(default, (int, float)):
            bare = units.unit_of(each.name).bare
            schema["default"] = default if bare else units.format_value(each.name, default)

    return change


# --- types to validators --------------------------------------------------------------------------


def _type_of(hint_: Any, each: Field[Any]) -> Any:
    """The pydantic type of a field's (or an item's) type."""
    origin, arguments = get_origin(hint_), get_args(hint_)
    if origin in (Union, types.UnionType):
        return _union(arguments, each)
    if origin is Literal:
        return _choice([str(value) for value in arguments])
    if origin is list or (origin is tuple and arguments[1:] == (Ellipsis,)):
        item = _type_of(arguments[0], each)
        many = list[item] if origin is list else tuple[item, ...]  # type: ignore[valid-type]
        written = _one_or_many(_leaf_schema(arguments[0], each))
        if getattr(arguments[0], "IN_ORDER", False):
            written = {"type": "array", "items": _order_schema(arguments[0])}
        return Annotated[many, BeforeValidator(_as_list), WithJsonSchema(written)]
    if origin is dict and arguments[0] is str:
        return dict[str, _type_of(arguments[1], each)]  # type: ignore[misc]
    if isinstance(hint_, type) and is_dataclass(hint_):
        return _in_order(hint_) if getattr(hint_, "IN_ORDER", False) else model_of(hint_)
    return _leaf(hint_, each)


def _in_order(config: type) -> Any:
    """A dataclass that is written as a list of its values (it says so: `IN_ORDER`)."""
    keys = list(keys_of(config))
    example = f"[{', '.join(keys)}]"

    def named(value: Any) -> Any:
        if isinstance(value, list) and len(value) == len(keys):
            return dict(zip(keys, value, strict=True))
        why = f"{units.shown(value)} is not {example}"
        raise PydanticCustomError(OWN_ERROR, "{why}", {"why": why})

    return Annotated[
        model_of(config), BeforeValidator(named), WithJsonSchema(_order_schema(config))
    ]


def _order_schema(config: type) -> dict[str, Any]:
    hints = get_type_hints(config)
    items = [_leaf_schema(hints[field.name], field) for field in keys_of(config).values()]
    many = len(items)
    return {"type": "array", "prefixItems": items, "minItems": many, "maxItems": many}


def _leaf(hint_: Any, each: Field[Any]) -> Any:
    converters: dict[Any, Callable[[Any, Field[Any]], Any]] = {
        bool: _bool, int: _int, float: _float, str: _str, Any: lambda value, _: value,
    }  # fmt: skip
    if hint_ not in converters:
        raise TypeError(f"field `{each.name}`: a Config cannot have the type {hint_}")
    convert = converters[hint_]

    def checked(value: Any) -> Any:
        try:
            return convert(value, each)
        except ValueError as error:
            raise PydanticCustomError(OWN_ERROR, "{why}", {"why": str(error)}) from error

    return Annotated[hint_, PlainValidator(checked), WithJsonSchema(_leaf_schema(hint_, each))]


def _leaf_schema(hint_: Any, each: Field[Any]) -> dict[str, Any]:
    unit = units.unit_of(each.name)
    if hint_ is Any:
        return {}
    if hint_ in (bool, str):
        return {"type": "boolean" if hint_ is bool else "string"}
    if hint_ not in (int, float):
        return {}
    least: dict[str, Any] = {} if _may_be_negative(each) else {"minimum": 0}
    if unit is units.PLAIN:
        return {"type": "integer" if hint_ is int else "number", **least}
    number = {"type": "number", **least, "maximum": unit.most} if unit.bare else {"const": 0}
    text = {"type": "string", "pattern": units.pattern_of(unit)}
    return {"anyOf": [text, number]}


def _one_or_many(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "array", "items": item}, item]} if item else {}


def _bool(value: Any, each: Field[Any]) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{units.shown(value)} is neither; write true or false")
    return value


def _int(value: Any, each: Field[Any]) -> int:
    number = _float(value, each)
    if number != int(number):
        raise ValueError(f"{units.shown(value)} is not a whole number; write {int(number)}")
    return int(number)


def _float(value: Any, each: Field[Any]) -> float:
    """Times and sizes with units, plain numbers without; below 0 only where the default is."""
    unit = units.unit_of(each.name)
    if isinstance(value, str) and unit is units.PLAIN:
        raise ValueError(f"{units.shown(value)} is not a number; write a plain number, no unit")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and unit is units.PLAIN and _may_be_negative(each):
        size = units.parse_value("number", abs(value))
        return -size if value < 0 else size
    return units.parse_value(each.name, value)


def _may_be_negative(each: Field[Any]) -> bool:
    default = each.default
    below = isinstance(default, (int, float)) and not isinstance(default, bool) and default < 0
    return below or each.name in units.SIGNED


def _str(value: Any, each: Field[Any]) -> str:
    if isinstance(value, str):
        if not value.isprintable():
            raise ValueError("holds characters that cannot be printed; remove them")
        return value
    if isinstance(value, (bool, int, float)):
        raise ValueError(f"{units.shown(value)} is no text; write it in quotes")
    raise ValueError(f"text is expected, not {units.shown(value)}; write one word")


def _as_list(value: Any) -> Any:
    """`uses: db` is `uses: [db]`."""
    if value is None or isinstance(value, dict):
        why = f"a list is expected, not {units.shown(value)}; write [first, second]"
        raise PydanticCustomError(OWN_ERROR, "{why}", {"why": why})
    return value if isinstance(value, list) else [value]


def _choice(words: list[str]) -> Any:
    def checked(value: Any) -> str:
        if isinstance(value, str) and value in words:
            return value
        known = hint(str(value) if isinstance(value, str) else "", words)
        why = f"{units.shown(value)} is not known; {known}"
        raise PydanticCustomError(OWN_ERROR, "{why}", {"why": why})

    return Annotated[str, PlainValidator(checked), WithJsonSchema({"enum": words})]


def _union(arguments: tuple[Any, ...], each: Field[Any]) -> Any:
    """`X | None`, or alternatives told apart by their shape: mapping, list or scalar."""
    present = [each_ for each_ in arguments if each_ is not types.NoneType]
    inner = _type_of(present[0], each) if len(present) == 1 else _by_shape(present, each)
    if len(present) == len(arguments):
        return inner
    allow_null = WrapValidator(lambda value, handler: None if value is None else handler(value))
    return Annotated[inner, allow_null]


def _by_shape(present: list[Any], each: Field[Any]) -> Any:
    tagged = {_shape_of_type(hint_): _type_of(hint_, each) for hint_ in present}
    fallback = next(reversed(tagged))
    choices = tuple(Annotated[made, Tag(shape)] for shape, made in tagged.items())
    union = Union[choices]  # type: ignore[valid-type]  # noqa: UP007
    return Annotated[
        union,
        Discriminator(lambda value: shape if (shape := _shape(value)) in tagged else fallback),
    ]


def _shape(value: Any) -> str:
    return "<mapping>" if isinstance(value, dict) else "<list>" if isinstance(value, list) else "<>"


def _shape_of_type(hint_: Any) -> str:
    if get_origin(hint_) is dict or is_dataclass(hint_):
        return "<mapping>"
    return "<list>" if get_origin(hint_) in (list, tuple) else "<>"


# --- from the model to the dataclass --------------------------------------------------------------


def _to_dataclass(config: type, model: BaseModel) -> Any:
    """Only what was written is passed, so the dataclass's own defaults hold."""
    hints = get_type_hints(config)
    values = {
        name.removeprefix("field_"): _plain(getattr(model, name), hints[name[len("field_") :]])
        for name in sorted(model.model_fields_set)
    }
    return config(**values)


def _plain(value: Any, hint_: Any) -> Any:
    if isinstance(value, BaseModel):
        nested = next(each for each in dataclasses_in(hint_) if model_of(each) is type(value))
        return _to_dataclass(nested, value)
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(each, hint_) for each in value)
    if isinstance(value, dict):
        return {key: _plain(each, hint_) for key, each in value.items()}
    return value


def dataclasses_in(hint_: Any) -> list[type]:
    """Every dataclass that a type mentions."""
    if isinstance(hint_, type) and is_dataclass(hint_):
        return [hint_]
    return [found for each in get_args(hint_) for found in dataclasses_in(each)]


# --- problems -------------------------------------------------------------------------------------


def _note(document: Document, place: Path, config: type, what: str, error: dict[str, Any]) -> None:
    where = _walk(document, place, error["loc"])
    key = str(error["loc"][-1]) if error["loc"] else ""
    match error["type"]:
        case "extra_forbidden":
            known = [*keys_of(_owner(config, error["loc"][:-1]))]
            known += error["also"] if len(error["loc"]) == 1 else ()
            message = f"unknown key `{key}` of {what}; {_advice(place, what, key, known)}"
            document.problem((*where, key), message, at_key=True)
        case "missing":
            document.problem(where, f"{what} needs `{key}`; add `{key}: ...`", at_key=True)
        case "dict_type" | "model_type" | "model_attributes_type":
            got = units.shown(error["input"])
            document.problem(where, f"`{_last(where)}` is a mapping, not {got}; write {{key: ...}}")
        case "emu":
            document.problem(where, f"`{_last(where)}`: {error['msg']}")
        case _:
            document.problem(where, f"`{_last(where)}`: {error['msg']}; see `emu config --schema`")


ELSEWHERE: Final = {"count": "nodes", "replicas": "nodes", "instances": "nodes", "size": "nodes"}
"""What other programs call it."""


def _advice(place: Path, what: str, key: str, known: Sequence[str]) -> str:
    people = what.endswith(" tier") and len(place) == 2 and place[0] != "tiers"
    if people and key in ("region", "regions"):
        return f"`{place[1]}` names the region already: leave `{key}` out"
    if ELSEWHERE.get(key) in known:
        return f"did you mean `{ELSEWHERE[key]}`?"
    return hint(key, known, most=40)


def _walk(document: Document, place: Path, loc: tuple[str | int, ...]) -> Path:
    """pydantic's location as a path of the document; parts that name no key are pydantic's own."""
    for part in loc:
        if (*place, part) in document.values:
            place = (*place, part)
    return place


def _last(place: Path) -> str:
    return next((str(part) for part in reversed(place) if isinstance(part, str)), "value")


def _owner(config: type, loc: tuple[str | int, ...]) -> type:
    """The dataclass whose mapping `loc` leads to."""
    for part in loc:
        found = keys_of(config).get(str(part))
        nested = dataclasses_in(get_type_hints(config)[found.name]) if found is not None else []
        config = nested[0] if nested else config
    return config


def _note_own_check(
    document: Document, place: Path, config: type, value: dict[str, Any], message: str
) -> str:
    """A Config's own refusal, at the first of its keys (or of a part's) that the message names in
    backticks. Returns the Config's key, or "" if it names none."""
    for name in message.split("`")[1::2]:
        key = units.key_of(name.split(":")[0].strip())
        if key in value and key in keys_of(config):
            document.problem((*place, key), message)
            return key
        for outer, inner in value.items():
            if isinstance(inner, dict) and key in inner:
                document.problem((*place, outer, key), message)
                return str(outer)
    document.problem(place, message, at_key=True)
    return ""


def _example(config: type) -> str:
    key = next(iter(keys_of(config)), "key")
    return f"{{{key}: ...}}"
