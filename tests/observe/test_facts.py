"""What kinds say of their members in columns: on which screen, in which words, of whom."""

from __future__ import annotations

from typing import Any

from emu.cli.top_screen import plain
from emu.observe import facts
from emu.running.views import kinds
from emu.topology.loading import loads
from tests.observe.test_page import shown as page_of
from tests.observe.test_top_screen import node, status, text

KINDS = kinds(loads("tiers: {web: {kind: web, uses: db}, db: {kind: database, nodes: 2}}"))
FIRST = node("db-1", kind="database", role="primary", epoch=7, lsn=41, lag_s=0.0)
SECOND = node("db-2", kind="database", role="replica", epoch=7, lsn=40, lag_s=0.25)
ROWS = [node("web-1"), FIRST, SECOND]


def titles(rows: list[dict[str, Any]], screen: str) -> list[str]:
    return [facts.title(each) for each in facts.columns(KINDS, rows, screen)]


def test_each_screen_has_the_facts_that_a_kind_shows_there():
    assert titles(ROWS, "ps") == ["epoch", "lsn", "lag"]
    assert titles(ROWS, "page") == ["epoch", "lag"]
    assert titles(ROWS, "top") == ["lag"]


def test_what_no_node_has_is_no_column():
    assert titles([node("web-1")], "ps") == []
    assert "LAG" not in "".join(text(plain(status(), [])))


def test_a_value_has_its_unit_and_what_says_nothing_of_the_leader_is_left_out_there():
    lag = facts.columns(KINDS, ROWS, "top")[0]
    assert [facts.text(KINDS, row, lag) for row in ROWS] == ["", "", "250.0 ms"]
    assert [facts.leads(KINDS, row) for row in ROWS] == [False, True, False]


def test_page_and_top_show_them_beside_their_node():
    drawn = text(plain(status() | {"nodes": ROWS, "kinds": KINDS}, []))
    (line,) = [line for line in drawn if line.startswith("db-2")]
    assert line.endswith("lag 250.0 ms")
    shown = page_of(nodes=ROWS, kinds=KINDS).text
    assert "db-1epoch 7up" in shown and "db-2epoch 7 · lag 250.0 msup" in shown
    assert "web-1up" in shown, "who has none takes no room for them"


def test_where_there_are_many_each_node_says_its_own_in_a_sentence():
    shown = facts.columns(KINDS, ROWS, "ps")
    said = [facts.sentence(KINDS, row, shown) for row in ROWS]
    assert said == ["", "epoch 7, lsn 41", "epoch 7, lsn 40, lag 250.0 ms"]


def test_a_share_is_shown_as_one():
    fact = {"key": "hit_ratio", "screens": ["ps"], "of_others": ""}
    row = node("cache-1", kind="web", hit_ratio=0.6334)
    assert (facts.title(fact), facts.text(KINDS, row, fact)) == ("hit", "63%")


def test_a_share_of_nothing_is_not_zero_of_it():
    fact = {"key": "hit_ratio", "screens": ["ps", "top"], "of_others": ""}
    asked, idle = node("cache-1", kind="web", hit_ratio=0.0), node("gutter", hit_ratio=None)
    assert [facts.text(KINDS, row, fact) for row in (asked, idle, node("web-1"))] == ["0%", "-", ""]
    kinds = {"web": {"facts": [fact], "leader": None}}
    drawn = text(plain(status() | {"nodes": [idle | {"kind": "web"}], "kinds": kinds}, []))
    assert any(line.endswith("hit -") for line in drawn)
