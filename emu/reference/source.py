"""Events and metrics as the source of nodes/ and emu/ has them, read and never run: what is logged
by which word, what is counted under which name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
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
def sources() -> Mapping[str, str]:
    """`nodes/kv/shard.py` → its text, of every module, in order."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


@cache
def tree_of(path: str) -> ast.Module:
    """What a module says. Most of the time is spent here: it is asked of few."""
    return ast.parse(sources()[path])


def modules(having: str = "") -> Iterator[tuple[str, ast.Module]]:
    """(`nodes/kv/shard.py`, its tree) of every module in which that pattern is found, in order."""
    for path, text in sources().items():
        if re.search(having, text):
            yield path, tree_of(path)


@cache
def events() -> tuple[Told, ...]:
    """Every event that some EVENTS table explains."""
    found = []
    for path, tree in modules(rf"\b{SAYS}\b"):
        for node in tree.body:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict() as table) if (
                    name == SAYS
                ):
                    texts = Texts(tree)
                    for key, value in zip(table.keys, table.values, strict=True):
                        event, text = _text(key, texts), _text(value, texts)
                        found.append(Told(event, text, room_of(path)))
    return tuple(found)


def logged() -> Iterator[tuple[str, str]]:
    """(place, event) of every event that the source logs by a word of its own; what an f-string
    fills in is `*`."""
    for path, tree in modules():
        texts = Texts(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _logs(node, path):
                words = node.args[1:] if _attribute(node) in ("_log", "add") else node.args
                if words and (event := _text(words[0], texts)):
                    yield f"{path}:{node.lineno}", event


@cache
def metrics() -> tuple[Metric, ...]:
    """Every metric that is registered, with the rooms that do."""
    found: dict[str, Metric] = {}
    for path, tree in modules(rf"\.({'|'.join(REGISTER)})\("):
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and _attribute(node) in REGISTER and node.args
        ]
        texts = Texts(tree)
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


class Texts:
    """A module's constants that are text, its own and those that it takes from others of ours."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree

    def get(self, name: str) -> str:
        """ "" where there is none of that name."""
        found = self._own.get(name)
        if found is None and name in self._taken:
            found = _imported(*self._taken[name])
        return found or ""

    @cached_property
    def _own(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for node in ast.walk(self._tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                    found[name] = text
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                    found[name] = text
        return found

    @cached_property
    def _taken(self) -> dict[str, tuple[str, str]]:
        """Name here → module, and its name there."""
        return {
            each.asname or each.name: (str(node.module), each.name)
            for node in ast.walk(self._tree)
            if isinstance(node, ast.ImportFrom)
            for each in node.names
        }


def _imported(module: str, name: str) -> str:
    """A constant of another module of ours."""
    return _own(f"{module.replace('.', '/')}.py").get(name, "") if name.isupper() else ""


@cache
def _own(path: str) -> dict[str, str]:
    found = {}
    for node in tree_of(path).body if path in sources() else ():
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                found[name] = text
    return found


def _text(node: ast.expr | None, texts: Texts) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return texts.get(name)
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, texts) or "*" for part in parts)
        case ast.IfExp(body=one):
            return _text(one, texts)
    return ""
