"""What the events of a run say by themselves: who failed, who met what nobody should, who led."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from emu.machine.events import Event
from emu.running.supervisor import BY_HAND, CHANGED

EXPECTED_FAILURES: Final = ("OSError", "PermissionError")
"""A node that the disk or network fails may give up, and be restarted. Another error is a bug."""
DAMAGE_FOUND: Final = "CorruptLog"
EVENTS_TOLD: Final = 8
"""Those before a failure that are told with it."""
EVERY_EVENT: Final = ("index", "time_s", "level", "event", "node", "tier", "region")
CAUGHT: Final = ("handler failed", "connection failed")
"""Events of a failure that ended one request or connection only: a failed assert is among them."""
OPERATIONAL: Final = (
    *EXPECTED_FAILURES, "BlockingIOError", "BrokenPipeError", "ConnectionAbortedError",
    "ConnectionRefusedError", "ConnectionResetError", "FileNotFoundError", "TimeoutError",
)  # fmt: skip
"""What may be met by whoever is in the middle of something when the world fails it."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something that must not be. `kind`: the model that says so, or liveness, state, failure."""

    kind: str
    text: str
    operations: tuple[str, ...] = ()
    """Those that show it, a line each."""
    span_s: tuple[float, float] | None = None
    """When the first of them began and the last one ended."""

    def as_fields(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "text": self.text,
            "operations": list(self.operations),
            "span_s": self.span_s,
        }


@dataclass(slots=True)
class Watch:
    """What the events of a run say by themselves: nodes that failed, and who was promoted when."""

    leads_now: Callable[[Event], bool]
    """Whether the node that says this has come to lead its tier."""
    failures: list[tuple[Event, tuple[str, ...]]] = field(default_factory=list)
    """Each with what had happened before it."""
    alarming: frozenset[str] = frozenset()
    """Events that only a damaged disk explains."""
    alarms: dict[str, None] = field(default_factory=dict)
    caught: dict[tuple[str, str, str], tuple[Event, tuple[str, ...]]] = field(default_factory=dict)
    """(node, event, error) of what a node survived, and should not have met."""
    promotions: dict[tuple[str, int, int], dict[str, None]] = field(default_factory=dict)
    """(tier, how often it was gone before, epoch) → the nodes that became primary in it."""
    by_hand: dict[str, list[str]] = field(default_factory=dict)
    """Tier → what somebody changed there beside its clients, the first few in words."""
    _times_gone: Counter[str] = field(default_factory=Counter)
    _latest: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_TOLD))

    def look(self, event: Event) -> None:
        """An event listener."""
        self._latest.append(event)
        if event["event"] == "node failed":
            self.failures.append((event, self.told()))
        elif event["event"] in self.alarming:
            said = [f"{key} {value}" for key, value in event.items() if key not in EVERY_EVENT]
            self.alarms[f"{event.get('node')}: {event['event']}: {', '.join(said)}"] = None
        elif event["event"] in CAUGHT:
            what = str(event.get("node")), event["event"], str(event.get("error"))
            if what not in self.caught:
                self.caught[what] = event, self.told()
        elif "epoch" in event and self.leads_now(event):
            tier = str(event.get("tier"))
            place = tier, self._times_gone[tier], int(event["epoch"])
            self.promotions.setdefault(place, {})[str(event.get("node"))] = None
        elif event["event"] == BY_HAND:
            told = self.by_hand.setdefault(str(event["tier"]), [])
            if len(told) < EVENTS_TOLD:
                told.append(f"`{event['statement']}` by hand at {event['time_s']:.1f} s")
        elif event["event"] == CHANGED:
            self._times_gone.update(event.get("gone", ()))  # if they come again, it is anew

    def told(self) -> tuple[str, ...]:
        """The latest events, the newest last."""
        return tuple(map(_in_a_line, self._latest))

    def anomalies(self, *, damaged: bool) -> list[Anomaly]:
        """`damaged`: disks were damaged on purpose, so that finding it is right."""
        expected = (*EXPECTED_FAILURES, DAMAGE_FOUND) if damaged else EXPECTED_FAILURES
        found = [
            Anomaly("failure", f"{each.get('node')} failed by itself{_when(each)}", before)
            for each, before in self.failures
            if not str(each.get("error")).startswith(expected)
        ]
        found += [
            Anomaly("failure", f"{node}: {event}{_when(each)}", before)
            for (node, event, error), (each, before) in self.caught.items()
            if not damaged and not any(f"{name}(" in error for name in OPERATIONAL)
        ]
        if not damaged:
            found += [Anomaly("failure", f"{alarm}, and no disk lies") for alarm in self.alarms]
        found += [
            Anomaly("state", f"{tier}: epoch {epoch} had two primaries, {' and '.join(nodes)}")
            for (tier, _, epoch), nodes in self.promotions.items()
            if len(nodes) > 1
        ]
        return found


def _when(event: Event) -> str:
    """When it happened, what, and where in our code."""
    at = f" at {event['time_s']:.3f} s" if "time_s" in event else ""
    where = f" ({event['at']})" if event.get("at") else ""
    return f"{at}: {str(event.get('error'))[:300]}{where}"


def _in_a_line(event: Event) -> str:
    """`12.345678 s  db-1: log cut, from_lsn 7`."""
    fields = ", ".join(f"{key} {value}" for key, value in event.items() if key not in EVERY_EVENT)
    who = f"{event['node']}: " if event.get("node") else ""
    told = f"{who}{event['event']}" + (f", {fields}" if fields else "")
    return f"{event.get('time_s', 0.0):.6f} s  {told[:200]}"
