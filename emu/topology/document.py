"""YAML text to plain data with the place of every key and value. It knows no key of a topology.

Strict YAML 1.2: duplicate keys, tags and merge keys are problems, never silently resolved; data is
only mappings, lists, text, numbers, true/false and null, bounded in size and depth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from emu.model.problems import Position, Problem, hint

MAX_FILE_BYTES: Final = 1 << 18
MAX_DEPTH: Final = 32
TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels; flatten it"
MAX_VALUES: Final = 100_000
"""Bounds what aliases can blow up ("billion laughs")."""

Path = tuple[str | int, ...]

_CORE_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{word}"
    for word in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value", "merge")
)
"""What a plain value may be taken for. Other tags of YAML's own (`!!binary`, `!!python/...`) were
written out, and ask for more than data."""
_INT = re.compile(r"[-+]?[0-9]{1,19}")
_OTHER_INT = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": math.inf, ".Inf": math.inf, "-.inf": -math.inf, "-.Inf": -math.inf,
    ".nan": math.nan, ".NaN": math.nan,
}  # fmt: skip


@dataclass(slots=True)
class Document:
    """`data` and where each of its parts stands; `problems` are found while reading."""

    path: str
    data: Any = None
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    said: dict[Path, str] = field(default_factory=dict)
    """What the command line has there instead of the file: the words that said it."""

    def problem(self, place: Path, message: str, *, at_key: bool = False) -> None:
        """Note a problem with the value (or the key) at `place`, or its nearest known parent."""
        line, column = self.position(place, at_key=at_key)
        said = (by for at, by in self.said.items() if place and _is_near(at, place))
        self.problems.append(Problem(line, column, self.path, ": ".join([*said, message])))

    def position(self, place: Path, *, at_key: bool = False) -> Position:
        first, second = (self.keys, self.values) if at_key else (self.values, self.keys)
        for length in range(len(place), -1, -1):
            found = first.get(place[:length]) or second.get(place[:length])
            if found is not None:
                return found
            first, second = self.keys, self.values
        return Position(1, 1)

    def known_keys(self, place: Path, value: Any, known: Iterator[str] | list[str]) -> None:
        """Note every key of the mapping `value` that is not among `known`."""
        names = list(known)
        for key in value:
            if key not in names:
                self.problem((*place, key), f"unknown key `{key}`; {hint(key, names)}", at_key=True)


def _is_near(a: Path, b: Path) -> bool:
    """Whether one of the two is inside of the other."""
    common = min(len(a), len(b))
    return a[:common] == b[:common]


def read(text: str, path: str) -> Document:
    """Parse one YAML document. Syntax errors are problems too, never exceptions."""
    document = Document(path)
    if len(text.encode("utf-8", "replace")) > MAX_FILE_BYTES:
        document.problem((), f"the file is larger than {MAX_FILE_BYTES} bytes; split it")
        return document
    parser = YAML(typ="rt", pure=True)
    parser.max_depth = MAX_DEPTH + 1  # each level costs a scanner as much as all that follows
    parser.composer.warn_double_anchors = False  # YAML 1.2 allows to use an anchor's name again
    try:
        root = parser.compose(text)
    except (YAMLError, ValueError, ArithmeticError, LookupError, TypeError, RecursionError,
            AttributeError, AssertionError, NotImplementedError) as error:  # fmt: skip
        # ruamel raises most of these for input that its scanner did not foresee
        document.problems.append(_syntax_problem(error, path, text))
        return document
    if root is not None:
        document.data = _Reader(document).value(root, ())
    return document


def _syntax_problem(error: Exception, path: str, text: str) -> Problem:
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        if mark is not None and isinstance(error, MaxDepthExceededError):
            return Problem(mark.line + 1, mark.column + 1, path, TOO_DEEP)
        if mark is not None:
            advice = "check the indentation, quotes and brackets here"
            if "'\\t'" in what:
                advice = "indent with spaces, not tabs"
            elif error.context_mark is not None and error.context_mark.line != mark.line:
                advice += f" (begun in line {error.context_mark.line + 1})"
            what = f"not YAML: {what}; {advice}"
            return Problem(mark.line + 1, mark.column + 1, path, what)
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        what = f"not YAML: character {shown_character(error.character)} is not allowed; remove it"
        return Problem(line, column, path, what)
    return Problem(1, 1, path, f"not YAML: {str(error)[:200]}; check directives and escapes")


def shown_character(character: object) -> str:
    """How to name a character that cannot be printed."""
    number = ord(character) if isinstance(character, str) and len(character) == 1 else character
    return f"#x{number:04x}" if isinstance(number, int) else repr(character)


class _Reader:
    """Turns composed nodes into plain data, noting positions and problems."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.too_deep = False

    def value(self, node: Node, place: Path) -> Any:
        self.count += 1
        mark = node.start_mark
        self.document.values[place] = Position(mark.line + 1, mark.column + 1)
        if self.count > MAX_VALUES:
            if self.count == MAX_VALUES + 1:
                self.document.problem(place, f"more than {MAX_VALUES} values; use fewer aliases")
            return None
        if len(place) > MAX_DEPTH:
            if not self.too_deep:
                self.too_deep = True
                self.document.problem(place, TOO_DEEP)
            return None
        self._check_tag(node, place)
        match node:
            case MappingNode():
                return self._mapping(node, place)
            case SequenceNode():
                return [self.value(each, (*place, i)) for i, each in enumerate(node.value)]
            case ScalarNode():
                return _scalar(node)
        return None

    def _check_tag(self, node: Node, place: Path) -> None:
        tag = str(node.tag or "")
        if tag not in _CORE_TAGS and tag not in ("", "!"):
            written = tag.replace("tag:yaml.org,2002:", "!!")[:40]
            self.document.problem(place, f"tag `{written}`: a topology is plain data; remove it")

    def _mapping(self, node: MappingNode, place: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            position = Position(mark.line + 1, mark.column + 1)
            if not isinstance(key_node, ScalarNode):
                self._complain(position, "a key must be a word, not a list or mapping; quote it")
                continue
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                self._complain(position, "merge keys (`<<`) are not YAML 1.2; write the keys out")
                continue
            if key in found:
                first = self.document.keys[(*place, key)].line
                self._complain(position, f"duplicate key `{key}` (first in line {first}); keep one")
                continue
            self.document.keys[(*place, key)] = position
            found[key] = self.value(value_node, (*place, key))
        return found

    def _complain(self, position: Position, message: str) -> None:
        self.document.problems.append(Problem(*position, self.document.path, message))


def _scalar(node: ScalarNode) -> Any:
    """The value of a scalar by the core schema of YAML 1.2; quoted ones are text."""
    text = str(node.value)
    if node.style is not None or str(node.tag).endswith(":str"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OTHER_INT.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) and len(text) <= 40 else text
