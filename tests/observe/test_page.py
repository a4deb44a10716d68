"""The live page: its HTML, whatever it is told; that it needs nothing from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from emu.observe import page
from tests.observe.test_top_screen import EVENTS, node, status, tier

VOID = ("meta", "link", "br", "input")


class Checker(HTMLParser):
    """Collects tags, and breaks on what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    return checker


def shown(events: list[dict[str, Any]] = EVENTS, **fields: Any) -> Checker:
    full = {**status(), "edges": [], "links": [], **fields}
    full["nodes"] = [{"tier": "web", "address": "127.7.1.1:8080", "region": "here", "error": "",
                      **each} for each in full["nodes"]]  # fmt: skip
    return read(page.inside(full, events))


def test_it_tells_tiers_nodes_faults_and_events():
    faults = [{"number": 3, "text": "kill web-2 (one web)", "since_s": 70.0, "until_s": 85.0}]
    found = shown(faults=faults)
    assert "15 of 15 nodes up" in found.text
    assert "kill web-2 (one web)for 5.0 s, 10.0 s left" in found.text
    orders = [attrs["data-do"] for tag, attrs in found.tags if tag == "button"]
    assert '{"undo": 3}' in orders
    assert '{"verb": "kill", "target": "web-0"}' in orders
    assert found.text.count("server down") == page.EVENTS_SHOWN


def test_it_tells_how_far_an_operation_is_and_offers_what_a_kind_brings():
    way = {"text": "reshard kv", "done": 300, "of": 4096, "told": "12 keys"}
    offered = [
        {"tier": "db", "order": {"verb": "promote", "target": "db"}, "lasts": False},
        {"tier": "machine", "order": {"verb": "stick", "target": "machine"}, "lasts": True},
        {"tier": "db", "order": {"verb": "recover", "target": "db"}, "lasts": False},
    ]
    found = shown(nodes=[], under_way=[way], offered=offered)
    assert "reshard kv12 keys 300 of 4096" in found.text
    assert ("progress", {"value": "300", "max": "4096"}) in found.tags
    buttons = {attrs["data-do"]: attrs for tag, attrs in found.tags if tag == "button"}
    assert "data-once" in buttons['{"verb": "promote", "target": "db"}']
    assert "data-once" not in buttons['{"verb": "stick", "target": "machine"}']
    assert "db promoterecover" in found.text, "a tier is named once, before all its buttons"


def test_what_is_the_matter_is_one_list_that_is_always_there():
    assert "Nothing is broken." in shown().text
    found = shown(leaderless=["db has no primary: 1 of 3 voters up"], trustworthy=False,
                  reasons=["the loop was late"])  # fmt: skip
    assert "the loop was late" in found.text
    assert "db has no primary: 1 of 3 voters up" in found.text
    assert "Nothing is broken." not in found.text
    assert [attrs for tag, attrs in found.tags if tag == "ul" and attrs.get("class") == "now"]


def test_what_fires_is_told_with_what_to_look_at_and_never_as_markup():
    alert = {"alert": "EmuNodeDown", "severity": "critical", "summary": "<b>web-1</b> does not run",
             "description": "`emu ps web-1` says why", "fired_s": 0.0}  # fmt: skip
    found = shown(alerts=[alert], alerts_left_out=3)
    assert "<b>web-1</b> does not run" in found.text and "and 3 more alerts" in found.text
    (item,) = [attrs for _, attrs in found.tags if attrs.get("class") == "alert critical"]
    assert item["title"] == "EmuNodeDown: `emu ps web-1` says why"


def test_a_node_that_is_down_can_be_started_and_one_that_is_paused_resumed():
    nodes = [node("web-0", state="crashed", error="boom"), node("web-1", state="paused")]
    found = shown(nodes=nodes)
    orders = [attrs["data-do"] for tag, attrs in found.tags if tag == "button"]
    assert orders == [
        '{"verb": "start", "target": "web-0"}',
        '{"verb": "unpause", "target": "web-1"}',
        '{"verb": "kill", "target": "web-1"}',
    ]


def test_what_nodes_and_files_say_is_never_markup():
    hostile = "<img src=x onerror=alert(1)>\"'"
    events = [{"index": 1, "time_s": 1.0, "level": "info", "event": hostile, "node": hostile,
               hostile: hostile}]  # fmt: skip
    nodes = [node(hostile, role=hostile, state=hostile, error=hostile)]
    faults = [{"number": 1, "text": hostile, "since_s": 0.0, "until_s": None}]
    tiers = [tier(hostile, kind=hostile)]
    way = {"text": hostile, "done": 1, "of": 0, "told": hostile}
    offered = [{"tier": hostile, "order": {"verb": hostile, "target": hostile}, "lasts": True}]
    found = shown(events, name=hostile, nodes=nodes, faults=faults, tiers=tiers,
                  trustworthy=False, reasons=[hostile], under_way=[way], leaderless=[hostile],
                  offered=offered)  # fmt: skip
    assert not [tag for tag, _ in found.tags if tag in ("img", "script")]
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]
    assert read(page.frame(hostile)).text.count(hostile) >= 2


def test_page_and_assets_ask_nobody_else():
    everything = page.frame("x") + "".join(page.asset(name).decode() for name in page.ASSETS)
    for needle in ("http:", "https:", "url(", "@import", "//cdn", "eval(", "innerHTML +="):
        assert needle not in everything, needle


def test_several_regions_are_drawn_each_with_its_machines_people_and_how_to_break_it():
    assert "Regions" not in shown().text, "there is one only"
    kind = {"leader": {"role": "primary", "event": "promoted", "voters": "", "timeout": ""},
            "facts": [], "marks": []}  # fmt: skip
    row = {"generation": 1, "uptime_s": 1.0, "public": False, "waiting": 0, "cpu_busy_ratio": None,
           "errors_per_s": 0.0, "p50_s": None, "p99_s": None, "rate_per_s": 0.0}  # fmt: skip
    nodes = [
        {**row, "name": "db-1", "tier": "db", "kind": "database", "region": "us", "role": "primary",
         "state": "down"},
        {**row, "name": "db-2", "tier": "db", "kind": "database", "region": "eu", "role": "primary",
         "state": "up"},
        {**row, "name": "users-eu-1", "tier": "users-eu", "kind": "users", "region": "eu",
         "role": "", "state": "up", "rate_per_s": 12.0, "errors_per_s": 2.0, "p99_s": 0.25},
    ]  # fmt: skip
    (like, *_) = status()["tiers"]
    tiers = [
        {**like, "name": "db", "clients": False},
        {**like, "name": "users-eu", "clients": True},
    ]
    found = shown(nodes=nodes, tiers=tiers, kinds={"database": kind})
    assert "us0 of 1 up" in found.text and "eu1 of 1 up" in found.text
    assert "its people: 12/s, 2 errors/s, p99 250.0 ms" in found.text
    assert "nobody lives here" in found.text
    orders = [attrs["data-do"] for tag, attrs in found.tags if tag == "button"]
    assert '{"verb": "kill", "target": "us"}' in orders
    assert '{"verb": "partition", "between": ["us"]}' in orders
    dots = [attrs["class"] for tag, attrs in found.tags if tag == "i"]
    assert dots == ["dot down leads", "dot up leads"]
