"""Every metric that the source registers, read off its syntax trees, and where each is drawn.

A name must be a literal where it is registered, so that this list is whole: a metric that appears
only after a failure is in it, too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
ROOMS: Final = ("nodes", "emu")
REGISTRY: Final = "nodes/metrics.py"
REGISTERING: Final = frozenset({"counter", "gauge", "histogram"})
NO_LABELS: Final = frozenset({"read", "bounds", "help_text"})
OF_A_NODE: Final = ("node", "tier", "region")
MACHINE: Final = ("emu/machine/cpu.py", "emu/machine/disk.py")
"""Modules outside of nodes/ whose series carry the node's labels."""
SAID_BY_EMU: Final = frozenset({"emu_node_up", "emu_node_generation", "emu_node_info"})
"""What emu says of a node in its place."""
DEBUGGING: Final[Mapping[str, str]] = {
    "emu_otlp_spans_total": "of a run with `--otlp`: spans posted outside, or given up",
    "emu_webhook_alerts_total": "of a run with `--webhook`: alerts posted outside, or given up",
}
"""Metrics that no panel shows, and what they are for."""
NAME: Final = re.compile(r"\bemu_[a-z0-9_]+")
ENDINGS: Final = {"histogram": ("_bucket", "_sum", "_count")}


@dataclass(frozen=True)
class Metric:
    """One family, with its own labels and (if a node says it) the node's."""

    name: str
    kind: str
    help_text: str
    labels: frozenset[str]
    where: str

    @property
    def samples(self) -> tuple[str, ...]:
        """The names that PromQL may ask for."""
        return tuple(f"{self.name}{ending}" for ending in ENDINGS.get(self.kind, ("",)))


class MetricError(Exception):
    """A registration that cannot be read off the source; the message says where."""


def registered(root: Path = ROOT) -> dict[str, Metric]:
    """All of them, by name. Raises MetricError, also where one is registered in two ways."""
    found: dict[str, Metric] = {}
    files = sorted(file for room in ROOMS for file in (root / room).rglob("*.py"))
    for path in (file.relative_to(root).as_posix() for file in files):
        for metric in _of_module(root, path) if path != REGISTRY else ():
            before = found.setdefault(metric.name, metric)
            if (before.kind, before.help_text) != (metric.kind, metric.help_text):
                raise MetricError(f"{metric.where}: {metric.name} differs from {before.where}")
            if before.labels != metric.labels:
                raise MetricError(f"{metric.where}: {metric.name} has other labels elsewhere")
    return dict(sorted(found.items()))


def _of_module(root: Path, path: str) -> Iterator[Metric]:
    for node in ast.walk(_tree(root / path)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in REGISTERING or not node.args:
            continue
        where = f"{path}:{node.lineno}"
        first = node.args[0]
        if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            raise MetricError(f"{where}: the name of a metric must be written where it is made")
        if len(node.args) < 2:
            raise MetricError(f"{where}: {first.value} has no help text")
        name = f"emu_{first.value}"
        own = [each.arg for each in node.keywords if each.arg and each.arg not in NO_LABELS]
        of_node = path.startswith("nodes/") or path in MACHINE or name in SAID_BY_EMU
        labels = frozenset((*own, *(OF_A_NODE if of_node else ())))
        text = _text(root, path, node.args[1])
        yield Metric(name, node.func.attr, text, labels, where)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))


def _text(root: Path, path: str, node: ast.expr) -> str:
    """A literal, or the constant of this module (or of one it imports from) with that name."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if not isinstance(node, ast.Name):
        raise MetricError(f"{path}:{node.lineno}: the help text must be a literal or a constant")
    for statement in ast.walk(_tree(root / path)):
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=text))
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=text))
            ) if name == node.id:
                return str(text)
            case ast.ImportFrom(module=str(module), names=names):
                if any(alias.name == node.id for alias in names):
                    return _text(root, f"{module.replace('.', '/')}.py", node)
    raise MetricError(f"{path}:{node.lineno}: cannot find the text of {node.id}")


def asked_for(query: str) -> set[str]:
    """The emu metrics that a query names (not those that recording rules make)."""
    return {name for name in NAME.findall(query) if f":{name}" not in query}


def as_markdown(metrics: Iterable[Metric], drawn_on: Mapping[str, list[str]]) -> str:
    """METRICS.md: a line for each, and the dashboards that show it."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(sorted(each.labels)) or '–'} "
        f"| {each.help_text.replace('|', '/')} "
        f"| {', '.join(drawn_on[each.name]) or 'debugging: ' + DEBUGGING.get(each.name, '?')} |"
        for each in metrics
    ]
    return "\n".join(
        (
            "# Metrics",
            "",
            "Made by `python -m dashboards` from the source; a test keeps it up to date. Every "
            "series has the label `cluster` besides, from service discovery. Of emu's own process "
            "there are prometheus-client's `process_*` and `python_*`.",
            "",
            "| name | type | labels | meaning | dashboards |",
            "|---|---|---|---|---|",
            *rows,
            "",
        )
    )
