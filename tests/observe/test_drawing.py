"""The drawing of the tiers: where they stand, and that it is whole whatever their names are."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

from emu.observe.drawing import BOX_HEIGHT, BOX_WIDTH, MAX_DOTS, arrange, draw
from tests.observe.test_top_screen import node, status, tier

STORY = [["users", "dns"], ["users", "lb"], ["dns", "lb"], ["lb", "web"], ["web", "db"],
         ["web", "cache"], ["cache", "db"]]  # fmt: skip
TIERS = ["dns", "lb", "web", "cache", "db", "users"]


def test_tiers_stand_behind_whoever_asks_them():
    places = arrange(TIERS, STORY)
    columns = {name: column for name, (column, _) in places.items()}
    assert columns == {"users": 0, "dns": 1, "lb": 2, "web": 3, "cache": 4, "db": 5}
    assert all(columns[a] < columns[b] for a, b in STORY)
    assert len(set(places.values())) == len(TIERS)


def test_a_circle_and_an_unknown_name_and_no_edges_are_drawn_too():
    assert len(arrange(["a", "b", "c"], [["a", "b"], ["b", "c"], ["c", "a"], ["a", "x"]])) == 3
    assert arrange(["a", "b"], []) == {"a": (0, 0), "b": (0, 1)}
    assert arrange([], []) == {}


def test_many_tiers_that_all_ask_each_other_take_no_time():
    names = [f"t{number}" for number in range(25)]
    everyone = [[a, b] for a, b in combinations(names, 2)]
    assert arrange(names, everyone)["t24"] == (24, 0)


def drawn(**fields: Any) -> ElementTree.Element:
    full = {
        **status(), "tiers": [tier(name) for name in TIERS], "edges": STORY, "links": [], **fields,
    }  # fmt: skip
    full["nodes"] = [node(f"{name}-1", tier=name) for name in TIERS] + full["nodes"][:0]
    return ElementTree.fromstring(draw(full))


def boxes(svg: ElementTree.Element) -> list[tuple[float, float]]:
    found = []
    for group in svg.iter("g"):
        x, y = re.findall(r"[0-9.]+", group.attrib["transform"])
        found.append((float(x), float(y)))
    return found


def test_no_two_boxes_overlap_and_all_are_inside():
    svg = drawn()
    _, _, width, height = (float(each) for each in svg.attrib["viewBox"].split())
    corners = boxes(svg)
    assert len(corners) == len(TIERS)
    for x, y in corners:
        assert 0 <= x <= width - BOX_WIDTH and 0 <= y <= height - BOX_HEIGHT
    for (x1, y1), (x2, y2) in combinations(corners, 2):
        assert abs(x1 - x2) >= BOX_WIDTH or abs(y1 - y2) >= BOX_HEIGHT


def test_a_cut_and_a_far_link_are_said_at_their_edge():
    links = [
        {"ends": ["lb", "web"], "cut": True, "latency_s": 0.0003},
        {"ends": ["web", "db"], "cut": False, "latency_s": 0.08},
        {"ends": ["web", "cache"], "cut": False, "latency_s": 0.0003},
    ]
    texts = [each.text for each in drawn(links=links).iter("text")]
    assert texts.count("cut") == 1 and texts.count("80.0 ms") == 1
    assert "300 µs" not in texts


def test_names_are_text_whatever_they_hold():
    name = '<script>&"'
    full = {**status(1, 0), "tiers": [tier(name)], "edges": [], "links": []}
    full["nodes"] = [node("n<", tier=name, state="killed", role='"')]
    svg = ElementTree.fromstring(draw(full))
    assert name in [each.text for each in svg.iter("text")]
    assert "n<: killed" in svg.find(".//title").text


def test_a_tier_of_a_thousand_has_few_dots_and_those_that_are_ill():
    nodes = [node(f"web-{number}", tier="web") for number in range(400)]
    nodes[333] = node("web-333", tier="web", state="crashed")
    full = {**status(1, 0), "tiers": [tier("web", nodes=1000, up=999)], "edges": [], "links": []}
    svg = ElementTree.fromstring(draw({**full, "nodes": nodes}))
    dots = list(svg.iter("circle"))
    assert len(dots) <= MAX_DOTS
    assert "crashed" in dots[0].attrib["class"]
    assert f"+{1000 - len(dots)}" in [each.text for each in svg.iter("text")]


def test_tiers_that_one_kind_expanded_to_are_drawn_as_one():
    shards = [tier(f"kv-shard-{n}", kind="kv_shard", group="kv", rate_per_s=10.0, history=[1.0, n])
              for n in (1, 2, 3)]  # fmt: skip
    tiers = [tier("load"), *shards, tier("kv-router", kind="kv_router", group="kv")]
    edges = [["load", "kv-router"], ["kv-router", "kv-shard-1"], ["kv-router", "kv-shard-3"],
             ["kv-shard-1", "kv-shard-2"]]  # fmt: skip
    links = [{"ends": ["kv-router", "kv-shard-2"], "cut": True, "latency_s": 0.0}]
    full = {**status(1, 0), "tiers": tiers, "edges": edges, "links": links}
    full["nodes"] = [node(f"kv-shard-{n}-1", tier=f"kv-shard-{n}") for n in (1, 2, 3)]
    svg = ElementTree.fromstring(draw(full))
    assert [group.attrib["data-tier"] for group in svg.iter("g")] == [
        "load", "kv-shard-1 kv-shard-2 kv-shard-3", "kv-router",
    ]  # fmt: skip
    texts = [each.text for each in svg.iter("text")]
    assert "kv-shard" in texts and "× 3" in texts and "30/s" in texts
    assert len(list(svg.iter("circle"))) == 3 and texts.count("cut") == 1
