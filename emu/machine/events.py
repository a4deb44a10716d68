"""The cluster's events: a bounded ring that `emu logs` and `emu events` read, and one line
each on a stream.

Nodes write through structlog; every event carries the world's time and the node's name. Nothing
here is called per request at info.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import structlog
import trio

from emu.machine.levels import LEVELS
from emu.machine.requests import Requests

RING_EVENTS: Final = 10_000

Event = dict[str, Any]
"""`{"index", "time_s", "level", "event", "node"?, "tier"?, "region"?, ...fields}`."""

EVENTS: Final = {
    "cluster up": "Every node has been started.",
    "node up": "A node serves: how long that took, and how often it was started before.",
    "node failed": "A node ended by a mistake of its own, or of its world.",
    "node killed": "A node's process died: its disk keeps what was written.",
    "node crashed": "A power cut of a node: what it had not synced is lost.",
    "node stopped": "A node ended in order.",
    "node paused": "A node neither runs nor answers; its connections stay open.",
    "node resumed": "A paused node runs on.",
    "node removed": "A node is gone from the cluster.",
    "crash loop: left down": "A node failed so often that it is not started again.",
    "drain not finished": "A node was ended before all that it had in hand was answered.",
    "tier scaled": "A tier has another number of members.",
    "tier not scaled back": "A member cannot leave its group, so a tier stays as it is.",
    "topology changed": "The running cluster was made like a changed file.",
    "fault started": "Somebody, or the file, breaks something.",
    "fault ended": "A fault is undone.",
    "fault not possible": "A fault of the file names nothing that is there now.",
    "connection refused": "The topology does not let a dialer in. Of many, five are told in 10 s.",
    "port taken by another program": "A node listens at another port than it would.",
    "client did not answer": "Users or clients did not say what they saw, so it is not counted.",
    "condition met": "What `--until` waits for is true of a node: the run ends.",
    "condition not judged": "What `--until` waits for fits nothing that is there.",
    "not as the file says": "A store's disks know better than the file how many shards it has.",
    "record not kept": "The run's record, from which reports are drawn, could not be written.",
    "process begun": "A worker process was started, to run nodes.",
    "waiting for processes": "Nodes run in processes that join, by `command`; they have not come.",
    "process joined": "A process has come by `emu node`, and runs these nodes from now on.",
    "process left": "A process that had joined was ended in order: its nodes were stopped first.",
    "waiting for a process": "A node starts in a process that has not come: `command` brings it.",
    "process lost": "A process that had joined was killed or ended, and with it the nodes it ran.",
    "join refused": "Somebody wanted to bring nodes and may not: no token, other versions, taken.",
    "process killed": "Somebody killed a worker process, and with it the nodes that it ran.",
    "process failed": "A worker process ended by itself, and with it the nodes that it ran.",
    "prometheus ready": "The system's Prometheus scrapes this cluster.",
    "prometheus ended": "The system's Prometheus has ended by itself.",
    "alert firing": "A rule's condition has held for long enough: why, and what to look at.",
    "alert cleared": "It holds no more.",
    "alert not evaluated": "A rule asks what cannot be answered just now.",
    "lines not written": "What nodes tell is not kept in a file: the disk refused it.",
    "verdict": "The run was judged.",
}
"""What emu itself tells; what nodes tell is beside each family. For people, and the reference."""


class Events:
    """All events of a run, the newest RING_EVENTS of them kept."""

    def __init__(
        self,
        now_s: Callable[[], float],
        *,
        level: str = "info",
        printer: Callable[[Event], None] | None = None,
    ) -> None:
        self.level = level
        """Nodes' events below it are not kept."""
        self._now_s = now_s
        self._ring: deque[Event] = deque(maxlen=RING_EVENTS)
        self.next_index = 0
        self._least = LEVELS.index(level)
        self._printer = printer
        self._arrived = trio.Event()
        self.listeners: list[Callable[[Event], Any]] = []
        self.requests = Requests(now_s)
        """What nodes tell of single requests, apart: there may be many."""

    def logger(self, **fields: Any) -> Any:
        """A structlog logger whose events land here, with `fields` in each."""
        sink = structlog.wrap_logger(
            _Sink(self), processors=[_level_of], wrapper_class=_LOGGERS[self._least]
        )
        return sink.bind(**fields)

    def add(self, level: str, event: str, fields: Event) -> None:
        """Keep one event, tell the listeners, print it."""
        entry: Event = {
            "index": self.next_index,
            "time_s": round(self._now_s(), 6),
            "level": level,
            "event": event,
            **fields,
        }
        self.next_index += 1
        self._ring.append(entry)
        arrived, self._arrived = self._arrived, trio.Event()
        arrived.set()
        for listener in self.listeners:
            listener(entry)
        if self._printer is not None:
            self._printer(entry)

    def since(self, index: int) -> list[Event]:
        """The kept events from `index` on."""
        return [each for each in self._ring if each["index"] >= index]

    async def wait_since(self, index: int) -> list[Event]:
        """Like `since`, but waits until there is one."""
        while not (found := self.since(index)):
            await self._arrived.wait()
        return found

    def __iter__(self) -> Iterator[Event]:
        return iter(self._ring)


class _Sink:
    """What structlog calls at the end of its chain."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def _take(self, **fields: Any) -> None:
        level = fields.pop("level", "info")
        self._events.add(level, fields.pop("event", ""), fields)

    debug = info = warning = error = msg = _take


def _level_of(logger: Any, method: str, fields: Any) -> Any:
    fields["level"] = method
    return fields


_LOGGERS = tuple(structlog.make_filtering_bound_logger(number) for number in (10, 20, 30, 40))


def packable(event: Mapping[str, Any]) -> dict[str, Any]:
    """It as JSON and MessagePack know it: what is no plain value, list or table is a text."""
    return {key: each if _is_plain(each) else str(each) for key, each in event.items()}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return isinstance(value, str | int | float | bool | None)
