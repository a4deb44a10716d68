"""A timeline as YAML, in the words that timelines.py reads: what was drawn or done, to run again.

Numbers are written so that they read back as the very same.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from emu.machine import units
from emu.model.faults import VERBS, Fault, from_record
from emu.model.topology import FaultItem
from emu.topology.timelines import WHEN_KEYS

WIDTH = 4096
"""An item stays on its line."""


def timeline_yaml(items: Iterable[FaultItem]) -> str:
    """The `faults:` section, an item a line."""
    return _dumped(CommentedMap(faults=_section(items)))


def with_timeline(path: str | Path, items: Iterable[FaultItem]) -> str:
    """The text of that topology file with these faults in place of its own; comments stay."""
    reader = _yaml()
    data = reader.load(Path(path).read_text(encoding="utf-8"))
    data["faults"] = _section(items)
    return _dumped(data)


def recorded(
    records: Iterable[Mapping[str, Any]], began_s: float, verbs: Mapping[str, type[Fault]] = VERBS
) -> list[FaultItem]:
    """What was done to a cluster (Cluster.timeline) since `began_s`, as a timeline.

    A fault lasts as long as it did, also if it was undone by hand, and is of the nodes that it had
    hit (`affected`), whatever its target words would mean another time.
    """
    items = []
    for record in records:
        kind = verbs[record["verb"]]
        words = {each.name: record[each.name] for each in fields(kind)}  # type: ignore[arg-type]
        if kind.main == "target" and record.get("affected"):
            words["target"] = ",".join(record["affected"])
        at_s = round(max(0.0, record["at_s"] - began_s), 3)
        ended_s = record.get("ended_s")
        for_s = None if ended_s is None else round(ended_s - record["at_s"], 3)
        fault = from_record({"verb": kind.verb, **words}, verbs)
        items.append(FaultItem(fault, at_s, for_s=for_s))
    return items


def _section(items: Iterable[FaultItem]) -> CommentedSeq:
    section = CommentedSeq()
    for item in items:
        line = CommentedMap(_words(item))
        line.fa.set_flow_style()
        section.append(line)
    return section


def _words(item: FaultItem) -> dict[str, Any]:
    if item.on:
        words: dict[str, Any] = {"on": item.on}
        if item.since_s:
            words["since"] = units.format_value("since_s", item.since_s)
        if item.at_s:
            words["after"] = units.format_value("at_s", item.at_s)
    else:
        words = {"at": units.format_value("at_s", item.at_s or 0.0)}
    words |= fault_words(item.fault)
    if item.for_s is not None:
        words["for"] = units.format_value("for_s", item.for_s)
    return words


def fault_words(fault: Fault) -> dict[str, Any]:
    """The verb with its value, and every option that is not its default."""
    main = _value(fault.main, getattr(fault, fault.main))
    options: dict[str, Any] = {}
    for each in fields(fault):  # type: ignore[arg-type]
        value = getattr(fault, each.name)
        if each.name != fault.main and value != each.default:
            options[units.key_of(each.name)] = _value(each.name, value)
    if options.keys() & {fault.verb, *WHEN_KEYS}:  # loss: {target: web, loss: 7%}
        return {fault.verb: CommentedMap({fault.main: main, **options})}
    return {fault.verb: main, **options}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        flow = CommentedSeq(value)
        flow.fa.set_flow_style()
        return flow
    has_unit = isinstance(value, int) and units.unit_of(name) is not units.PLAIN
    if not (isinstance(value, float) or has_unit):
        return value
    text = units.format_value(name, value)
    if text.replace(".", "", 1).isdigit():  # it needs no unit: a number, not a text
        return int(value) if value == int(value) else value
    return text


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.width = WIDTH
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _dumped(data: Any) -> str:
    out = io.StringIO()
    _yaml().dump(data, out)
    return out.getvalue()
