"""The live page's regions: what stands in each, how its people fare, and how to break it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from emu.observe.shown import duration, number

Node = Mapping[str, Any]
BREAKING: Final = (("kill", "target"), ("partition", "between"))
MAX_DOTS: Final = 24


def cards(status: Mapping[str, Any]) -> str:
    """A card for each region; nothing where there is one only."""
    found = list(dict.fromkeys(node["region"] for node in status["nodes"]))
    if len(found) < 2:
        return ""
    people = {tier["name"] for tier in status["tiers"] if tier["clients"]}
    drawn = "".join(_card(region, status, people) for region in found)
    return f'<h2>Regions</h2><div class="regions">{drawn}</div>'


def _card(region: str, status: Mapping[str, Any], people: Iterable[str]) -> str:
    here = [node for node in status["nodes"] if node["region"] == region]
    machines = [node for node in here if node["tier"] not in people]
    up = sum(node["state"] == "up" for node in machines)
    style = "good" if up == len(machines) else "bad"
    rows = "".join(_tiers(machines, status["kinds"]))
    told = _told([node for node in here if node["tier"] in people])
    return (
        f'<div class="card region" data-region="{escape(region)}"><h3>{escape(region)}'
        f'<span class="badge {style}">{up} of {len(machines)} up</span>'
        f'<span class="grow"></span>{"".join(_buttons(region))}</h3>'
        f"<dl>{rows}</dl>{told}</div>"
    )


def _tiers(machines: Sequence[Node], kinds: Mapping[str, Any]) -> Iterator[str]:
    """A line for each tier: a dot for each member, a ring around whoever leads."""
    for tier in dict.fromkeys(node["tier"] for node in machines):
        members = [node for node in machines if node["tier"] == tier]
        dots = "".join(_dot(node, kinds) for node in members[:MAX_DOTS])
        more = f" +{len(members) - MAX_DOTS}" if len(members) > MAX_DOTS else ""
        yield f"<dt>{escape(tier)}</dt><dd>{dots}{more}</dd>"


def _dot(node: Node, kinds: Mapping[str, Any]) -> str:
    leader = kinds.get(node["kind"], {}).get("leader")
    leads = " leads" if leader is not None and node["role"] == leader["role"] else ""
    title = escape(f"{node['name']} {node['role']} {node['state']}")
    return f'<i class="dot {escape(node["state"])}{leads}" title="{title}"></i>'


def _told(people: Sequence[Node]) -> str:
    """How the people of the region fare, wherever they are served."""
    if not people:
        return '<p class="soft">nobody lives here</p>'
    rate = sum(node["rate_per_s"] for node in people)
    errors = sum(node["errors_per_s"] for node in people)
    p99_s = max((node["p99_s"] for node in people if node["p99_s"] is not None), default=None)
    style = "bad" if errors else "soft"
    return (
        f'<p><span class="soft">its people: {number(rate)}/s, </span>'
        f'<span class="{style}">{number(errors)} errors/s</span>'
        f'<span class="soft">, p99 {duration(p99_s)}</span></p>'
    )


def _buttons(region: str) -> Iterator[str]:
    for verb, main in BREAKING:
        value = [region] if main == "between" else region
        told = escape(json.dumps({"verb": verb, main: value}))
        yield f"<button class=\"act risky\" data-do='{told}'>{verb}</button>"
