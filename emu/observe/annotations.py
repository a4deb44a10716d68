"""What happened, as spans of time: faults, promotions, reshards, failures, verdicts. Pure.

Made from the cluster's fault timeline and its events; the report, the live page and Grafana (by
`/annotations`) draw the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from emu.model.vocabulary import operations_of, verbs_of
from emu.observe.wording import UNSHOWN, fault_text, is_said
from nodes.kind import Kind, Mark

OWN_MARKS: Final = (
    Mark("tier scaled", "scaling"),
    Mark("topology changed", "scaling"),
    Mark("node failed", "failure", text="fails: {error}"),
    Mark("crash loop: left down", "failure"),
    Mark("verdict", "verdict"),
)
"""Emu's own events; those of the nodes are their kinds' business."""
HIDDEN_FIELDS: Final = frozenset(
    {"index", "time_s", "level", "event", "node", "tier", "region", "error"}
)

Span = dict[str, Any]
"""`{"start_s", "end_s" (None: a moment; or it goes on), "active", "kind", "text", "tags"}`; of a
fault also `names`: words of whom it was done to."""


def spans(
    timeline: Iterable[Mapping[str, Any]],
    events: Iterable[Mapping[str, Any]],
    active: Sequence[int],
    kinds: Sequence[Kind],
) -> list[Span]:
    """Everything worth a mark, by time. `active`: numbers of the faults that go on. `kinds`: those
    of the cluster, which bring operations and events."""
    operations = operations_of(kinds)
    breaking = [verb for verb, word in verbs_of(operations).items() if word.breaks]
    done = [each for each in timeline if not each.get("idle")]
    found = [_fault(each, each["number"] in active, each["verb"] in breaking) for each in done]
    told = list(events)
    marks = {mark.event: mark.word for kind in kinds for mark in kind.marks if mark.word}
    marks |= {mark.event: mark.word for mark in OWN_MARKS}
    found += [_moment(each, marks[each["event"]]) for each in told if each["event"] in marks]
    for operation in operations.values():
        if operation.spans is not None:
            found += _told_spans(told, operation.verb, *operation.spans)
    return sorted(found, key=lambda span: float(span["start_s"]))


def _fault(record: Mapping[str, Any], is_active: bool, breaks: bool) -> Span:
    return {
        "start_s": record["at_s"],
        "end_s": record.get("ended_s"),
        "active": is_active,
        "kind": "fault" if breaks else "operation",
        "text": fault_text(record),
        "tags": ["fault", str(record["verb"])],
        "names": _names(record),
    }


def _names(record: Mapping[str, Any]) -> list[str]:
    """The words of a fault's record that may name nodes, tiers and regions."""
    main, *options = [each for key, each in record.items() if key not in UNSHOWN] or [""]
    found: list[str] = []
    for each in (main, *filter(is_said, options), record.get("affected", ())):
        for text in each if isinstance(each, list | tuple) else [each]:
            found += text.replace(",", " ").split() if isinstance(text, str) else ()
    return found


def _told_spans(
    events: Sequence[Mapping[str, Any]], verb: str, begun: str, ended: str
) -> list[Span]:
    """From the beginning of an operation to its end, whichever node of the tier tells of them."""
    found = []
    for place, event in enumerate(events):
        if event["event"] != begun:
            continue
        span = {**_moment(event, verb), "active": True}
        for later in events[place:]:
            if later["event"] == ended and later.get("tier") == event.get("tier"):
                span |= {"end_s": later["time_s"], "active": False}
                span["text"] += f": {later.get('outcome')}"
                break
        found.append(span)
    return found


def _moment(event: Mapping[str, Any], kind: str) -> Span:
    who = str(event.get("node") or event.get("tier") or "emu")
    told = [f"{key} {each}" for key, each in event.items() if key not in HIDDEN_FIELDS and each]
    error = str(event.get("error", ""))[:120]
    text = f"{who}: {event['event']}" + (f" ({', '.join(told)})" if told else "")
    return {
        "start_s": event["time_s"],
        "end_s": None,
        "active": False,
        "kind": kind,
        "text": f"{text}: {error}" if error else text,
        "tags": [kind, str(event.get("tier") or "emu")],
    }


def for_grafana(
    found: Iterable[Span], unix_s: Callable[[float], float], now_s: float
) -> list[dict[str, Any]]:
    """Grafana's annotations: milliseconds since 1970 (`unix_s` of the run's time), a region where
    there is an end."""
    shown = []
    for span in found:
        end_s = now_s if span["active"] else span["end_s"]
        each = {
            "time": int(unix_s(span["start_s"]) * 1000),
            "title": span["kind"],
            "text": span["text"],
            "tags": span["tags"],
        }
        if end_s is not None:
            each |= {"timeEnd": int(unix_s(end_s) * 1000), "isRegion": True}
        shown.append(each)
    return shown
