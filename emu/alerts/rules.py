"""Rule files, as Prometheus takes them: what is recorded, what alerts, and what is told of it.

A rule that cannot be evaluated here is a mistake of the file, named with its rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from emu.alerts import language
from emu.alerts.language import Expression, Labels
from emu.machine import units

SHIPPED: Final = Path(__file__).resolve().parents[2] / "dashboards" / "rules"
FILES: Final = ("recording.yaml", "alerts.yaml")
"""In the order in which they are evaluated: what is recorded first."""
PREFIX: Final = "Emu"
"""Of every shipped alert; people may leave it out."""
KEYS: Final = frozenset({"alert", "record", "expr", "for", "labels", "annotations"})


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that rules ask for by a name of its own."""

    name: str
    tree: Expression
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """Fires for each series that its expression has had for so long."""

    name: str
    tree: Expression
    for_s: float
    labels: Labels
    summary: str
    """What is wrong, with `{{ $labels.node }}` and `{{ $value }}`."""
    description: str
    """What it means, and what to look at."""
    mend: str = ""
    """What ends it: commands, or what to set otherwise."""
    text: str = ""
    """Its expression, on one line."""

    @property
    def severity(self) -> str:
        return dict(self.labels).get("severity", "")


Rule = Recording | Alert


@cache
def shipped() -> tuple[Rule, ...]:
    """The rules that emu ships. Raises ValueError, OSError."""
    return tuple(rule for name in FILES for rule in load(SHIPPED / name))


def load(path: Path) -> list[Rule]:
    """A file's rules, in its order. Raises ValueError that names the rule, OSError."""
    found = YAML(typ="safe").load(path.read_text("utf-8"))
    return [_rule(each, path.name) for group in found["groups"] for each in group["rules"]]


def _rule(given: Mapping[str, Any], where: str) -> Rule:
    name = str(given.get("alert") or given.get("record"))
    try:
        unknown = [key for key in given if key not in KEYS]
        if unknown:
            raise ValueError(f"there is no key `{unknown[0]}` here")
        text = " ".join(str(given["expr"]).split())
        tree = language.parse(text)
        labels = _sorted(given.get("labels", {}))
        if "record" in given:
            return Recording(name, tree, labels)
        told = given.get("annotations", {})
        for_s = units.parse_value("for_s", given.get("for", 0))
        summary, description, mend = (
            str(told.get(each, "")) for each in ("summary", "description", "mend")
        )
        for each in (summary, description, mend):
            filled(each, {}, 0.0)
        return Alert(name, tree, for_s, labels, summary, description, mend, text)
    except ValueError as error:
        raise ValueError(f"{where}: {name}: {error}") from None


def _sorted(labels: Mapping[str, Any]) -> Labels:
    return tuple(sorted((name, str(value)) for name, value in labels.items()))


# --- what of them is needed ------------------------------------------------------------------


def needed(rules: Iterable[Rule]) -> list[Rule]:
    """The alerts, and what they ask for that is recorded, in order."""
    rules = list(rules)
    asked: dict[str, None] = {}
    kept: list[Rule] = []
    for rule in reversed(rules):
        if isinstance(rule, Alert) or rule.name in asked:
            kept.insert(0, rule)
            asked.update((each.metric, None) for each in language.selectors(rule.tree))
    return kept


def kept_s(rules: Iterable[Rule]) -> dict[str, float]:
    """Metric → how far back any of them looks."""
    found: dict[str, float] = {}
    for rule in rules:
        for each in language.selectors(rule.tree):
            found[each.metric] = max(found.get(each.metric, 0.0), each.reach_s)
    return found


def names(rules: Sequence[Rule]) -> list[str]:
    """Of the alerts, each once."""
    return list(dict.fromkeys(rule.name for rule in rules if isinstance(rule, Alert)))


def full_name(name: str, known: Sequence[str]) -> str:
    """`NoPrimary` and `EmuNoPrimary` are one alert. Raises KeyError."""
    for each in (name, f"{PREFIX}{name}"):
        if each in known:
            return each
    raise KeyError(name)


# --- what is told ----------------------------------------------------------------------------

_FIELD: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}")


def filled(text: str, labels: Mapping[str, str], value: float) -> str:
    """The text with its fields. Raises ValueError for one that is not known here."""
    return _FIELD.sub(lambda found: _field(found[1], labels, value), text)


def in_general(text: str) -> str:
    """The text of no series in particular: `NODE is full`."""
    return _FIELD.sub(lambda found: _name(found[1]), text)


def _name(field: str) -> str:
    what = field.partition("|")[0].strip()
    return what.removeprefix("$labels.").removeprefix("$").upper()


def _field(field: str, labels: Mapping[str, str], value: float) -> str:
    what, _, shown = (part.strip() for part in field.partition("|"))
    if what.startswith("$labels.") and not shown:
        return labels.get(what.removeprefix("$labels."), "")
    if what != "$value" or shown not in FORMATS:
        raise ValueError(f"`{field}` is not filled in here")
    return FORMATS[shown](value)


def plain(value: float) -> str:
    """As Go writes a float: `8192`, `0.25`, `1e+06`."""
    if not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    digits = Decimal(repr(value)).normalize()
    if -5 < digits.adjusted() < 6 or not value:
        return f"{digits:f}"
    mantissa, _, exponent = f"{digits:e}".partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].zfill(2)}"


LARGE: Final = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
TINY: Final = ("", "m", "u", "n", "p", "f", "a", "z", "y")
SMALL: Final = ((1e3, "ms"), (1e6, "us"), (1e9, "ns"))


def duration(seconds: float) -> str:
    """`1m 40s`, `2.5s`, `750ms`."""
    if not seconds:
        return "0s"
    if abs(seconds) < 1:
        scale, unit = next((each for each in SMALL if abs(seconds) * each[0] >= 1), SMALL[-1])
        return f"{seconds * scale:.4g}{unit}"
    sign, whole = "-" if seconds < 0 else "", int(abs(seconds))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m")]
    while parts and not parts[0][0]:
        parts.pop(0)
    if not parts:
        return f"{seconds:.4g}s"
    return sign + " ".join(f"{count}{unit}" for count, unit in [*parts, (whole % 60, "s")])


def percentage(ratio: float) -> str:
    return f"{ratio * 100:.4g}%"


def humanized(value: float) -> str:
    """With the prefix of a unit: `1.5k`, `20m`."""
    prefix = ""
    if abs(value) >= 1 and math.isfinite(value):
        for prefix in LARGE:
            if abs(value) < 1000 or prefix == LARGE[-1]:
                break
            value /= 1000
    elif value and math.isfinite(value):
        for prefix in TINY:
            if abs(value) >= 1 or prefix == TINY[-1]:
                break
            value *= 1000
    return f"{value:.4g}{prefix}"


FORMATS: Final[Mapping[str, Callable[[float], str]]] = {
    "": plain,
    "humanize": humanized,
    "humanizeDuration": duration,
    "humanizePercentage": percentage,
}
