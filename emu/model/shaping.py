"""The declared links as the shaper of emu/machine/links.py: which latency and bandwidth lie
between two nodes. Pure.

The general gives way to the special: defaults, then region → region, then tiers, then nodes. What
a link leaves out, it inherits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal

from emu.machine.links import PLAIN, Shape
from nodes.base import OUTSIDE


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What one direction of a link may be told; what is left out is inherited."""

    latency_s: float | None = None
    """One way: `latency: 40ms`."""
    jitter_s: float | None = None
    """Standard deviation of the latency."""
    loss_ratio: float | None = None
    """Packets that are lost: a delay on streams, real loss of datagrams."""
    bandwidth_bytes_per_s: float | None = None
    """Shared by all that cross the link in this direction; 0: unlimited."""


@dataclass(frozen=True, slots=True)
class LinkDefaults:
    """`links: defaults:`. Everything is 0 (a plain link) unless said."""

    within_s: float = 0.0
    """One-way latency inside a region."""
    between_s: float = 0.0
    """One-way latency from one region to another."""
    jitter_s: float = 0.0
    """Standard deviation of the latency."""
    loss_ratio: float = 0.0
    """Packets that are lost, on every link."""
    bandwidth_bytes_per_s: float = 0.0
    """Inside a region: of each node's own card. Between regions: of the line, each way."""


@dataclass(frozen=True, slots=True)
class DeclaredLink:
    """One direction: `source` and `target` are regions, tiers, nodes or `outside`."""

    source: str
    target: str
    options: LinkOptions


@dataclass(frozen=True, slots=True)
class Outside:
    """Where clients from outside (curl, dig, a browser) come from; plain by default."""

    region: str = ""
    link: LinkOptions = LinkOptions()
    """Their access line, added to the way between the regions, in both directions."""


Access = Literal["local", "4g", "3g", "satellite"]
ACCESS_LINES: Final[Mapping[str, LinkOptions]] = {
    "local": LinkOptions(0.0001, bandwidth_bytes_per_s=125e6),
    "4g": LinkOptions(0.05, loss_ratio=0.001, bandwidth_bytes_per_s=2.5e6),
    "3g": LinkOptions(0.1, loss_ratio=0.005, bandwidth_bytes_per_s=250e3),
    "satellite": LinkOptions(0.6, loss_ratio=0.005, bandwidth_bytes_per_s=1.25e6),
}
"""What lies between people and the Internet, each way; a node's line is its own."""
Whereabouts = Mapping[str, tuple[str, str]]
"""Node name → (tier, region)."""


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """All of `links:`."""

    defaults: LinkDefaults = LinkDefaults()
    declared: tuple[DeclaredLink, ...] = ()

    def shaper(
        self, where: Whereabouts, outside: Outside, access: Mapping[str, LinkOptions] | None = None
    ) -> DeclaredShaper:
        """(source, target) → shape and the trunk that shares its bandwidth. `access`: the lines of
        nodes that have one of their own."""
        ends = {name: (name, tier, region) for name, (tier, region) in where.items()}
        ends[OUTSIDE] = (OUTSIDE, OUTSIDE, outside.region)
        return DeclaredShaper(self, ends, {**(access or {}), OUTSIDE: outside.link})

    def between(
        self, source: tuple[str, str, str], target: tuple[str, str, str]
    ) -> tuple[Shape, str]:
        shape, trunk = self._default(source, target)
        matching = [
            (_weight(link.source, source) + _weight(link.target, target), place, link)
            for place, link in enumerate(self.declared)
            if link.source in source and link.target in target
        ]
        for _, _, link in sorted(matching, key=lambda each: each[:2]):
            shape = _overlay(shape, link.options)
            if link.options.bandwidth_bytes_per_s is not None:
                trunk = f"{link.source} -> {link.target}"
        return shape, trunk

    def _default(
        self, source: tuple[str, str, str], target: tuple[str, str, str]
    ) -> tuple[Shape, str]:
        defaults = self.defaults
        same = source[2] == target[2]
        if OUTSIDE in (source[0], target[0]) and (same or "" in (source[2], target[2])):
            return PLAIN, ""
        shape = Shape(
            defaults.within_s if same else defaults.between_s,
            defaults.jitter_s,
            defaults.loss_ratio,
            defaults.bandwidth_bytes_per_s,
        )
        return shape, f"card {source[0]}" if same else f"{source[2]} -> {target[2]}"


@dataclass(frozen=True, slots=True)
class DeclaredShaper:
    """`emu.machine.links.Shaper`, as data: other processes may be told it."""

    plan: LinkPlan
    ends: Mapping[str, tuple[str, str, str]]
    """Name → (name, tier, region)."""
    lines: Mapping[str, LinkOptions]
    """Of those that have an access line of their own."""

    def __call__(self, source: str, target: str) -> tuple[Shape, str]:
        ends, lines = self.ends, self.lines
        if source not in ends or target not in ends:
            return PLAIN, ""
        found, trunk = self.plan.between(ends[source], ends[target])
        if source in lines:
            found, trunk = _with_access_line(found, trunk, lines[source], f"{source} in")
        if target in lines:
            found, trunk = _with_access_line(found, trunk, lines[target], f"{target} out")
        return found, trunk

    def trunks(self) -> list[str]:
        """Those that several senders may share: all but the nodes' own cards."""
        regions = list(dict.fromkeys(region for _, _, region in self.ends.values()))
        return [
            *(f"{one} -> {other}" for one in regions for other in regions if one != other),
            *(f"{each.source} -> {each.target}" for each in self.plan.declared),
            *(f"{name} {way}" for name in self.lines for way in ("in", "out")),
        ]


NO_LINKS: Final = LinkPlan()


def _weight(word: str, end: tuple[str, str, str]) -> int:
    """3 for a node's own name, 2 for its tier, 1 for its region."""
    return 3 - end.index(word)


def _overlay(shape: Shape, options: LinkOptions) -> Shape:
    said = {each.name: getattr(options, each.name) for each in fields(options)}
    merged = {name: getattr(shape, name) if new is None else new for name, new in said.items()}
    return Shape(**merged)


def _with_access_line(shape: Shape, trunk: str, line: LinkOptions, name: str) -> tuple[Shape, str]:
    """The line's delay comes on top; its bandwidth counts where it is declared."""
    width = line.bandwidth_bytes_per_s
    made = Shape(
        shape.latency_s + (line.latency_s or 0.0),
        shape.jitter_s + (line.jitter_s or 0.0),
        1 - (1 - shape.loss_ratio) * (1 - (line.loss_ratio or 0.0)),
        shape.bandwidth_bytes_per_s if width is None else width,
    )
    return made, trunk if width is None else name
