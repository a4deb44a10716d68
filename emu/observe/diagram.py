"""A message diagram before it is drawn: lanes, arrows, marks. Which of a trace's messages to show.

Pure: events in, a Diagram out. It is drawn by diagram_text.py and diagram_svg.py, which know no
trace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from emu.machine.trace import TraceEvent
from emu.machine.world import OPERATOR
from emu.observe.messages import REQUEST, RESPONSE, Labels, Message, read_messages
from nodes.base import ADMIN_PORT, DIRECTORY_HOST
from protocols import rpc

DOWN: Final = "down"
PAUSED: Final = "paused"
HIDDEN_METHODS: Final = (rpc.HELLO, rpc.CANCEL, rpc.PING)
STATES: Final = {"kill": DOWN, "crash": DOWN, "pause": PAUSED}
SEEN_AT_NODES: Final = ("kill", "crash", "stop", "start", "restart", "pause", "unpause")
WORDS: Final = {
    "kill": "killed",
    "crash": "power cut",
    "pause": "paused",
    "unpause": "resumed",
    "boot": "up",
    "synced": "synced",
}
"""Trace event → what a mark says."""


@dataclass(slots=True)
class Span:
    """From when to when a node was down or paused."""

    begin_s: float
    end_s: float
    state: str


@dataclass(slots=True)
class Lane:
    """A node's line. `tier` is for its colour and grouping."""

    name: str
    tier: str
    spans: list[Span] = field(default_factory=list)

    def state(self, time_s: float) -> str:
        """What it was then: "", down or paused."""
        for span in self.spans:
            if span.begin_s <= time_s < span.end_s:
                return span.state
        return ""


@dataclass(slots=True)
class Arrow:
    """One or more messages that left and arrived together."""

    messages: list[Message]
    faint: bool = False
    """Not part of the request that is followed, but beside it."""

    @property
    def first(self) -> Message:
        return self.messages[0]

    @property
    def label(self) -> str:
        more = len(self.messages) - 1
        return self.first.label if not more else f"{self.first.label} +{more}"

    @property
    def request(self) -> int:
        """The number of the request that it belongs to (0: none, or several)."""
        numbers = {each.request for each in self.messages}
        return numbers.pop() if len(numbers) == 1 else 0

    @property
    def failed(self) -> bool:
        return any(each.failed for each in self.messages)

    @property
    def lost(self) -> bool:
        return self.first.arrived_s is None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a node, or (`lane` "") to the whole cluster."""

    time_s: float
    lane: str
    kind: str
    """The trace's word (kill, crash, pause, unpause, boot, synced), fault or heal."""
    text: str


@dataclass(slots=True)
class Diagram:
    """What to draw. Times are seconds of the run."""

    title: str
    lanes: list[Lane]
    arrows: list[Arrow]
    marks: list[Mark]
    begin_s: float
    end_s: float
    left_out: int = 0
    """Messages that would have fitted the question, but were too many."""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody wants to see: one request of a user, one node, a time; all of them optional."""

    request: int | None = None
    """Which of the users' requests, from 1, in the order of their sending."""
    slowest: bool = False
    """The one that took longest."""
    node: str = ""
    from_s: float = 0.0
    to_s: float = float("inf")
    everything: bool = False
    """The directory, the admin listeners and greetings too."""
    most: int = 300
    newest: bool = False
    """If there are more, the last ones, not the first."""


class NothingToShow(Exception):
    """Says what there would have been."""


def draw(
    events: Sequence[TraceEvent],
    question: Question,
    *,
    tiers: Mapping[str, str],
    labels: Labels,
    faults: Iterable[Mapping[str, Any]] = (),
    title: str = "",
) -> Diagram:
    """Answer a question about a trace.

    `tiers`: every node's tier, in the topology's order. `labels`: see messages.py. `faults`: the
    run's, as the cluster records them. Raises NothingToShow.
    """
    messages = read_messages(events, labels)
    if not question.everything:
        messages = [each for each in messages if _is_shown(each)]
    requests = _number(messages)
    number = _slowest(messages) if question.slowest else question.request
    if number is not None:
        if not 1 <= number <= requests:
            known = f"users made {requests} in this run"
            raise NothingToShow(f"there is no request {number}: {known}")
        arrows = _follow(messages, number, tiers)
    else:
        arrows = _merged(each for each in messages if _is_asked_for(each, question))
    if not arrows:
        raise NothingToShow(f"no message fits; there are {len(messages)} in this run")
    left_out = max(0, len(arrows) - question.most)
    arrows = arrows[-question.most :] if question.newest else arrows[: question.most]
    begin_s, end_s = arrows[0].first.sent_s, max(_ended_s(each) for each in arrows)
    margin_s = (end_s - begin_s) * 0.02
    marks = [*_marks(events), *_fault_marks(faults)]
    lanes = _lanes(arrows, tiers, question.node)
    _fill_spans(lanes, marks, end_s + margin_s)
    names = {lane.name for lane in lanes}
    followed = number is not None
    if followed:
        title = f"{title}, request {number}".removeprefix(", ")
    if question.slowest and followed:
        title += f", the slowest: {took(end_s - begin_s)}"
    marks = [
        each
        for each in sorted(marks, key=lambda each: each.time_s)
        if begin_s - margin_s <= each.time_s <= end_s + margin_s
        and (each.lane == "" or each.lane in names)
        and (each.kind != "synced" or followed)
    ]
    return Diagram(title, lanes, arrows, marks, begin_s, end_s, left_out)


def took(seconds: float) -> str:
    """How long a message was under way: `302 µs`, `1.2 ms`, `3 s`."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


# --- choosing ----------------------------------------------------------------------------------


def _is_shown(message: Message) -> bool:
    """Whether it belongs to the site's work rather than to its housekeeping."""
    ends = message.source, message.target
    if OPERATOR in ends or DIRECTORY_HOST in ends or message.port == ADMIN_PORT:
        return False
    return message.label.partition(" ")[0].rstrip(":") not in HIDDEN_METHODS


def _number(messages: Sequence[Message]) -> int:
    """Give the users' requests numbers, in the order of their sending; return how many."""
    numbers: dict[int, int] = {}
    for message in messages:
        if message.trace is not None:
            message.request = numbers.setdefault(message.trace, len(numbers) + 1)
    return len(numbers)


def _slowest(messages: Sequence[Message]) -> int | None:
    """The users' request that took longest, of those that were answered."""
    began_s: dict[int, float] = {}
    took_s: dict[int, float] = {}
    for each in messages:
        if each.request:
            first_s = began_s.setdefault(each.request, each.sent_s)
            if each.kind == RESPONSE and each.arrived_s is not None:
                took_s[each.request] = each.arrived_s - first_s
    return max(took_s, key=lambda number: took_s[number], default=None)


def _is_asked_for(message: Message, question: Question) -> bool:
    if question.node and question.node not in (message.source, message.target):
        return False
    return question.from_s <= message.sent_s <= question.to_s


def _merged(messages: Iterable[Message], *, faint: bool = False) -> list[Arrow]:
    """Messages that share a packet share an arrow."""
    found: dict[tuple[Any, ...], Arrow] = {}
    for each in messages:
        key = each.source, each.target, each.sent_s, each.arrived_s, each.kind
        if key in found:
            found[key].messages.append(each)
        else:
            found[key] = Arrow([each], faint)
    return list(found.values())


def _follow(messages: Sequence[Message], number: int, tiers: Mapping[str, str]) -> list[Arrow]:
    """The messages of one request, and (faint) what replicas said to each other meanwhile."""
    own = [each for each in messages if each.request == number]
    begin_s = own[0].sent_s
    end_s = max(each.arrived_s or each.sent_s for each in own)
    touched = {tiers.get(each.target) for each in own if each.kind == REQUEST}
    beside = [
        each
        for each in messages
        if each.trace is None
        and begin_s <= each.sent_s <= end_s
        and tiers.get(each.source) == tiers.get(each.target)
        and tiers.get(each.target) in touched
    ]
    arrows = [*_merged(own), *_merged(beside, faint=True)]
    return sorted(arrows, key=lambda arrow: arrow.first.sent_s)


def _ended_s(arrow: Arrow) -> float:
    return arrow.first.sent_s if arrow.first.arrived_s is None else arrow.first.arrived_s


# --- lanes and marks ---------------------------------------------------------------------------


def _lanes(arrows: Sequence[Arrow], tiers: Mapping[str, str], node: str) -> list[Lane]:
    """Those that take part: whoever only asks first, then whom they ask, and so on."""
    part = dict.fromkeys(end for arrow in arrows for end in _ends(arrow))
    if node:
        part[node] = None
    depth = _depths((tiers.get(asker, asker), tiers.get(asked, asked))
                    for asker, asked in map(_ends, arrows))  # fmt: skip
    place = {name: number for number, name in enumerate(tiers)}
    lanes = [Lane(name, tiers.get(name, name)) for name in part]
    lanes.sort(key=lambda lane: (depth.get(lane.tier, 0), place.get(lane.name, len(place))))
    return lanes


def _ends(arrow: Arrow) -> tuple[str, str]:
    """(who asks, who is asked)."""
    first = arrow.first
    ends = first.source, first.target
    return ends if first.kind != RESPONSE else (ends[1], ends[0])


def _depths(asked: Iterable[tuple[str, str]]) -> dict[str, int]:
    """How many tiers stand between each and one that nobody asks."""
    edges = dict.fromkeys(edge for edge in asked if edge[0] != edge[1])
    names = dict.fromkeys(name for edge in edges for name in edge)
    targets = {target for _, target in edges}
    roots = [name for name in names if name not in targets] or list(names)[:1]
    depth = dict.fromkeys(roots, 0)
    waiting = deque(roots)
    while waiting:
        asker = waiting.popleft()
        for source, target in edges:
            if source == asker and target not in depth:
                depth[target] = depth[asker] + 1
                waiting.append(target)
    return depth


def _marks(events: Sequence[TraceEvent]) -> list[Mark]:
    found = []
    for event in events:
        kind = event.detail.partition(" ")[0] if event.kind == "disk" else event.kind
        if kind not in WORDS:
            continue
        text = WORDS[kind]
        if kind == "boot":
            text = f"up ({event.detail})"
        found.append(Mark(event.time_s, event.source, kind, text))
    return found


def _fault_marks(faults: Iterable[Mapping[str, Any]]) -> list[Mark]:
    """Faults of links, disks and clocks: what happens to a node is seen at the node."""
    found = []
    for fault in (each for each in faults if each["verb"] not in SEEN_AT_NODES):
        words = _words(fault)
        found.append(Mark(float(fault["at_s"]), "", "fault", words))
        if "ended_s" in fault:
            found.append(Mark(float(fault["ended_s"]), "", "heal", f"end of {words}"))
    return found


def _words(fault: Mapping[str, Any]) -> str:
    values = [
        " / ".join(value) if isinstance(value, tuple | list) else f"{value}"
        for key, value in fault.items()
        if key not in ("number", "at_s", "ended_s", "for_s", "verb") and value not in ("", None)
        if value is not False
    ]
    return " ".join([str(fault["verb"]), *values])


def _fill_spans(lanes: Sequence[Lane], marks: Sequence[Mark], end_s: float) -> None:
    for lane in lanes:
        state, since_s = "", 0.0
        for mark in (each for each in marks if each.lane == lane.name and each.kind != "synced"):
            now = STATES.get(mark.kind, "")
            if now != state:
                if state:
                    lane.spans.append(Span(since_s, mark.time_s, state))
                state, since_s = now, mark.time_s
        if state:
            lane.spans.append(Span(since_s, max(end_s, since_s), state))
