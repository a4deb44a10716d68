"""What machines and storage cost, from a dated file that the user may replace."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

SHIPPED: Final = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True, slots=True)
class Prices:
    """For a month each."""

    of: str
    """Their date, and what they are."""
    currency: str
    machine: float
    """Of any machine, before its cores."""
    core: float
    gb_month: float
    """Of storage."""

    def machine_month(self, cores: int) -> float:
        """One machine; of two cores where the topology does not say."""
        return self.machine + self.core * (cores or 2)


def read(path: str | Path = SHIPPED) -> Prices:
    """Raises ValueError, which says what is wrong with the file, or OSError."""
    try:
        found: Any = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(found, Mapping):
        raise ValueError(f"{path}: prices are a mapping")
    values: dict[str, Any] = {}
    for each in fields(Prices):
        value = found.get(each.name)
        wanted = "a text" if each.type == "str" else "a number from 0"
        good = isinstance(value, str) if each.type == "str" else _is_price(value)
        if not good:
            raise ValueError(f"{path}: `{each.name}` is {wanted}, not {value!r}")
        values[each.name] = value
    return Prices(**values)


def _is_price(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf
