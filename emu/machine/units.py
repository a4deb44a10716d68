"""Numbers with units, as people write them: `2s`, `64MB`, `1Gbit`, `200/s`, `0.01%`. Pure.

The unit of a field stands at the end of its name (`check_interval_s`) and the YAML key drops it
(`check_interval`); no other module knows what a suffix means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal, get_args, get_origin

MAX_TEXT: Final = 64
MOST: Final = 2.0**53
"""Beyond this a float no longer counts by ones, and no laptop has so much of anything."""
LEAST_DRIFT: Final = -0.9
MOST_DRIFT: Final = 10.0
"""A clock that drifts stands never still, and runs at eleven times its rate at most."""
SIGNED: Final = frozenset({"offset_s", "step_s", "drift_ratio"})
"""The fields that may be negative."""

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?"
_BELOW_0 = re.compile(r"\s*-[0-9.]*[1-9]")
_ONE = re.compile(rf"\s*({_NUMBER})\s*([^\s0-9.+-][^\s0-9]*)?\s*")

_TIME = {"ns": "1e-9", "us": "1e-6", "µs": "1e-6", "ms": "1e-3", "s": "1",
         "m": "60", "min": "60", "h": "3600", "d": "86400"}  # fmt: skip
_SIZE = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
         "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}  # fmt: skip
_BITS = {"bit": 1, "kbit": 10**3, "Kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9, "Tbit": 10**12}
_RATE = {"/s": Fraction(1), "/m": Fraction(1, 60), "/min": Fraction(1, 60), "/h": Fraction(1, 3600)}


def _bandwidths() -> dict[str, Fraction]:
    table = {f"{unit}/s": Fraction(size) for unit, size in _SIZE.items()}
    for unit, bits in _BITS.items():
        for ending in ("", "/s"):
            table[unit + ending] = Fraction(bits, 8)
        table[unit.replace("bit", "bps")] = Fraction(bits, 8)
    return table


@dataclass(frozen=True, slots=True)
class Unit:
    """What a suffix of a field's name means. `shown` are the units to write, largest first."""

    suffix: str
    noun: str
    scales: Mapping[str, Fraction]
    shown: tuple[str, ...]
    examples: tuple[str, ...]
    bare: bool = False
    """Whether a number without a unit is right."""
    adds_up: bool = False
    """Whether parts may follow each other: `1m30s`."""
    most: float = MOST


UNITS: Final = (
    Unit(
        "_bytes_per_s",
        "a bandwidth",
        _bandwidths(),
        ("GB/s", "MB/s", "KB/s", "B/s"),
        ("Mbit", "MB/s"),
        most=1e15,
    ),
    Unit("_per_s", "a rate", _RATE, ("/s",), ("/s", "/m")),
    Unit(
        "_bytes",
        "a size",
        {unit: Fraction(size) for unit, size in _SIZE.items()},
        ("TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "KB", "B"),
        ("MB", "KiB"),
    ),
    Unit(
        "_people",
        "a number of people",
        {"k": Fraction(1000), "M": Fraction(10**6), "B": Fraction(10**9)},
        ("B", "M", "k"),
        ("k", "M"),
        bare=True,
    ),
    Unit("_ratio", "a share", {"%": Fraction(1, 100)}, ("%",), ("%",), bare=True, most=1.0),
    Unit(
        "_s",
        "a time",
        {unit: Fraction(scale) for unit, scale in _TIME.items()},
        ("d", "h", "m", "s", "ms", "us", "ns"),
        ("s", "ms"),
        adds_up=True,
    ),
)
PLAIN: Final = Unit("", "a number", {}, (), (), bare=True)


def unit_of(field_name: str) -> Unit:
    """The unit that a field's name ends in; PLAIN if none."""
    for unit in UNITS:
        if field_name.endswith(unit.suffix) and field_name != unit.suffix:
            return unit
    return PLAIN


def key_of(field_name: str) -> str:
    """The YAML key (and command-line flag) of a field: its name without the unit."""
    return field_name.removesuffix(unit_of(field_name).suffix)


def parse_value(field_name: str, value: object) -> float:
    """A number in the unit of the field's name. Raises ValueError that says what to write."""
    unit = unit_of(field_name)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{unit.noun} is expected, not {shown(value)}; {_advice(unit)}")
    if _BELOW_0.match(str(value)) and field_name not in SIGNED:
        raise ValueError(f"{shown(value)} is below 0; {unit.noun} here cannot be negative")
    number = _parse_text(unit, value) if isinstance(value, str) else _bare(unit, value)
    return _in_range(field_name, unit, number, shown(value))


def _parse_text(unit: Unit, text: str) -> float:
    stripped = text.strip()
    if not stripped or len(stripped) > MAX_TEXT:
        raise ValueError(f"{unit.noun} is expected, not {shown(text)}; {_advice(unit)}")
    sign, digits = (-1, stripped[1:]) if stripped[0] == "-" else (1, stripped.removeprefix("+"))
    total, place, parts = Fraction(0), 0, 0
    while place < len(digits) and (found := _ONE.match(digits, place)):
        word = found[2]
        if word is None and (parts or found.end() < len(digits)):
            break
        if word is None:
            return _bare(unit, sign * float(digits))
        total += Fraction(found[1]) * _scale(unit, found[1], word, text)
        place, parts = found.end(), parts + 1
        if not unit.adds_up:
            break
    if place < len(digits) or not parts:
        raise ValueError(f"{shown(text)} is not {unit.noun}; {_advice(unit)}")
    try:
        return sign * float(total)
    except OverflowError:
        return math.inf


def _scale(unit: Unit, number: str, word: str, text: str) -> Fraction:
    scale = unit.scales.get(word)
    if scale is not None:
        return scale
    near = [known for known in unit.scales if known.casefold() == word.casefold()]
    near += [known for known in unit.scales if known.removesuffix("/s") == word]
    near += [known for known in unit.scales if known[:1] == word[:1] and known not in near]
    if not unit.scales:
        raise ValueError(f"{shown(text)}: no unit belongs here; write {number}")
    if near:
        raise ValueError(f"{shown(text)} is not {unit.noun}; did you mean {number}{near[0]}?")
    raise ValueError(f"`{word}` is no unit of {unit.noun}; write {_examples(unit, number)}")


def _bare(unit: Unit, value: float) -> float:
    if unit.bare or value == 0 or not math.isfinite(value):
        return value
    number = f"{value:g}"
    raise ValueError(f"{number} has no unit: it is {unit.noun}; write {_examples(unit, number)}")


def _in_range(field_name: str, unit: Unit, number: float, text: str) -> float:
    if math.isnan(number) or math.isinf(number):
        raise ValueError(f"{text} is not a finite number; {_advice(unit)}")
    if number < 0 and field_name not in SIGNED:
        raise ValueError(f"{text} is below 0; {unit.noun} here cannot be negative")
    if abs(number) > unit.most:
        most = "1 (100%)" if unit.suffix == "_ratio" else f"{unit.most:g}"
        raise ValueError(f"{text} is impossible: the most is {most}")
    return number


def check_value(field_name: str, number: float) -> float:
    """The number, if the field can have it. Raises ValueError."""
    if type(number) is int and abs(number) > MOST:
        raise ValueError(f"`{key_of(field_name)}` is impossible: the most is {MOST:g}")
    return _in_range(field_name, unit_of(field_name), number, f"{number:g}")


def check_drift(drift_ratio: float) -> None:
    """Raises ValueError for a rate that no clock could run at."""
    if not LEAST_DRIFT <= drift_ratio <= MOST_DRIFT:
        raise ValueError(f"`drift` must be from {LEAST_DRIFT:.0%} to {MOST_DRIFT:.0%}")


def format_value(field_name: str, value: float) -> str:
    """The shortest text that `parse_value` reads back as the same number; of two, with a unit."""
    unit = unit_of(field_name)
    candidates = [_plain_digits(value)] if unit.bare or value == 0 else []
    for word in unit.shown if value else ():
        digits = _plain_digits(float(Fraction(value) / unit.scales[word]))
        candidates += [f"{digits}{word}"]
    candidates += (
        [f"{value!r}{unit.shown[-1] if unit.suffix != '_s' else 's'}"] if unit.shown else []
    )
    candidates += [f"{value!r}{word}" for word, scale in unit.scales.items() if scale == 1]
    exact = [text for text in candidates if _reads_back(field_name, text, value)]

    def length(text: str) -> tuple[int, bool, bool]:
        return len(text), "." in text, text[-1].isdigit()

    return min(exact, key=length) if exact else repr(value)


def _plain_digits(value: float) -> str:
    return repr(int(value)) if value == int(value) and abs(value) < MOST else repr(value)


def _reads_back(field_name: str, text: str, value: float) -> bool:
    try:
        return parse_value(field_name, text) == value
    except ValueError:
        return False


def pattern_of(unit: Unit) -> str:
    """A JSON Schema pattern for texts with this unit."""
    words = "|".join(re.escape(word) for word in sorted(unit.scales, key=len, reverse=True))
    part = rf"{_NUMBER}\s*(?:{words})"
    return rf"^\s*[-+]?(?:{part}\s*)+$" if unit.adds_up else rf"^\s*[-+]?{part}\s*$"


def shown(value: object) -> str:
    """A value for a message: short, on one line."""
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = str(value)
    except ValueError:  # an integer of more digits than Python prints
        return "such a number"
    return f"`{text[:40]}...`" if len(text) > 43 else f"`{text}`"


def _examples(unit: Unit, number: str) -> str:
    return " or ".join(f"{number}{word}" for word in unit.examples)


def _advice(unit: Unit) -> str:
    return f"write {_examples(unit, '2')}" if unit.examples else "write a number such as 2"


def fitting(name: str, hint: Any, value: Any) -> Any:
    """The value of a field, which came from outside, as the field's type. Raises ValueError."""
    if hint in (int, float):
        fits = type(value) in (int, hint)
        if fits:
            check_value(name, value)
    elif get_origin(hint) is Literal:
        fits = value in get_args(hint)
    elif get_origin(hint) is tuple:
        words = get_args(hint)[0] is str
        fits = type(value) in (list, tuple) and (
            not words or all(type(each) is str for each in value)
        )
        value = tuple(value) if fits else value
    else:
        fits = type(value) is hint
    if not fits:
        raise ValueError(f"`{name}` cannot be {value!r}"[:200])
    return value
