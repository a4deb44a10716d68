"""The JSON Schema (draft 2020-12) of a topology file, for editors: `emu config --schema`.

Made from the same dataclasses as the loader; what only the loader can know (that a name exists)
is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from emu.alerts.evaluating import COMPARISONS
from emu.model.expectations import ALERT, METRICS
from emu.model.faults import Fault
from emu.model.kinds import known_kinds
from emu.model.shaping import LinkDefaults, LinkOptions
from emu.model.vocabulary import operations_of, verbs_of
from emu.topology import schema
from emu.topology.lint import codes
from emu.topology.loading import OutsideOptions
from emu.topology.tiers import NAME, PEOPLE_KEYS, TierOptions
from emu.topology.timelines import When
from nodes.kind import Kind

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def json_schema(
    *,
    kinds: Mapping[str, Kind] | None = None,
) -> Schema:
    """The whole schema, as plain data."""
    kinds = known_kinds() if kinds is None else kinds
    definitions: Schema = {}
    names: Schema = {"pattern": f"^{NAME.pattern}$"}
    properties: Schema = {
        "name": {"type": "string"},
        "seed": {"type": "integer", "minimum": 0},
        "regions": {"type": "array", "items": {"type": "string", **names}, "minItems": 1,
                    "uniqueItems": True},
        "links": _links(definitions),
        "tiers": {"type": "object", "propertyNames": names, "minProperties": 1,
                  "additionalProperties": _tier(definitions, kinds)},
        "outside": _defined(definitions, OutsideOptions),
        **{kind.outside: {"type": "object", "additionalProperties": _people(definitions, kind)}
           for kind in kinds.values() if kind.outside},
        "faults": {"type": "array", "items": _fault(verbs_of(operations_of(kinds.values())))},
        "expect": {"type": "array", "items": _expectation()},
        "healing": {"enum": ["on", "off", True, False]},
        "accepts": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1},
                    "propertyNames": {"pattern": f"^({'|'.join(codes(kinds.values()))})( \\S+)?$"}},
    }  # fmt: skip
    return {
        "$schema": DIALECT,
        "title": "emu topology",
        "type": "object",
        "properties": properties,
        "required": ["tiers"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _defined(definitions: Schema, config: type, name: str = "") -> Schema:
    """A reference to the dataclass's schema, which is put among the definitions."""
    name = name or config.__name__
    if name not in definitions:
        made = schema.json_schema_of(config)
        definitions.update(made.pop("$defs", {}))
        definitions[name] = made
    return {"$ref": f"#/$defs/{name}"}


def _tier(definitions: Schema, kinds: Mapping[str, Kind]) -> Schema:
    """Common keys, and by `kind` the keys of its Config."""
    common = _common(definitions)
    branches: list[Schema] = []
    for word, kind in kinds.items():
        branches.append({
            "if": {"properties": {"kind": {"const": word}}, "required": ["kind"]},
            "then": _both(definitions, common, kind.config),
        })  # fmt: skip
    kind_word = {"anyOf": [{"enum": list(kinds)}, {"type": "string", "pattern": "^[\\w.]+:\\w+$"}]}
    return {
        "type": "object",
        "properties": {**common, "kind": kind_word},
        "required": ["kind"],
        "allOf": branches,
    }


def _common(definitions: Schema) -> Schema:
    made = schema.json_schema_of(TierOptions)
    definitions.update(made.pop("$defs", {}))
    properties: Schema = made["properties"]
    return properties


def _both(definitions: Schema, common: Schema, config: type) -> Schema:
    made = schema.json_schema_of(config)
    definitions.update(made.pop("$defs", {}))
    return {
        "properties": {**dict.fromkeys(common, True), **made["properties"]},
        "required": made.get("required", []),
        "additionalProperties": False,
    }


def _people(definitions: Schema, kind: Kind) -> Schema:
    common = _common(definitions)
    kept = {key: common[key] for key in PEOPLE_KEYS}
    made = schema.json_schema_of(kind.config)
    definitions.update(made.pop("$defs", {}))
    return {
        "type": "object",
        "properties": {**kept, **made["properties"]},
        "required": made.get("required", []),
        "additionalProperties": False,
    }


def _links(definitions: Schema) -> Schema:
    link = _defined(definitions, LinkOptions)
    latency = definitions["LinkOptions"]["properties"]["latency"]
    return {
        "type": "object",
        "properties": {"defaults": _defined(definitions, LinkDefaults)},
        "patternProperties": {"^\\s*\\S+\\s+<?->\\s+\\S+\\s*$": {"anyOf": [link, latency]}},
        "additionalProperties": False,
    }


def _fault(verbs: Mapping[str, type[Fault]]) -> Schema:
    when = schema.json_schema_of(When)["properties"]
    choices: list[Schema] = []
    for verb, kind in verbs.items():
        made = schema.json_schema_of(kind)
        keys = schema.keys_of(kind)
        main = next(key for key, each in keys.items() if each.name == kind.main)
        options = dict(made["properties"])
        value = options.pop(main)
        options.pop(verb, None)  # the verb's own key is its target
        whole = {"type": "object", "properties": {main: value, **options},
                 "required": made.get("required", []), "additionalProperties": False}  # fmt: skip
        choices.append({
            "properties": {**when, **options, verb: {"anyOf": [value, whole]}},
            "required": [verb],
            "additionalProperties": False,
        })  # fmt: skip
    return {
        "type": "object",
        "anyOf": choices,
        "oneOf": [{"required": ["at"]}, {"required": ["on"]}],
    }


def _expectation() -> Schema:
    metrics, operators = "|".join(METRICS), "|".join(COMPARISONS)
    measured = f"({metrics})\\s*({operators})\\s*\\S.*"
    alert = rf"{ALERT}\s+\w+\s+(never fires|clears|fires(\s+within\s+\S+(\s+of\s+\S+)?)?)\s*"
    return {"type": "string", "pattern": f"^\\s*({measured}|{alert})$"}
