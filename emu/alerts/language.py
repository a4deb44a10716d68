"""The part of PromQL that rules here may be written in: a text to a tree. Pure.

It says what a rule asks; what comes of it is evaluating.py's.
"""

from __future__ import annotations

import re
import sys
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
_DURATION: Final = re.compile(r"\d+(?:ms|[smhd])")
MATCHING: Final = ("=", "!=", "=~", "!~")
ARITHMETIC_LEVEL: Final = 2
"""From that one on the operators compute; below it they choose series."""
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
        return bool(re.fullmatch(self.value, value, re.ASCII)) == (self.operator == "=~")


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
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
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
        found = _at_once(self._binary(0))
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
            left, right = _at_once(left), _at_once(self._binary(level + 1))
            numbers = [is_number(each) for each in (left, right)]
            if all(numbers) and level < ARITHMETIC_LEVEL:
                raise ValueError(f"`{operator}` between two numbers says nothing of any series")
            if any(numbers) and (on is not None or operator == "and"):
                word = operator if operator == "and" else "on"
                raise ValueError(f"`{word}` is of series on both sides, and one is a number")
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
        over = _series(word, self._binary(0))
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
        if word == "histogram_quantile":
            if not isinstance(arguments[0], Number):
                raise ValueError("`histogram_quantile()` needs a plain number first")
            _series(word, last)
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
                matchers.append(Matcher(label, operator, _text(operator, self._advance())))
                if self._next != "}":
                    self._take(",")
        range_s = 0.0
        if self._taken("["):
            range_s = self._duration("range_s")
            self._take("]")
            if not range_s:
                raise ValueError(f"`{metric}[0s]`: a range is above 0")
        offset_s = 0.0
        if self._taken("offset"):
            offset_s = self._duration("offset_s")
        return Select(metric, tuple(matchers), range_s, offset_s)

    def _duration(self, name: str) -> float:
        text = self._advance()
        if not _DURATION.fullmatch(text):
            raise ValueError(f"`{text}` is no time: a whole number, and ms, s, m, h or d")
        return units.parse_value(name, text)


def is_number(tree: Expression) -> bool:
    """Whether it comes to a number, whatever series there are."""
    if isinstance(tree, Binary):
        return is_number(tree.left) and is_number(tree.right)
    return isinstance(tree, Number)


def _at_once(tree: Expression) -> Expression:
    """What has one value at a time. Raises ValueError."""
    if isinstance(tree, Select) and tree.range_s:
        known = " and ".join(f"`{each}()`" for each in RANGED)
        raise ValueError(f"`{tree.metric}[...]` is many values at a time, which {known} take")
    return tree


def _series(word: str, tree: Expression) -> Expression:
    """Raises ValueError."""
    if is_number(tree):
        raise ValueError(f"`{word}()` is of series, and this is a number")
    return _at_once(tree)


# --- texts -----------------------------------------------------------------------------------

_ESCAPE: Final = re.compile(
    r"\\(?:(?P<plain>[abfnrtv\\'\"])|(?P<octal>[0-7]{3})"
    r"|x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<wrong>.?))"
)
BYTE: Final = 0x7F
"""The highest that is a character by itself in UTF-8."""
SURROGATES: Final = range(0xD800, 0xE000)
_PLAIN: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NOT_RE2: Final = re.compile(
    r"""\\[1-9ZGuN] | \(\?(?:[=!>(\#] | <[=!] | P=) | \[\[: | \{,
    | (?<!\\)(?:[*+?]|\d\})\+""",
    re.VERBOSE,
)
"""What Python's patterns have, or read otherwise, and Prometheus' do not know."""


def _text(operator: str, quoted: str) -> str:
    """What a label is compared with, of a text in its quotes. Raises ValueError."""
    text = quoted[1:-1] if quoted[0] == "`" else _unquoted(quoted)
    if operator in ("=~", "!~"):
        strange = _NOT_RE2.search(text)
        if strange:
            raise ValueError(f"`{text}` is no pattern for Prometheus, which has no `{strange[0]}`")
        try:
            re.compile(text, re.ASCII)
        except (re.error, OverflowError) as error:
            raise ValueError(f"`{text}` is no pattern: {error}") from error
    return text


def _unquoted(quoted: str) -> str:
    """With its escapes as Go reads them. Raises ValueError."""
    quote = quoted[0]

    def read(found: re.Match[str]) -> str:
        match found.lastgroup:
            case "plain" if found["plain"] not in "'\"" or found["plain"] == quote:
                return _PLAIN.get(found["plain"], found["plain"])
            case "octal" | "x" | "u" | "U" as kind:
                number = int(found[kind], 8 if kind == "octal" else 16)
                most = BYTE if kind in ("octal", "x") else sys.maxunicode
                if number <= most and number not in SURROGATES:
                    return chr(number)
        what = f"`{found[0]}` in {quoted} means nothing to Prometheus"
        raise ValueError(f"{what}: a backslash of a pattern is written twice, or in `...`")

    return _ESCAPE.sub(read, quoted[1:-1])
