"""The link model that both worlds share: when does this chunk arrive, or why not. Pure:
no I/O, no clock.

There is one Link for each ordered pair of endpoints, the same object for life. Its shape comes
from the topology; faults are rules laid over it. A link without either is `plain`, and costs
its users one test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from emu.machine import reach

SEGMENT_BYTES: Final = 1460
MIN_RTO_S: Final = 0.2
MAX_RTO_S: Final = 8.0
MIN_WINDOW_BYTES: Final = 256 * 1024
USER_TIMEOUT_S: Final = 60.0
"""A connection whose bytes could not be delivered, or whose acknowledgements did not come back, for
so long breaks (TCP_USER_TIMEOUT)."""
CONNECT_TIMEOUT_S: Final = 10.0
"""How long an attempt to connect is repeated into silence."""
Cut = Literal["", "hold", "reject"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What one direction of a declared link does. Bandwidth 0: unlimited."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss_ratio: float = 0.0
    bandwidth_bytes_per_s: float = 0.0


PLAIN: Final = Shape()


class Trunk:
    """The bandwidth of one declared link in one direction, shared by all that cross it."""

    __slots__ = ("bandwidth_bytes_per_s", "free_at_s")

    def __init__(self, bandwidth_bytes_per_s: float) -> None:
        self.bandwidth_bytes_per_s = bandwidth_bytes_per_s
        self.free_at_s = 0.0

    def pass_at(self, now_s: float, size_bytes: int, at_s: float) -> float:
        """When the last byte has passed, queued behind what came before. It comes here `at_s`,
        which may be later than now: who comes until then does not wait for it."""
        took_s = size_bytes / self.bandwidth_bytes_per_s
        free_at_s = self.free_at_s
        passed_s = (now_s if now_s > free_at_s else free_at_s) + took_s
        self.free_at_s = passed_s
        return max(passed_s, at_s + took_s)


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault between two groups of endpoint names; `both`: in the other direction too."""

    first: frozenset[str]
    second: frozenset[str]
    both: bool = True

    def covers(self, source: str, target: str) -> bool:
        """Whether what `source` sends to `target` is concerned."""
        if source in self.first and target in self.second:
            return True
        return self.both and source in self.second and target in self.first


@dataclass(frozen=True, slots=True)
class Partition(Rule):
    """`hold`: packets vanish. `reject`: connections are reset and refused."""

    mode: Literal["hold", "reject"] = "hold"


@dataclass(frozen=True, slots=True)
class Slow(Rule):
    latency_s: float = 0.0
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Lose(Rule):
    loss_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Throttle(Rule):
    bandwidth_bytes_per_s: float = 0.0


class Link:
    """One direction between two endpoints. `plain` is the one test of the hot path."""

    __slots__ = (
        "_rng",
        "_seed",
        "cut",
        "jitter_s",
        "latency_s",
        "listeners",
        "loss_ratio",
        "lost_datagrams",
        "plain",
        "reached",
        "retransmissions",
        "sent_bytes",
        "source",
        "target",
        "trunks",
        "window_bytes",
    )

    def __init__(
        self,
        source: str,
        target: str,
        seed: str,
        reached: Callable[[str], object] = reach.not_counted,
    ) -> None:
        self.source = source
        self.target = target
        self._seed = seed
        self.reached = reached
        """Is told of each state that matters (reach.py)."""
        self._rng: random.Random | None = None
        self.latency_s = self.jitter_s = self.loss_ratio = 0.0
        self.trunks: tuple[Trunk, ...] = ()
        self.cut: Cut = ""
        self.plain = True
        """Nothing to do, and nothing keeps acknowledgements from coming back."""
        self.window_bytes = MIN_WINDOW_BYTES
        """What may be in flight: bandwidth times delay, but never less than a socket buffer."""
        self.listeners: dict[Callable[[], None], None] = {}
        """Called when the link has changed (pipes that hold bytes)."""
        self.sent_bytes = self.retransmissions = self.lost_datagrams = 0

    @property
    def rng(self) -> random.Random:
        """The link's own stream: most links never draw, and a generator takes 2.5 KB."""
        if self._rng is None:
            self._rng = random.Random(self._seed)
        return self._rng

    def stream_arrival_s(self, now_s: float, size_bytes: int, at_s: float = 0.0) -> float:
        """When a chunk of a stream has arrived that leaves now, or (later) `at_s`. Loss is a
        retransmission's delay, never a gap."""
        self.sent_bytes += size_bytes
        arrive_s = max(now_s, at_s)
        for trunk in self.trunks:
            arrive_s = trunk.pass_at(now_s, size_bytes, arrive_s)
        arrive_s += self._flight_s() if self.jitter_s else self.latency_s
        if self.loss_ratio:
            segments = -(-size_bytes // SEGMENT_BYTES)
            wait_s = max(MIN_RTO_S, 3 * self.latency_s)
            lost_ratio = 1 - (1 - self.loss_ratio) ** segments
            while self.rng.random() < lost_ratio and wait_s <= MAX_RTO_S:
                self.retransmissions += 1
                self.reached(reach.SENT_AGAIN)
                arrive_s += wait_s
                wait_s *= 2
                lost_ratio = self.loss_ratio
        return arrive_s

    def datagram_arrival_s(self, now_s: float, size_bytes: int) -> float | None:
        """When a datagram arrives, or None: it is lost."""
        if self.cut or (self.loss_ratio and self.rng.random() < self.loss_ratio):
            self.lost_datagrams += 1
            return None
        self.sent_bytes += size_bytes
        passed_s = now_s
        for trunk in self.trunks:
            passed_s = trunk.pass_at(now_s, size_bytes, passed_s)
        return passed_s + self._flight_s()

    def queue_s(self, now_s: float) -> float:
        """How long a byte sent now waits for bandwidth."""
        return max((trunk.free_at_s - now_s for trunk in self.trunks), default=0.0)

    def _flight_s(self) -> float:
        if not self.jitter_s:
            return self.latency_s
        return max(0.0, self.latency_s + self.rng.gauss(0.0, self.jitter_s))


Shaper = Callable[[str, str], tuple[Shape, str]]
"""(source, target) → the declared shape, and the name of the trunk whose bandwidth they share."""


class Links:
    """All links of a world, and the faults that lie over them."""

    def __init__(
        self, seed: int | str, reached: Callable[[str], object] = reach.not_counted
    ) -> None:
        self._seed = seed
        self._reached = reached
        self._links: dict[tuple[str, str], Link] = {}
        self._shaper: Shaper = lambda source, target: (PLAIN, "")
        self._trunks: dict[str, Trunk] = {}
        self._rules: dict[int, tuple[Rule, Trunk | None]] = {}
        self._next_rule = 0
        self._dark: dict[str, None] = {}
        self.user_timeout_s = USER_TIMEOUT_S
        self.connect_timeout_s = CONNECT_TIMEOUT_S
        self.unshaped = Link("", "", "")
        """For ends of which somebody else is in charge: it stays plain."""

    def link(self, source: str, target: str) -> Link:
        """The link from `source` to `target`, made when first asked for."""
        found = self._links.get((source, target))
        if found is None:
            seed = f"{self._seed}/link/{source}/{target}"
            found = Link(source, target, seed, self._reached)
            self._links[source, target] = found
            self._resolve(found)
        return found

    def __iter__(self) -> Iterator[Link]:
        """Every link that was asked for so far."""
        return iter(list(self._links.values()))

    def shape(self, shaper: Shaper) -> None:
        """Arm the declared shapes (or other ones); connections that exist follow."""
        self._shaper = shaper
        self._trunks.clear()
        self._resolve_all()

    def add(self, rule: Rule) -> RuleHandle:
        """Lay a fault over the links until the handle removes it."""
        number = self._next_rule
        self._next_rule += 1
        self._rules[number] = (rule, self._trunk_of_rule(number, rule))
        self._resolve_all()
        return RuleHandle(self, number)

    def remove(self, number: int) -> None:
        if self._rules.pop(number, None) is not None:
            self._resolve_all()

    def heal(self) -> None:
        """Remove every fault; the declared shapes stay."""
        if self._rules:
            self._rules.clear()
            self._resolve_all()

    def set_power(self, name: str, on: bool) -> None:
        """A machine without power neither hears nor answers; no healing helps."""
        if (name not in self._dark) is not on:
            if on:
                del self._dark[name]
            else:
                self._dark[name] = None
            self._resolve_all()

    def _resolve_all(self) -> None:
        for link in list(self._links.values()):
            self._resolve(link)

    def _resolve(self, link: Link) -> None:
        """Fold the shape and all rules into the flags that the hot path reads."""
        source, target = link.source, link.target
        shape, trunk_name = self._shaper(source, target)
        link.latency_s, link.jitter_s, kept = shape.latency_s, shape.jitter_s, 1 - shape.loss_ratio
        trunks: list[Trunk] = []
        if shape.bandwidth_bytes_per_s:
            trunks.append(self._trunk(trunk_name, shape.bandwidth_bytes_per_s))
        link.cut = ""
        for rule, own_trunk in self._rules.values():
            if not rule.covers(source, target):
                continue
            match rule:
                case Partition():
                    link.cut = "reject" if "reject" in (link.cut, rule.mode) else "hold"
                case Slow():
                    link.latency_s += rule.latency_s
                    link.jitter_s += rule.jitter_s
                case Lose():
                    kept *= 1 - rule.loss_ratio
                case Throttle() if own_trunk is not None:
                    trunks.append(own_trunk)
        if source in self._dark or target in self._dark:
            link.cut = "hold"
        link.loss_ratio, link.trunks = 1 - kept, tuple(trunks)
        back_s, cut_back = self._way_back(source, target)
        slowest = min(trunk.bandwidth_bytes_per_s for trunk in trunks) if trunks else 0.0
        link.window_bytes = max(MIN_WINDOW_BYTES, int(slowest * (link.latency_s + back_s)))
        shaped = link.latency_s or link.jitter_s or trunks or link.loss_ratio
        link.plain = not (link.cut or cut_back or shaped)
        for listener in list(link.listeners):
            listener()

    def _trunk(self, name: str, bandwidth_bytes_per_s: float) -> Trunk:
        found = self._trunks.get(name)
        if found is None:
            found = self._trunks[name] = self._new_trunk(name, bandwidth_bytes_per_s)
        return found

    def _new_trunk(self, name: str, bandwidth_bytes_per_s: float) -> Trunk:
        return Trunk(bandwidth_bytes_per_s)

    def _trunk_of_rule(self, number: int, rule: Rule) -> Trunk | None:
        return Trunk(rule.bandwidth_bytes_per_s) if isinstance(rule, Throttle) else None

    def _way_back(self, source: str, target: str) -> tuple[float, bool]:
        """What acknowledgements meet: the latency from `target` to `source`, and whether it is
        cut."""
        latency_s = self._shaper(target, source)[0].latency_s
        cut = source in self._dark or target in self._dark
        for rule, _ in self._rules.values():
            if rule.covers(target, source):
                cut = cut or isinstance(rule, Partition)
                latency_s += rule.latency_s if isinstance(rule, Slow) else 0.0
        return latency_s, cut


class RuleHandle:
    """Removes its rule; also a context manager."""

    def __init__(self, links: Links, number: int) -> None:
        self._links = links
        self._number = number

    def remove(self) -> None:
        self._links.remove(self._number)

    def __enter__(self) -> RuleHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
