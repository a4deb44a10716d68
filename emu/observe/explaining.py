"""What a run's failures came to, in sentences: faults and their cost, failovers, lost writes. Pure.

It reads a record (record.py), and claims no more than that says.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from emu.observe.annotations import OWN_MARKS
from emu.observe.sampling import Counts
from emu.observe.shown import duration, number

AFTERMATH_S: Final = 10.0
"""What happens so soon after a fault is told with it."""
SHOWN_LOST: Final = 20
SHARED: Final = "what failed while two of these lasted is counted at both"
MOST_OF_A_FIELD: Final = 100
"""Characters of a value in a sentence."""
WHOM: Final = ("node", "tier", "region", "server", "group")
"""What an event says of whom it is about."""

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Consequence:
    """What was done, and what the users had of it while it lasted and shortly after."""

    text: str
    start_s: float
    end_s: float | None
    """When it was undone: an operation that leaves nothing to undo has none."""
    requests: float
    errors: float
    p99_s: float | None
    follow_ups: tuple[str, ...]
    before: tuple[float, float] | None = None
    """Of an operation after which fewer failed: the requests shortly before it, and how many of
    those failed."""
    within_s: float | None = None
    """Of an operation: the figures are of so long from its start."""
    of: tuple[str, ...] = ()
    """The clients who could notice, where others could not; nobody named: all of them."""
    shared: bool = False
    """Whether something else was broken meanwhile, for the same clients."""


def clients_counts(
    record: Record, start_s: float, end_s: float, clients: Collection[str] = ()
) -> Counts:
    """What these tiers of clients (or all) did between two times (by whole samples)."""
    clients = clients or _clients(record)
    total = Counts()
    for time_s, seconds, tiers in record["samples"]:
        if time_s > start_s and time_s - seconds < end_s:
            for name in clients:
                if name in tiers:
                    total.add(Counts.from_json(tiers[name]))
    return total


def _clients(record: Record) -> list[str]:
    return [tier["name"] for tier in record["status"]["tiers"] if tier["clients"]]


def _who_notices(record: Record, words: Collection[str]) -> list[str]:
    """The tiers of clients whose requests reach one that these words name, over whatever tiers; all
    of them where it is not known which those are."""
    status = record["status"]
    tiers = {tier["name"]: {tier["name"], tier["group"]} for tier in status["tiers"]}
    for node in status["nodes"]:
        tiers.setdefault(node["tier"], set()).update((node["name"], node["region"]))
    reached = {
        tier
        for tier, names in tiers.items()
        if any(fnmatchcase(name, word) for name in names for word in words)
    }
    if not reached or "all" in words:
        return _clients(record)
    dials = {(source, target) for source, target in status["edges"]}
    while more := {source for source, target in dials if target in reached} - reached:
        reached |= more
    return [name for name in _clients(record) if name in reached] or _clients(record)


def consequences(record: Record) -> list[Consequence]:
    """One for each fault and each operation, in order."""
    faults = _faults(record)
    told = _follow_ups(record, faults)
    last_s = record["status"]["time_s"]
    found: list[Consequence] = []
    for span, _ in faults:
        end_s = span["end_s"] if span["end_s"] is not None else last_s
        follow_ups = tuple(text for cause, text in told if cause is span)
        found.append(_consequence(record, span, min(last_s, end_s + 1), follow_ups))
    found = [replace(each, shared=_is_shared(each, found)) for each in found]
    for span in record["spans"]:
        if span["kind"] == "operation":
            found.append(_operation(record, span))
    return sorted(found, key=lambda each: each.start_s)


def _is_shared(fault: Consequence, faults: Sequence[Consequence]) -> bool:
    """Whether another one lasted meanwhile that the same clients could notice."""
    return any(
        other is not fault
        and other.start_s < (math.inf if fault.end_s is None else fault.end_s + 1)
        and fault.start_s < (math.inf if other.end_s is None else other.end_s + 1)
        and (not (fault.of and other.of) or bool({*fault.of}.intersection(other.of)))
        for other in faults
    )


def _operation(record: Record, span: Mapping[str, Any]) -> Consequence:
    start_s = span["start_s"]
    done = (each["start_s"] for each in record["spans"] if each["kind"] in ("fault", "operation"))
    later = (each for each in done if each > start_s)  # which has consequences of its own
    until_s = min(start_s + AFTERMATH_S, *later, math.inf)
    after = _consequence(record, {**span, "end_s": None}, until_s, ())
    within_s = min(until_s, record["status"]["time_s"]) - start_s
    after = replace(after, end_s=span["end_s"], within_s=within_s)
    before = clients_counts(record, start_s - AFTERMATH_S, start_s, after.of)
    if before.errors * after.requests > after.errors * before.requests:
        return replace(after, before=(before.requests, before.errors))
    return after


def _consequence(
    record: Record, span: Mapping[str, Any], until_s: float, follow_ups: tuple[str, ...]
) -> Consequence:
    clients = _who_notices(record, span.get("names", ()))
    counts = clients_counts(record, span["start_s"], until_s, clients)
    paid = counts.requests, counts.errors, counts.quantile_s(0.99)
    of = tuple(clients) if len(clients) < len(_clients(record)) else ()
    return Consequence(span["text"], span["start_s"], span["end_s"], *paid, follow_ups, of=of)


def _follow_ups(record: Record, faults: Sequence[Met]) -> list[tuple[Mapping[str, Any], str]]:
    """Promotions, failures and servers marked down or up, each with its likely cause."""
    told, texts = [], _texts(record)
    for event in record["events"]:
        text = texts.get(event["event"])
        cause = _cause(faults, event) if text else None
        if not text or cause is None:
            continue
        after = f"{duration(event['time_s'] - cause['start_s'])} later"
        fields = {key: str(value)[:MOST_OF_A_FIELD] for key, value in event.items()}
        who = event.get("node", "emu")
        told.append((cause, f"{after}: {who} {text.format_map(defaultdict(str, fields))}"))
    return told


Met = tuple[Mapping[str, Any], frozenset[str]]
"""A fault's span, and words of whom it met: nodes, their tiers, globs, regions."""


def _faults(record: Record) -> list[Met]:
    tiers = {str(event.get("node")): str(event.get("tier")) for event in record["events"]}
    found = []
    for span in record["spans"]:
        if span["kind"] == "fault":
            words = frozenset(span.get("names", ()))
            found.append((span, words | {tiers[word] for word in words if word in tiers}))
    return found


def _cause(faults: Sequence[Met], event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The latest fault that names whom the event is about, of those that last or ended just
    before; where none does, the latest of those that began or ended just before."""
    at_s = event["time_s"]
    about = {str(event[key]) for key in WHOM if event.get(key)}
    near, named = [], []
    for span, words in faults:
        began_s, ended_s = span["start_s"], span["end_s"]
        if not began_s < at_s <= (at_s if ended_s is None else ended_s) + AFTERMATH_S:
            continue
        if "all" in words or any(fnmatchcase(name, word) for name in about for word in words):
            named.append(span)
        if at_s <= began_s + AFTERMATH_S or (ended_s is not None and ended_s <= at_s):
            near.append(span)
    return max(named or near, key=lambda span: float(span["start_s"]), default=None)


def _texts(record: Record) -> dict[str, str]:
    """Event → how it reads, of emu's own and of those that the kinds of its nodes tell."""
    kinds = record["status"]["kinds"].values()
    return {mark.event: mark.text for mark in OWN_MARKS} | {
        mark["event"]: mark["text"] for kind in kinds for mark in kind["marks"]
    }


def failovers(record: Record) -> list[str]:
    """Every promotion after the first of its tier: after what, how long it took, what it cost."""
    told = []
    first: dict[str, None] = {}
    status = record["status"]
    leaders = {
        tier["name"]: status["kinds"].get(tier["kind"], {}).get("leader")
        for tier in status["tiers"]
    }
    for event in record["events"]:
        tier = str(event.get("tier"))
        leader = leaders.get(tier)
        if leader is None or event["event"] != leader["event"]:
            continue
        if tier not in first:
            first[tier] = None
            continue
        told.append(_failover(record, event, leader["role"]))
    return told


def _failover(record: Record, event: Mapping[str, Any], role: str) -> str:
    at_s, who = event["time_s"], event.get("node")
    text = f"At {at_s:.2f} s {who} became {role} of {event.get('tier')}, epoch {event.get('epoch')}"
    cause = _cause(_faults(record), event)
    if cause is None:
        return f"{text}; nothing was broken just before (a planned switchover, or a slow moment)."
    took = duration(at_s - cause["start_s"])
    clients = _who_notices(record, (str(event.get("tier")),))
    counts = clients_counts(record, cause["start_s"], at_s + 1, clients)
    whose = "the users'" if len(clients) == len(_clients(record)) else f"{', '.join(clients)}'s"
    failed = f"{number(counts.errors)} of {number(counts.requests)} of {whose} requests failed"
    return f"{text}, {took} after `{cause['text']}`. Until then {failed}."


def writes(summary: Mapping[str, Any]) -> list[str]:
    """What became of acknowledged writes, and why that may be."""
    acknowledged = summary["acknowledged_writes"]
    lost, doubled = summary["lost_acknowledged_writes"], summary["duplicated_writes"]
    if lost is None:
        return [
            "Whether acknowledged writes were lost is unknown: the users could not read all of "
            "them back (the run was ended by hand, or the store did not answer)."
        ]
    told = [f"{acknowledged} writes were acknowledged and read back at the end; {lost} were lost."]
    if lost:
        by_hand = summary.get("written_by_hand")
        told.append(
            f"Beside the clients there was {', '.join(by_hand)}: they may have been its doing."
            if by_hand
            else "A write is lost when it was acknowledged before enough replicas had it, and the "
            "one that had it died or was cut off: `ack: quorum` would have waited."
        )
        told.append(f"Lost by key: {shown_writes(summary)}.")
    if doubled:
        told.append(f"{doubled} writes were stored twice: their retries were not recognized.")
    divergent = summary["divergent_records"]
    if divergent:
        told.append(
            f"{divergent} records were cut from an old primary's log when it came back, and saved "
            "beside it: those of them that had been acknowledged are the lost ones."
        )
    return told


def shown_writes(summary: Mapping[str, Any]) -> str:
    """Some of the lost writes, by key, or by what was written if that has its key in it; how many
    more there are, and when they were acknowledged."""
    lost = summary["lost_writes"]
    total = max(len(lost), summary["lost_acknowledged_writes"] or 0)
    named = lost[:SHOWN_LOST]
    told = ", ".join(_shown_write(str(each["key"]), str(each.get("value", ""))) for each in named)
    told += f" and {total - len(named):,} more" if total > len(named) else ""
    when = [each["acknowledged_s"] for each in lost if each.get("acknowledged_s") is not None]
    if len(when) < total:
        return told
    return f"{told}, acknowledged from {min(when):.1f} to {max(when):.1f} s"


def _shown_write(key: str, value: str) -> str:
    return value if value.startswith(key.rpartition("/")[2]) else f"{key} {value}".strip()


def weakest(tiers: Sequence[Mapping[str, Any]], record: Record) -> str:
    """The tier with the largest share of failed requests, if any failed."""
    worst, share = "", 0.0
    for tier in tiers:
        total = Counts()
        for _, _, counts in record["samples"]:
            if tier["name"] in counts:
                total.add(Counts.from_json(counts[tier["name"]]))
        if total.requests and total.errors / total.requests > share and not tier["clients"]:
            worst, share = tier["name"], total.errors / total.requests
    return f"{worst} failed {share:.1%} of what it was asked" if worst else ""
