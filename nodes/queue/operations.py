"""What an operator does to a queue: look at topics, groups and records, publish one, and bring back
what failed. All of it is asked of the front, in the words that any client has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from nodes.operations import ANY_TEXT, Console, Operation
from nodes.parts.jsons import dumps
from nodes.queue.overseer import FROM, OF_DEAD_LETTERS
from nodes.queue.topics import REDRIVE
from protocols.errors import RpcError
from protocols.queue import words
from protocols.queue.placement import broker_tier, front_tier

AT_ONCE: Final = 50
GAP: Final = 2
SHOWN_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Topics:
    """Which topics a queue has: their partitions, how many records, and how they are kept."""

    verb: ClassVar[str] = "queue topics"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str


@dataclass(frozen=True, slots=True)
class Groups:
    """Who reads which topic, and how far behind they are."""

    verb: ClassVar[str] = "queue groups"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str


@dataclass(frozen=True, slots=True)
class Tail:
    """The last records of a topic's partitions."""

    verb: ClassVar[str] = "queue tail"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    topic: str
    """The topic: `topic: orders`."""
    records: int = 10
    """How many of each partition."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish one record."""

    verb: ClassVar[str] = "queue publish"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    topic: str
    """The topic: `topic: orders`."""
    value: str = field(metadata=ANY_TEXT)
    """The record, JSON or a text: `value: hello`."""
    key: str = ""
    """Records of one key are in one partition, in order: `key: ada`."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """What failed for good, and was not brought back yet."""

    verb: ClassVar[str] = "queue dead-letters"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    topic: str
    """The topic that takes dead letters: `topic: jobs.dead`."""


@dataclass(frozen=True, slots=True)
class Redrive:
    """Bring dead letters back to where they failed; or of a topic without dead letters what is
    parked there. Each is there again, or still dead: never both."""

    verb: ClassVar[str] = "queue redrive"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    topic: str
    """The topic: `topic: orders`."""
    records: int = 1000
    """How many at most."""


class _Desk:
    """The front, or where there is none a queue's only broker group, as the console reaches it."""

    def __init__(self, console: Console, queue: str) -> None:
        self._console = console
        self._queue = queue

    async def ask(self, method: str, *params: Any) -> Any:
        """Raises RpcError."""
        last = RpcError("unavailable", f"nobody of {self._queue} is up")
        for tier in (front_tier(self._queue), broker_tier(self._queue, 1), self._queue):
            for member in self._console.seen(tier):
                if member.running:
                    try:
                        return await self._console.ask(member.name, method, *params, main=True)
                    except RpcError as error:
                        if error.code not in ("not_primary", "unavailable", "no_such_method"):
                            raise
                        last = error
        raise last


async def topics(console: Console, word: Topics) -> dict[str, Any]:
    desk = _Desk(console, word.tier)
    found = await desk.ask(words.TOPICS)
    rows = []
    for name, options in sorted(found["topics"].items()):
        ends = await desk.ask(words.OFFSETS, name)
        kept = "until worked off" if options["retention"] == "worked_off" else "kept"
        rows.append(
            {
                "topic": name,
                "partitions": options["partitions"],
                "records": sum(end - start for _, start, end in ends),
                "kept": kept,
                "when_full": options["when_full"],
                "dead_letters": options["dead_letters"],
            }
        )
    return {"topics": rows}


async def groups(console: Console, word: Groups) -> dict[str, Any]:
    return {"groups": await _Desk(console, word.tier).ask(words.GROUPS)}


async def tail(console: Console, word: Tail) -> dict[str, Any]:
    desk = _Desk(console, word.tier)
    rows: list[dict[str, Any]] = []
    for number, start, end in await desk.ask(words.OFFSETS, word.topic):
        first = max(start, end - max(1, min(word.records, words.MAX_POLLED)))
        polled = await desk.ask(words.POLL, word.topic, number, first)
        rows += [_row(number, each) for each in polled["records"]]
    return {"records": sorted(rows, key=lambda row: (row["time_ms"], row["partition"]))}


def _row(number: int, record: Sequence[Any]) -> dict[str, Any]:
    offset, time_ms, key, value, headers = record
    return {"partition": number, "offset": offset, "time_ms": time_ms, "key": key, "value": value,
            "headers": headers}  # fmt: skip


async def publish(console: Console, word: Publish) -> dict[str, Any]:
    record = [word.key or None, word.value]
    ((number, offset),) = await _Desk(console, word.tier).ask(words.PUBLISH, word.topic, [record])
    return {"topic": word.topic, "partition": number, "offset": offset}


async def dead_letters(console: Console, word: DeadLetters) -> dict[str, Any]:
    desk = _Desk(console, word.tier)
    rows: list[dict[str, Any]] = []
    for number, start, end in await desk.ask(words.OFFSETS, word.topic):
        if start < end:
            polled = await desk.ask(words.POLL, word.topic, number, start)
            rows += [_row(number, each) for each in polled["records"]]
    return {"records": [row for row in rows if FROM in row["headers"]]}


async def redrive(console: Console, word: Redrive) -> dict[str, Any]:
    """Each by one record of the log that is both: done among the dead, published where it was."""
    desk = _Desk(console, word.tier)
    revived = some = await desk.ask(words.REVIVE, word.topic)
    while some >= words.MAX_REVIVED:
        some = await desk.ask(words.REVIVE, word.topic)
        revived += some
    brought: dict[str, int] = {}
    known = (await desk.ask(words.TOPICS))["topics"]
    takes = any(each["dead_letters"] == word.topic for each in known.values())
    left = word.records if takes else 0
    while left > 0:
        options = {"max": min(left, AT_ONCE)}
        got = await desk.ask(words.ACQUIRE, word.topic, REDRIVE, "redrive", options)
        if not got["deliveries"]:
            break
        for delivery in got["deliveries"]:
            source = await _bring_back(desk, word.topic, delivery)
            brought[source] = brought.get(source, 0) + 1
            left -= 1
    return {"brought_back": sum(brought.values()), "revived": revived, "topics": brought}


async def _bring_back(desk: _Desk, topic: str, delivery: Sequence[Any]) -> str:
    number, offset, count, _, _, key, value, headers = delivery
    if FROM not in headers:
        raise RpcError("refused", f"{topic}/{number} offset {offset} is no dead letter")
    source, partition, _ = headers[FROM]
    kept = {name: each for name, each in headers.items() if name not in OF_DEAD_LETTERS}
    batch = [source, [[key, value, kept]], {"partition": partition}]
    named = [[number, offset, count]]
    await desk.ask(words.ACK, topic, REDRIVE, named, {"publish": [batch]})
    return str(source)


# --- how it reads --------------------------------------------------------------------------------


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], none: str) -> str:
    """A line for each, under the columns' names."""
    if not rows:
        return none
    lines = [[column.replace("_", " ") for column in columns]]
    lines += [[_short(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(
        "".join(f"{each:<{width + GAP}}" for each, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else dumps(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"


def _records(told: Mapping[str, Any]) -> str:
    columns = ("partition", "offset", "key", "value", "headers")
    return table(told["records"], columns, "no records")


def _brought(told: Mapping[str, Any]) -> str:
    where = ", ".join(f"{count} to {topic}" for topic, count in told["topics"].items())
    parked = f"; {told['revived']} that were parked may be tried again" if told["revived"] else ""
    return f"{told['brought_back']} brought back{f' ({where})' if where else ''}{parked}"


def _operation(
    word: type[Any],
    run: Callable[[Console, Any], Awaitable[dict[str, Any]]],
    shown: Callable[[Mapping[str, Any]], str],
) -> Operation:
    return Operation(word, "queue tier", of_group=True, run=run, shown=shown)


OPERATIONS: Final = (
    _operation(Topics, topics, lambda told: table(
        told["topics"],
        ("topic", "partitions", "records", "kept", "when_full", "dead_letters"),
        "no topics",
    )),
    _operation(Groups, groups, lambda told: table(
        told["groups"],
        ("topic", "group", "kind", "members", "lag", "in_flight", "failed_for_good", "lost"),
        "no groups",
    )),
    _operation(Tail, tail, _records),
    _operation(Publish, publish, lambda told: (
        f"{told['topic']}/{told['partition']}, offset {told['offset']}"
    )),
    _operation(DeadLetters, dead_letters, _records),
    _operation(Redrive, redrive, _brought),
)  # fmt: skip
