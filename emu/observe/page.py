"""The live page: its frame, and its inside as HTML from a status. Pure.

The frame's script (assets/page.js) asks for the inside again and again; it needs nothing from
elsewhere. Buttons appear for whoever came with the run's token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final

from emu.observe import facts
from emu.observe.drawing import draw
from emu.observe.shown import duration, number

EVENT_KEYS: Final = frozenset({"index", "time_s", "level", "event", "node", "tier", "region"})
EVENTS_SHOWN: Final = 40
ASSETS: Final = ("theme.css", "page.css", "page.js")
BAD_RATIO: Final = 0.01


@cache
def asset(name: str) -> bytes:
    """A file of assets/."""
    return files("emu.observe").joinpath("assets", name).read_bytes()


def frame(name: str) -> str:
    """The page as it is loaded; its inside comes from /live."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)} · emu</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/theme.css"><link rel="stylesheet" href="/page.css">
</head><body>
<div id="gone">emu does not answer any more: has the run ended?</div>
<main><div id="live"><h1>{escape(name)}</h1></div>
<footer><span class="act">Faults last
<select id="lasts"><option value="5">5 s</option><option value="15" selected>15 s</option>
<option value="60">1 m</option><option value="">until undone</option></select>
<button data-do='{{"verb": "heal"}}'>heal everything</button>
<span id="told" class="bad"></span></span>
<span class="look-only">To break things from here, open the address that <code>emu up</code> printed
(with its token).</span>
<p><a href="/metrics">/metrics</a> · <a href="/sd">/sd</a> · <a href="/status">/status</a> ·
<a href="/annotations">/annotations</a> · <a href="/events">/events</a></p></footer></main>
<script src="/page.js"></script></body></html>
"""


def inside(status: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """Everything that changes."""
    return "".join(
        (
            _top(status),
            _doubts(status),
            _faults(status),
            _operations(status),
            f'<h2>Tiers</h2><div class="card">{draw(status)}</div>',
            '<div class="columns"><section><h2>Nodes</h2><div class="card scroll">',
            _nodes(status),
            '</div></section><section><h2>Events</h2><div class="card scroll">',
            events_list(reversed(events[-EVENTS_SHOWN:])),
            "</div></section></div>",
        )
    )


def _top(status: Mapping[str, Any]) -> str:
    up = sum(tier["up"] for tier in status["tiers"])
    count = sum(tier["nodes"] for tier in status["tiers"])
    clients = [tier for tier in status["tiers"] if tier["clients"]]
    rate = sum(tier["rate_per_s"] for tier in clients)
    errors = sum(tier["errors_per_s"] for tier in clients)
    name = escape(status["name"])
    lag = duration(status["loop_lag_s"]["p99"])
    return (
        f'<div class="top" data-title="{up}/{count} up · {name}"><h1>{name}</h1>'
        f'<span class="soft">{duration(status["time_s"])}</span>'
        f'<span class="badge {"good" if up == count else "bad"}">{up} of {count} nodes up</span>'
        f'<span class="badge">users: {number(rate)}/s</span>'
        f'<span class="badge {_error_class(errors, rate)}">{number(errors)} errors/s</span>'
        f'<span class="grow"></span><span class="soft">loop lag p99 {lag}</span></div>'
    )


def _doubts(status: Mapping[str, Any]) -> str:
    if status["trustworthy"]:
        return ""
    reasons = escape("; ".join(status["reasons"]))
    return f'<p class="doubt">Do not trust these times just now: {reasons}</p>'


def _faults(status: Mapping[str, Any]) -> str:
    if not status["faults"]:
        return ""
    rows = ""
    for fault in status["faults"]:
        told = f"for {duration(status['time_s'] - fault['since_s'])}"
        if fault["until_s"] is not None:
            told += f", {duration(max(0.0, fault['until_s'] - status['time_s']))} left"
        undo = _button("undo", {"undo": fault["number"]})
        rows += f'<li>{escape(fault["text"])}<span class="soft">{told}</span>{undo}</li>'
    return f'<ul class="faults">{rows}</ul>'


def _operations(status: Mapping[str, Any]) -> str:
    """What is under way, and what can be done to each tier by its kind alone."""
    rows = ""
    for each in status["under_way"]:
        told = f" {each['done']} of {each['of']}" if each["of"] else ""
        bar = f'<progress value="{each["done"]}" max="{each["of"]}"></progress>' if told else ""
        rows += f"<li>{escape(each['text'])}{bar}"
        rows += f'<span class="soft">{escape(each["told"])}{told}</span></li>'
    for each in status["offered"]:
        button = _button(each["order"]["verb"], each["order"], once=not each["lasts"])
        rows += f'<li class="act">{escape(each["tier"])} {button}</li>'
    return f'<ul class="operations">{rows}</ul>' if rows else ""


# --- nodes -----------------------------------------------------------------------------------


def _nodes(status: Mapping[str, Any]) -> str:
    nodes, kinds = status["nodes"], status["kinds"]
    told = facts.columns(kinds, nodes, "page")
    titles = "".join(f'<th class="num">{escape(facts.title(each))}</th>' for each in told)
    more = status["nodes_left_out"]
    rest = f'<tr><td colspan="9" class="soft">and {more} more</td></tr>' if more else ""
    return (
        "<table><thead><tr><th>node</th><th>state</th><th>role</th>"
        '<th class="num">rate/s</th><th class="num">err/s</th><th class="num">p99</th>'
        f'<th class="num">cpu</th>{titles}<th></th></tr></thead><tbody>'
        + "".join(_node(node, kinds, told) for node in nodes)
        + rest
        + "</tbody></table>"
    )


def _node(node: facts.Row, kinds: facts.Kinds, told: Sequence[facts.Fact]) -> str:
    state, name = node["state"], node["name"]
    busy = node["cpu_busy_ratio"] if state == "up" else None
    errors, rate = node["errors_per_s"], node["rate_per_s"]
    cells = [
        (number(rate), ""),
        (number(errors), _error_class(errors, rate)),
        (duration(node["p99_s"]), ""),
        ("–" if busy is None else f"{busy:.0%}", "warn" if (busy or 0) > BUSY_RATIO else ""),
        *((escape(facts.text(kinds, node, each)) or "–", "") for each in told),
    ]
    region = f"{node['address']} {node['region']}"
    return (
        f'<tr data-tier="{escape(node["tier"])}"><td title="{escape(region)}">{escape(name)}</td>'
        f'<td class="{escape(state)}" title="{escape(node["error"])}">{escape(state)}</td>'
        f"<td>{escape(node['role']) or '–'}</td>"
        + "".join(f'<td class="num {style}">{text}</td>' for text, style in cells)
        + f"<td>{_actions(name, state)}</td></tr>"
    )


BUSY_RATIO: Final = 0.9


def _actions(name: str, state: str) -> str:
    verbs = {"up": ("kill", "pause"), "paused": ("unpause", "kill")}.get(state, ("start",))
    return "".join(_button(verb, {"verb": verb, "target": name}) for verb in verbs)


def _button(text: str, order: Mapping[str, Any], *, once: bool = False) -> str:
    """`once`: there is nothing to undo, so it does not last."""
    risky = " risky" if text in ("kill", "crash", "pause") else ""
    only = " data-once" if once else ""
    told = escape(json.dumps(order))
    return f"<button class=\"act{risky}\"{only} data-do='{told}'>{escape(text)}</button>"


def _error_class(errors: float, rate: float) -> str:
    if not errors:
        return ""
    return "bad" if errors > rate * BAD_RATIO else "warn"


# --- events ----------------------------------------------------------------------------------


def events_list(events: Iterable[Mapping[str, Any]]) -> str:
    """As they are given, one a line."""
    rows = "".join(
        f"<li><time>{event['time_s']:.2f} s</time><b>{escape(str(event.get('node', 'emu')))}</b>"
        f'<span class="{event["level"]}">{escape(str(event["event"]))} '
        f'<span class="soft">{escape(_extra(event))}</span></span></li>'
        for event in events
    )
    return f'<ol class="events">{rows}</ol>'


def _extra(event: Mapping[str, Any]) -> str:
    pairs = [(key, value) for key, value in event.items() if key not in EVENT_KEYS]
    return "  ".join(f"{key}={value}" for key, value in pairs if value is not None)[:300]
