"""The part of PromQL that rules here may be written in: a text to a tree. Pure.

It says what a rule asks; what comes of it is evaluating.py's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from emu.machine import units

MAX_TEXT: Final = 2000
MAX_DEPTH: Final = 40
FUNCTIONS: Final = {"rate": 1, "increase": 1, "histogram_quantile": 2}
"""Function → how many arguments it takes."""
RANGED: Final = ("rate", "increase")
"""Those of a selector with a range."""
AGGREGATIONS: Final = ("sum", "max", "min", "count", "avg")
MATCHING: Final = ("=", "!=", "=~", "!~")
LEVELS: Final = (("and",), ("==", "!=", ">=", "<=", ">", "<"), ("+", "-"), ("*", "/", "%"))
"""Operators, the loosest first; all of one level bind from the left."""
REFUSED: Final = frozenset({
    "or", "unless", "bool", "ignoring", "group_left", "group_right", "without",
})  # fmt: skip
"""Words that mean something to Prometheus, and nothing here."""

Labels = tuple[tuple[str, str], ...]
"""Sorted by name, without the metric's own."""


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a label must be, or match as a whole; one that is not there is ""."""

    label: str
    operator: str
    value: str

    def takes(self, value: str) -> bool:
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        return bool(re.fullmatch(self.value, value)) == (self.operator == "=~")


@dataclass(frozen=True, slots=True)
class Select:
    """The series of one metric; with a range, what they were over so long."""

    metric: str
    matchers: tuple[Matcher, ...] = ()
    range_s: float = 0.0
    offset_s: float = 0.0
    """So long ago."""

    @property
    def reach_s(self) -> float:
        """How far back it looks."""
        return self.range_s + self.offset_s

    def takes(self, labels: Labels) -> bool:
        """Whether a series of these labels is meant."""
        have = dict(labels)
        return all(each.takes(have.get(each.label, "")) for each in self.matchers)


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    operation: str
    by: tuple[str, ...]
    over: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Expression
    right: Expression
    on: tuple[str, ...] | None = None
    """The labels by which both sides are matched; None: all."""


Expression = Number | Select | Call | Aggregate | Binary

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<time>\d+[a-z]+)
    |(?P<word>[A-Za-z_:][\w:]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'[^'\\\n]*')
    |(?P<sign>==|!=|>=|<=|=~|!~|[-+*/%^><=(){}\[\],@]))""",
    re.VERBOSE,
)


def parse(text: str) -> Expression:
    """Raises ValueError that names what is not understood."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"a rule of more than {MAX_TEXT} characters")
    return _Parser(_tokens(text)).whole()


def selectors(tree: Expression) -> list[Select]:
    """Every selector in it."""
    match tree:
        case Select():
            return [tree]
        case Call():
            return [found for each in tree.arguments for found in selectors(each)]
        case Aggregate():
            return selectors(tree.over)
        case Binary():
            return [*selectors(tree.left), *selectors(tree.right)]
    return []


def _tokens(text: str) -> list[tuple[str, str]]:
    found, place, end = [], 0, len(text.rstrip())
    while place < end:
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError(f"`{text[place : place + 20].strip()}` is not understood here")
        kind = str(token.lastgroup)
        found.append((kind, token[kind]))
        place = token.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = [*tokens, ("end", "the end")]
        self._place = 0
        self._depth = 0

    def whole(self) -> Expression:
        found = self._binary(0)
        self._take("the end")
        return found

    # --- tokens ------------------------------------------------------------------------------

    @property
    def _next(self) -> str:
        return self._tokens[self._place][1]

    def _is_kind(self, kind: str) -> bool:
        return self._tokens[self._place][0] == kind

    def _advance(self) -> str:
        text = self._next
        self._place += 1
        return text

    def _take(self, wanted: str) -> None:
        if self._next != wanted:
            raise ValueError(f"`{self._next}` where {wanted} is expected{self._known()}")
        if wanted != "the end":
            self._place += 1

    def _known(self) -> str:
        word = self._next
        return "; emu's own rules do without it" if word in REFUSED or word in "^@" else ""

    # --- the grammar -------------------------------------------------------------------------

    def _binary(self, level: int) -> Expression:
        if level == len(LEVELS):
            return self._one()
        left = self._binary(level + 1)
        while self._next in LEVELS[level] and not self._is_kind("text"):
            operator = self._advance()
            on = self._labels() if self._taken("on") else None
            right = self._binary(level + 1)
            if isinstance(left, Number) and isinstance(right, Number) and level < 2:
                raise ValueError(f"`{operator}` between two numbers says nothing of any series")
            left = Binary(operator, left, right, on)
        return left

    def _taken(self, word: str) -> bool:
        taken = self._next == word
        self._place += taken
        return taken

    def _one(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError("a rule that is nested too deep")
        try:
            if self._taken("("):
                inner = self._binary(0)
                self._take(")")
                return inner
            if self._is_kind("number"):
                return Number(float(self._advance()))
            if not self._is_kind("word") or self._next in REFUSED:
                raise ValueError(f"`{self._next}` where a metric is expected{self._known()}")
            return self._named(self._advance())
        finally:
            self._depth -= 1

    def _named(self, word: str) -> Expression:
        if word in AGGREGATIONS:
            return self._aggregate(word)
        if self._next != "(":
            return self._select(word)
        if word not in FUNCTIONS:
            known = ", ".join((*FUNCTIONS, *AGGREGATIONS))
            raise ValueError(f"`{word}()` is not evaluated here; there are {known}")
        return self._call(word)

    def _aggregate(self, word: str) -> Aggregate:
        by = self._labels() if self._taken("by") else ()
        self._take("(")
        over = self._binary(0)
        self._take(")")
        if not by and self._taken("by"):
            by = self._labels()
        return Aggregate(word, by, over)

    def _call(self, word: str) -> Call:
        self._take("(")
        arguments = [self._binary(0)]
        while self._taken(","):
            arguments.append(self._binary(0))
        self._take(")")
        if len(arguments) != FUNCTIONS[word]:
            raise ValueError(f"`{word}()` takes {FUNCTIONS[word]} arguments, not {len(arguments)}")
        last = arguments[-1]
        if word in RANGED and not (isinstance(last, Select) and last.range_s):
            raise ValueError(f"`{word}()` is of a metric with a range, such as `[1m]`")
        if word == "histogram_quantile" and not isinstance(arguments[0], Number):
            raise ValueError("`histogram_quantile()` needs a plain number first")
        return Call(word, tuple(arguments))

    def _labels(self) -> tuple[str, ...]:
        self._take("(")
        found: list[str] = []
        while not self._taken(")"):
            if not self._is_kind("word"):
                raise ValueError(f"`{self._next}` where a label is expected")
            found.append(self._advance())
            if self._next != ")":
                self._take(",")
        return tuple(found)

    def _select(self, metric: str) -> Select:
        matchers: list[Matcher] = []
        if self._taken("{"):
            while not self._taken("}"):
                label, operator = self._advance(), self._advance()
                if operator not in MATCHING or not self._is_kind("text"):
                    known = ", ".join(MATCHING)
                    raise ValueError(f"`{label}{operator}{self._next}`: a label is {known} a text")
                matchers.append(Matcher(label, operator, _text(operator, self._advance()[1:-1])))
                if self._next != "}":
                    self._take(",")
        range_s = 0.0
        if self._taken("["):
            range_s = units.parse_value("range_s", self._advance())
            self._take("]")
        offset_s = 0.0
        if self._taken("offset"):
            offset_s = units.parse_value("offset_s", self._advance())
        return Select(metric, tuple(matchers), range_s, offset_s)


def _text(operator: str, text: str) -> str:
    """What a label is compared with. Raises ValueError."""
    if operator in ("=~", "!~"):
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"`{text}` is no pattern: {error}") from error
    return text
