"""`db.lag > 2s`: something about the nodes of a target that a run can be stopped at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from emu.alerts.evaluating import COMPARISONS
from emu.machine import units
from emu.running import views
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError

LOOK_S: Final = 0.1
"""How often it is looked for."""
EXAMPLE: Final = "write TARGET.FACT > VALUE, as `emu ps --json` has it: `db.lag > 2s`"
_LINE: Final = re.compile(r"\s*(.+)\.([a-z][a-z0-9_]*)\s*(>=|<=|==|!=|>|<)\s*(\S.*?)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """It holds where a fact of some node that `target` means does. `name` may lack its unit."""

    target: str
    name: str
    op: str
    value: str

    def __str__(self) -> str:
        return f"{self.target}.{self.name} {self.op} {self.value}"

    def met_by(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """The first node of which it is true; "". Raises ValueError where the value is none that
        the fact could have."""
        for row in rows:
            key = self._key(row)
            if key is not None and row[key] is not None and self._holds(key, row[key]):
                return str(row["name"])
        return ""

    def _key(self, row: Mapping[str, Any]) -> str | None:
        if self.name in row:
            return self.name
        keys = (each for each in row if each.rpartition("_")[0] == self.name)
        return next(keys, None)

    def _holds(self, key: str, actual: Any) -> bool:
        if isinstance(actual, (int, float)) and not isinstance(actual, bool):
            return COMPARISONS[self.op](float(actual), units.parse_value(key, self.value))
        same = str(actual).lower() == self.value.lower()
        if self.op not in ("==", "!="):
            raise ValueError(f"{self}: {self.name} is a word; only == and != fit it")
        return same is (self.op == "==")


def parse(text: str) -> Condition:
    """Raises ValueError that says what to write."""
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text[:80]}` is no condition; {EXAMPLE}")
    return Condition(*match.groups())


async def until(cluster: Cluster, condition: Condition) -> str:
    """Wait until it is met; by which node. Raises TargetError where the target names nothing to
    begin with (later it waits: a group may be without a primary), ValueError."""
    rows = await views.ps(cluster, condition.target)
    while not (found := condition.met_by(rows)):
        await cluster.operator.sleep(LOOK_S)
        with suppress(TargetError):
            rows = await views.ps(cluster, condition.target)
    return found
