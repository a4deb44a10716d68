"""One run as a page that needs nothing else: verdict, timeline, faults and what they cost. Pure.

It is drawn from a record (record.py), which it carries along as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from emu.model.verdicts import VERDICTS
from emu.observe import charts, explaining
from emu.observe.annotations import Span
from emu.observe.charts import Line
from emu.observe.drawing import draw as draw_tiers
from emu.observe.explaining import SHARED
from emu.observe.page import document, events_list
from emu.observe.sampling import SHORT_S, Counts
from emu.observe.shown import EFFECTS, duration, number

STYLES: Final = {"passed": "good", "failed": "bad", "untrusted": "warn", "unknown": "warn"}
"""Of verdicts."""
Record = Mapping[str, Any]


def render(record: Record) -> str:
    """The whole HTML document."""
    name = escape(record["summary"]["name"])
    footer = (
        f"Made by emu from {escape(record['file'] or 'a topology')}, seed "
        f"{record['seed']}. The run's data is in this page, as JSON."
    )
    body = "".join(part for section in SECTIONS for part in section(record))
    title = f"{name}: {record['summary']['verdict']}"
    return document(title, ("theme.css", "report.css"), body, footer, "run", record)


# --- sections --------------------------------------------------------------------------------


def _verdict(record: Record) -> Iterable[str]:
    summary = record["summary"]
    style, lead = STYLES[summary["verdict"]], VERDICTS[summary["verdict"]]
    yield f'<div class="verdict"><h1>{escape(summary["name"])}</h1>'
    yield f'<span class="badge {style}">{summary["verdict"]}</span>'
    yield f'<span class="soft">{summary["nodes"]} nodes, {duration(summary["ran_s"])}</span></div>'
    yield f'<p class="lead">{lead} {_blame(record)}</p>'
    if not summary["trustworthy"]:
        reasons = escape("; ".join(summary["reasons"]))
        yield f'<p class="doubt">Do not trust the times of this run: {reasons}.</p>'
    yield f'<ul class="numbers">{"".join(_numbers(summary))}</ul>'


def _blame(record: Record) -> str:
    if not record["summary"]["errors"]:
        return ""
    told = explaining.weakest(record["status"]["tiers"], record)
    return escape(f"{told}.") if told else ""


def _numbers(summary: Mapping[str, Any]) -> Iterable[str]:
    latency, availability = summary["latency_s"], summary["availability"]
    lost = summary["lost_acknowledged_writes"]
    for value, what in (
        (f"{summary['requests']}", f"requests, {number(summary['throughput_per_s'])}/s"),
        ("–" if availability is None else f"{availability:.3%}", "availability"),
        (f"{summary['errors']}", _codes(summary["errors_by_code"])),
        (duration(latency["p50"]), "latency p50"),
        (duration(latency["p99"]), "latency p99"),
        (duration(summary["outage_s"]), "longest time without success"),
        ("unknown" if lost is None else str(lost), "acknowledged writes lost"),
    ):
        yield f"<li><b>{value}</b><span>{escape(what)}</span></li>"


def _codes(codes: Mapping[str, int]) -> str:
    shown = ", ".join(f"{code} {count}" for code, count in list(codes.items())[:3])
    return f"failed: {shown}" if shown else "failed"


def _expectations(record: Record) -> Iterable[str]:
    judged = record["summary"]["expectations"]
    anomalies = record["summary"]["anomalies"]
    if judged:
        yield '<h2>Expectations</h2><div class="card"><table><tbody>'
        for each in judged:
            style, word = {True: ("good", "held"), False: ("bad", "failed"), None: (
                "warn", "unknown")}[each["held"]]  # fmt: skip
            yield f'<tr><td class="{style}">{word}</td><td>{escape(each["text"])}</td>'
            yield f'<td class="soft">{escape(each["told"])}</td></tr>'
        yield "</tbody></table></div>"
    if anomalies:
        yield '<h2>What must never be</h2><div class="card"><ol class="told">'
        for each in anomalies:
            yield f"<li><b>{escape(each['kind'])}</b>: {escape(each['text'])}</li>"
        yield "</ol></div>"


def _timeline(record: Record) -> Iterable[str]:
    clients = [tier["name"] for tier in record["status"]["tiers"] if tier["clients"]]
    if not record["samples"]:
        return
    yield "<h2>What users saw</h2>"
    yield from _populations(record["summary"].get("by_clients", ()))
    if len(clients) > 1:
        yield from _charts(record, clients, "All together")
    for name in clients:
        yield from _charts(record, [name], name)


def _populations(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Reads and writes of each population in each region."""
    if not rows:
        return
    several = len({row["region"] for row in rows}) > 1
    region = "<th>region</th>" if several else ""
    yield f'<div class="card"><table><thead><tr><th>clients</th>{region}<th></th>'
    yield '<th class="num">requests</th><th class="num">failed</th><th class="num">p50</th>'
    yield '<th class="num">p99</th></tr></thead><tbody>'
    for row in rows:
        style = "bad" if row["errors"] else "soft"
        latency = row["latency_s"]
        region = f"<td>{escape(row['region'])}</td>" if several else ""
        yield f"<tr><td>{escape(row['clients'])}</td>{region}"
        yield f'<td>{EFFECTS[row["effect"]]}</td><td class="num">{row["requests"]}</td>'
        yield f'<td class="num {style}">{row["errors"]}</td>'
        yield f'<td class="num">{duration(latency["p50"])}</td>'
        yield f'<td class="num">{duration(latency["p99"])}</td></tr>'
    yield "</tbody></table></div>"


def _charts(record: Record, tiers: Sequence[str], title: str) -> Iterable[str]:
    """Rate and errors, then latency, of these tiers together; what reads and writes take, apart."""
    found = [_sum(sample, tiers) for sample in record["samples"]]
    rates = [
        Line("requests/s", "main", [(t, c.requests / s) for t, s, c in found], filled=True),
        Line("failed/s", "bad", [(t, c.errors / s) for t, s, c in found], filled=True),
    ]
    latencies = [
        Line("latency p50", "calm", [(t, c.quantile_s(0.5)) for t, s, c in found]),
        Line("latency p99", "late", [(t, c.quantile_s(0.99)) for t, s, c in found]),
    ]
    effects = dict.fromkeys(effect for _, _, counts in found for effect in counts.effects)
    if len(effects) > 1:
        latencies = [
            Line(f"p99 of {EFFECTS[effect]}", style, [
                (t, c.effects[effect].quantile_s(0.99) if effect in c.effects else None)
                for t, _, c in found])
            for effect, style in zip(effects, ("calm", "late"), strict=False)
        ]  # fmt: skip
    yield f'<div class="card"><h3>{escape(title)}</h3>'
    for lines, shown in ((rates, number), (latencies, duration)):
        if any(value for line in lines for _, value in line.points):
            yield charts.legend(lines) + _chart(record, lines, shown)
    yield "</div>"


def _sum(sample: Sequence[Any], tiers: Sequence[str]) -> tuple[float, float, Counts]:
    time_s, seconds, counts = sample
    total = Counts()
    for name in tiers:
        if name in counts:
            total.add(Counts.from_json(counts[name]))
    return time_s, max(seconds, 1e-9), total


def _chart(record: Record, lines: Sequence[Line], shown: Callable[[float], str]) -> str:
    until_s = record["status"]["time_s"]
    return charts.draw(lines, [*record["spans"], *_end(record)], 0.0, until_s, shown)


def _end(record: Record) -> list[Span]:
    """What is asked there is no load."""
    over_s = record["ready_s"] + record["summary"]["ran_s"]
    if record["status"]["time_s"] - over_s < SHORT_S:
        return []
    text = "the end: faults are healed, clients read back what they wrote"
    return [{"start_s": over_s, "end_s": None, "active": True, "kind": "end", "text": text}]


def _faults(record: Record) -> Iterable[str]:
    found = explaining.consequences(record)
    if not found:
        return
    yield '<h2>What was done, and what users paid</h2><div class="card"><table><thead><tr>'
    yield '<th>what</th><th>from</th><th>to</th><th class="num">requests</th>'
    yield '<th class="num">failed</th><th class="num">p99</th><th>then</th></tr></thead><tbody>'
    for each in found:
        end = "–" if each.end_s is None else f"{each.end_s:.1f} s"
        style = "bad" if each.errors else "soft"
        told = "".join(f"<li>{escape(text)}</li>" for text in each.follow_ups[:8])
        if each.before is not None:
            requests, errors = each.before
            told += f"<li>before it {number(errors)} of {number(requests)} failed</li>"
        whose = f"<li>figures of {escape(', '.join(each.of))}</li>" if each.of else ""
        if each.within_s:
            whose += f"<li>figures of the {duration(each.within_s)} after it began</li>"
        yield f'<tr><td class="wrap">{escape(each.text)}</td><td>{each.start_s:.1f} s</td>'
        yield f'<td>{end}</td><td class="num">{number(each.requests)}</td>'
        yield f'<td class="num {style}">{number(each.errors)}</td>'
        yield f'<td class="num">{duration(each.p99_s)}</td>'
        yield f'<td class="wrap"><ul class="told">{whose}{told}</ul></td></tr>'
    yield "</tbody></table>"
    if any(each.shared for each in found):
        yield f'<p class="soft">{SHARED[0].upper()}{SHARED[1:]}.</p>'
    yield "</div>"


def _data(record: Record) -> Iterable[str]:
    """Failovers and writes, in sentences."""
    told = explaining.failovers(record)
    has_writes = record["summary"]["acknowledged_writes"] or told
    if not has_writes:
        return
    yield '<h2>Failovers and writes</h2><div class="card"><ol class="told">'
    for text in (*told, *explaining.writes(record["summary"])):
        yield f"<li>{escape(text)}</li>"
    yield "</ol></div>"


def _tiers(record: Record) -> Iterable[str]:
    yield f'<h2>Tiers</h2><div class="card">{draw_tiers(record["status"])}</div>'
    for tier in record["status"]["tiers"]:
        if not tier["clients"] and record["samples"]:
            yield from _charts(record, [tier["name"]], f"{tier['name']} ({tier['kind']})")


def _events(record: Record) -> Iterable[str]:
    events = record["events"]
    yield f"<h2>Events</h2><details><summary>All {len(events)} events</summary>"
    yield f"{events_list(events)}</details>"


SECTIONS: Final = (_verdict, _expectations, _timeline, _faults, _data, _tiers, _events)
