"""The live page: its frame, and its inside as HTML from a status. Pure.

The frame's script (assets/page.js) asks for the inside again and again; it needs nothing from
elsewhere. Buttons appear for whoever came with the run's token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final

from emu.observe import facts, regions, wording
from emu.observe.drawing import draw
from emu.observe.shown import EFFECTS, duration, number, shedding
from nodes.parts import jsons

EVENTS_SHOWN: Final = 40
ASSETS: Final = ("theme.css", "page.css", "page.js")
BAD_RATIO: Final = 0.01


@cache
def asset(name: str) -> bytes:
    """A file of assets/."""
    return files("emu.observe").joinpath("assets", name).read_bytes()


def document(
    title: str, sheets: Sequence[str], body: str, footer: str, name: str, data: Any
) -> str:
    """A page that needs nothing else, with its data in it as JSON under that name. All texts are
    escaped already."""
    style = b"".join(map(asset, sheets)).decode()
    told = jsons.dumps(data).replace("<", "\\u003c")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><link rel="icon" href="data:,"><style>{style}</style></head>'
        f"<body><main>{body}<footer>{footer}</footer></main>"
        f'<script type="application/json" id="{name}">{told}</script></body></html>\n'
    )


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
<a href="/annotations">/annotations</a> · <a href="/alerts">/alerts</a> ·
<a href="/doctor">/doctor</a> ·
<a href="/events">/events</a></p></footer></main>
<script src="/page.js"></script></body></html>
"""


def inside(status: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """Everything that changes."""
    return "".join(
        (
            _top(status),
            _now(status),
            f'<h2>Tiers</h2><div class="card">{draw(status)}{_offered(status)}</div>',
            regions.cards(status),
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
    late = "".join(
        f'<span class="badge">{EFFECTS[effect]} p99 {duration(max(p99s))}</span>'
        for effect in EFFECTS
        if (p99s := [p99_s for tier in clients if (p99_s := _p99_s(tier, effect)) is not None])
    )
    return (
        f'<div class="top" data-title="{up}/{count} up · {name}"><h1>{name}</h1>'
        f'<span class="soft">{duration(status["time_s"])}</span>'
        f'<span class="badge {"good" if up == count else "bad"}">{up} of {count} nodes up</span>'
        f'<span class="badge" title="of all users and clients">{number(rate)} requests/s</span>'
        f'<span class="badge {_error_class(errors, rate)}">{number(errors)} errors/s</span>{late}'
        f'<span class="grow"></span><span class="soft">loop lag p99 {lag}</span></div>'
    )


def _p99_s(tier: Mapping[str, Any], effect: str) -> float | None:
    p99_s: float | None = tier["effects"].get(effect, {}).get("p99_s")
    return p99_s


# --- what is the matter ----------------------------------------------------------------------


def _now(status: Mapping[str, Any]) -> str:
    """Of one height whatever it says: rows below it must not move under a pointer."""
    told = [*_leaderless(status), *_faults(status), *_under_way(status), *_alerts(status)]
    calm = '<li class="soft">Nothing is broken.</li>'
    return f'<ul class="now">{"".join(told) or calm}{_doubts(status)}</ul>'


def _doubts(status: Mapping[str, Any]) -> str:
    if status["trustworthy"]:
        return ""
    reasons = escape("; ".join(status["reasons"]))
    told = f"Do not trust these times just now: {reasons}"
    return f'<li class="doubt" title="{told}">{told}</li>'


def _leaderless(status: Mapping[str, Any]) -> Iterator[str]:
    for each in map(escape, status["leaderless"]):
        yield f'<li class="fault" title="{each}">{each}</li>'


def _alerts(status: Mapping[str, Any]) -> Iterator[str]:
    """What fires, since when, and what to look at."""
    for each in status["alerts"]:
        since = f"for {duration(status['time_s'] - each['fired_s'])}"
        look = f"{each['alert']}: {each['description']}"
        yield (
            f'<li class="alert {escape(each["severity"])}" title="{escape(look)}">'
            f'{escape(each["summary"])}<span class="soft">{since}</span></li>'
        )
    if status["alerts_left_out"]:
        yield f'<li class="alert">and {status["alerts_left_out"]} more alerts</li>'


def _faults(status: Mapping[str, Any]) -> Iterator[str]:
    for fault in status["faults"]:
        told = f"for {duration(status['time_s'] - fault['since_s'])}"
        if fault["until_s"] is not None:
            told += f", {duration(max(0.0, fault['until_s'] - status['time_s']))} left"
        undo = _button("undo", {"undo": fault["number"]})
        text = escape(fault["text"])
        yield f'<li class="fault">{undo}{text}<span class="soft">{told}</span></li>'


def _under_way(status: Mapping[str, Any]) -> Iterator[str]:
    """The operations that are not over yet, and how far they are."""
    for each in status["under_way"]:
        told = f" {each['done']} of {each['of']}" if each["of"] else ""
        bar = f'<progress value="{each["done"]}" max="{each["of"]}"></progress>' if told else ""
        text = f'<span class="soft">{escape(each["told"])}{told}</span>'
        yield f'<li class="operation">{escape(each["text"])}{bar}{text}</li>'


def _offered(status: Mapping[str, Any]) -> str:
    """What can be done to each tier by its kind alone."""
    buttons: dict[str, str] = {}
    for each in status["offered"]:
        button = _button(each["order"]["verb"], each["order"], once=not each["lasts"])
        buttons[each["tier"]] = buttons.get(each["tier"], "") + button
    rows = "".join(f"<li>{escape(tier)} {told}</li>" for tier, told in buttons.items())
    return f'<ul class="offered act">{rows}</ul>' if rows else ""


# --- nodes -----------------------------------------------------------------------------------


def _nodes(status: Mapping[str, Any]) -> str:
    nodes, kinds = status["nodes"], status["kinds"]
    told = facts.columns(kinds, nodes, "page")
    more = status["nodes_left_out"]
    rest = f'<tr><td colspan="8" class="soft">and {more} more</td></tr>' if more else ""
    return (
        '<table class="nodes"><thead><tr><th>node</th><th>state</th><th class="act"></th>'
        '<th>role</th><th class="num">rate/s</th><th class="num">err/s</th>'
        '<th class="num">p99</th><th class="num">cpu</th></tr></thead><tbody>'
        + "".join(_node(node, kinds, told) for node in nodes)
        + rest
        + "</tbody></table>"
    )


def _node(node: facts.Row, kinds: facts.Kinds, told: Sequence[facts.Fact]) -> str:
    state, name = node["state"], node["name"]
    busy = node["cpu_busy_ratio"] if state == "up" else None
    errors, rate = node["errors_per_s"], node["rate_per_s"]
    cells = [
        ("rate/s", number(rate), ""),
        ("err/s", number(errors), _error_class(errors, rate)),
        ("p99", duration(node["p99_s"]), "p99"),
        ("cpu", "–" if busy is None else f"{busy:.0%}", "warn" if (busy or 0) > BUSY_RATIO else ""),
    ]
    region = f"{node['address']} {node['region']}"
    return (
        f'<tr data-tier="{escape(node["tier"])}">'
        f'<td class="name" title="{escape(region)}">{escape(name)}{_known(node, kinds, told)}</td>'
        f'<td class="state {escape(state)}" title="{escape(node["error"])}">{escape(state)}</td>'
        f'<td class="act">{_actions(name, state)}</td>'
        f'<td class="role">{escape(node["role"]) or "–"}</td>'
        + "".join(
            f'<td class="num {style}" data-title="{title}">{text}</td>'
            for title, text, style in cells
        )
        + "</tr>"
    )


def _known(node: facts.Row, kinds: facts.Kinds, told: Sequence[facts.Fact]) -> str:
    """What it says of itself; a line that is there even when it says nothing just now."""
    own = [each for each in told if each in kinds.get(node["kind"], {}).get("facts", ())]
    texts = [(facts.title(each), facts.text(kinds, node, each)) for each in own]
    sheds = shedding(node)
    said = [sheds] if sheds else []
    known = escape(" · ".join([*said, *(f"{title} {text}" for title, text in texts if text)]))
    return f'<div class="known soft" title="{known}">{known}</div>'


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
        f'<span class="soft">{escape(wording.fields(event))}</span></span></li>'
        for event in events
    )
    return f'<ol class="events">{rows}</ol>'
