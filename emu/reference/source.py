"""Events and metrics as the source of nodes/ and emu/ has them, read and never run: what is logged
by which word, what is counted under which name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
ROOMS: Final = ("nodes", "emu")
REGISTER: Final = ("counter", "gauge", "histogram")
NO_EVENTS: Final = ("emu/cli/", "emu/machine/", "emu/sim/")
"""What notes for people or traces, or hands events on."""
SAYS: Final = "EVENTS"
"""What a module calls its table: event → what it means."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of series."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    rooms: tuple[str, ...]
    """Whose nodes have it."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event's sentence, and the room whose nodes log it."""

    event: str
    text: str
    room: str


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """(`nodes/kv/shard.py`, its tree) of every module, in order."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return tuple(
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))) for path in paths
    )


@cache
def events() -> tuple[Told, ...]:
    """Every event that some EVENTS table explains."""
    found = []
    for path, tree in modules():
        for node in tree.body:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict() as table) if (
                    name == SAYS
                ):
                    texts = _texts(tree)
                    for key, value in zip(table.keys, table.values, strict=True):
                        event, text = _text(key, texts), _text(value, texts)
                        found.append(Told(event, text, room_of(path)))
    return tuple(found)


def logged() -> Iterator[tuple[str, str]]:
    """(place, event) of every event that the source logs by a word of its own; what an f-string
    fills in is `*`."""
    for path, tree in modules():
        texts = _texts(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _logs(node, path):
                words = node.args[1:] if _attribute(node) in ("_log", "add") else node.args
                if words and (event := _text(words[0], texts)):
                    yield f"{path}:{node.lineno}", event


@cache
def metrics() -> tuple[Metric, ...]:
    """Every metric that is registered, with the rooms that do."""
    found: dict[str, Metric] = {}
    for path, tree in modules():
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and _attribute(node) in REGISTER and node.args
        ]
        texts = _texts(tree) if calls else {}
        for node in calls:
            name = _text(node.args[0], texts)
            text = _text(node.args[1], texts) if len(node.args) > 1 else ""
            labels = [each.arg for each in node.keywords if each.arg]
            before = found.get(name) or Metric(name, _attribute(node), text, (), ())
            found[name] = replace(
                before,
                labels=tuple(dict.fromkeys([*before.labels, *labels])),
                rooms=tuple(dict.fromkeys([*before.rooms, room_of(path)])),
            )
    return tuple(each for each in found.values() if each.name)


def room_of(path: str) -> str:
    """`nodes/kv` of one of its modules; of a module at the top its own name."""
    parts = path.removesuffix(".py").split("/")
    return "/".join(parts[:2])


def _attribute(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _logs(call: ast.Call, path: str) -> bool:
    if not isinstance(call.func, ast.Attribute) or path.startswith(NO_EVENTS):
        return False
    whose, what = ast.unparse(call.func.value), call.func.attr
    by_level = what in ("debug", "info", "warning", "error") and "log" in whose
    by_name = what in ("_note", "tell", "_log") and whose in ("self", "console")
    return by_level or by_name or (what == "add" and whose.endswith("events"))


def _texts(tree: ast.Module) -> dict[str, str]:
    """The module's constants that are text."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                found[name] = text
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                found[name] = text
            case ast.ImportFrom(module=str(module), names=names):
                found |= {
                    each.asname or each.name: text
                    for each in names
                    if (text := _imported(module, each.name))
                }
    return found


def _imported(module: str, name: str) -> str:
    """A constant of another module of ours."""
    return _own(f"{module.replace('.', '/')}.py").get(name, "") if name.isupper() else ""


@cache
def _own(path: str) -> dict[str, str]:
    tree = dict(modules()).get(path)
    found = {}
    for node in tree.body if tree is not None else ():
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                found[name] = text
    return found


def _text(node: ast.expr | None, texts: dict[str, str]) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return texts.get(name, "")
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, texts) or "*" for part in parts)
        case ast.IfExp(body=one):
            return _text(one, texts)
    return ""
