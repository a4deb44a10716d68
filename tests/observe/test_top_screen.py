"""What `emu top` draws: it fits the terminal, and what is not well is seen first."""

from __future__ import annotations

from typing import Any

import pytest
from rich.text import Text

from emu.cli.top import keys_of
from emu.cli.top_screen import draw, plain
from emu.observe.shown import duration


def tier(name: str, **fields: Any) -> dict[str, Any]:
    quiet = {"kind": "web", "nodes": 3, "up": 3, "rate_per_s": 92.6, "errors_per_s": 0.0,
             "p50_s": 0.0077, "p99_s": 0.0236, "waiting": 2, "history": [90.0] * 60,
             "error_history": [0.0] * 60, "public": False, "clients": False,
             "effects": {}}  # fmt: skip
    return {"name": name, **quiet, **fields}


def node(name: str, **fields: Any) -> dict[str, Any]:
    quiet = {"kind": "web", "state": "up", "role": "", "rate_per_s": 30.0, "errors_per_s": 0.0,
             "p50_s": 0.01, "p99_s": 0.02, "cpu_busy_ratio": 0.25}  # fmt: skip
    return {"name": name, **quiet, **fields}


def status(tiers: int = 5, nodes: int = 7, **fields: Any) -> dict[str, Any]:
    return {
        "name": "load-balancer", "time_s": 75.0, "trustworthy": True, "reasons": [],
        "loop_lag_s": {"p50": 0.0001, "p99": 0.0004, "max": 0.01},
        "tiers": [tier(f"tier-{number}") for number in range(tiers)],
        "nodes": [node(f"web-{number}") for number in range(nodes)],
        "nodes_left_out": 0, "faults": [], "leaderless": [], "under_way": [], "offered": [],
        "alerts": [], "alerts_left_out": 0,
        "kinds": {}, **fields,
    }  # fmt: skip


EVENTS = [
    {"index": number, "time_s": number / 7, "level": "info", "node": "lb-1", "event": "server down",
     "why": "a long story " * 20}
    for number in range(40)
]  # fmt: skip


def text(lines: list[Text]) -> list[str]:
    return [line.plain.rstrip() for line in lines]


def test_with_more_tiers_than_lines_users_are_seen_and_the_others_counted():
    """Step 13 at 80x24: the users' own rows were below the screen, and nothing said so."""
    tiers = [tier(f"tier-{number}", rate_per_s=float(number)) for number in range(16)]
    tiers[3] |= {"up": 2}
    tiers.append(tier("users-eu", clients=True, rate_per_s=0.5))
    alerts = [
        {"alert": f"A{number}", "summary": f"s{number}", "fired_s": 1.0} for number in range(5)
    ]
    lines = text(draw(status(tiers=0, alerts=alerts) | {"tiers": tiers}, EVENTS, 80, 20))
    shown = [line.split()[0] for line in lines if line]
    assert "users-eu" in shown and "tier-3" in shown and "tier-15" in shown
    assert "tier-0" not in shown and shown.index("tier-3") < shown.index("tier-15")
    assert lines[-2] == "… 4 more tiers, all up" and "q quit" in lines[-1]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("height", [5, 10, 24, 60])
@pytest.mark.parametrize(("tiers", "nodes"), [(1, 1), (5, 7), (14, 400)])
def test_it_fits_any_terminal_exactly(width: int, height: int, tiers: int, nodes: int):
    drawn = draw(status(tiers, nodes), EVENTS, width, height)
    assert len(drawn) == height
    assert max(line.cell_len for line in drawn) <= width
    assert "q quit" in drawn[-1].plain


def test_eighty_by_twentyfour_shows_tiers_nodes_and_events():
    drawn = text(draw(status(), EVENTS, 80, 24))
    assert drawn[0].startswith("load-balancer  75.0 s  15/15 nodes up")
    assert sum(line.startswith("tier-") for line in drawn) == 5
    assert sum(line.startswith("web-") for line in drawn) == 7
    assert sum("server down" in line for line in drawn) >= 3


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_word_of_a_role_is_cut_where_names_leave_room(width: int):
    nodes = [node("dns-1", role="authoritative"), node("kv-coordinator-1", role="primary")]
    drawn = text(draw(status() | {"nodes": nodes}, EVENTS, width, 24))
    assert sum("authoritative" in line for line in drawn) == 1


def test_names_give_way_to_numbers_on_a_narrow_screen():
    nodes = [node("a-name-of-20-letters", state="draining", role="authoritative")]
    drawn = text(draw(status() | {"nodes": nodes}, EVENTS, 56, 24))
    (title,) = [line for line in drawn if line.startswith("NODE")]
    (row,) = [line for line in drawn if line.startswith("a-name-of")]
    assert title.endswith("ERR/S") and "draining" in row and "…" in row and len(row) <= 56


def test_what_is_not_well_comes_first_and_the_rest_is_counted():
    nodes = [node(f"web-{number}") for number in range(100)]
    nodes[77] = node("web-77", state="killed", cpu_busy_ratio=0.0)
    drawn = text(draw(status(5, 0) | {"nodes": nodes, "nodes_left_out": 900}, EVENTS, 80, 24))
    first = drawn.index(next(line for line in drawn if line.startswith("NODE"))) + 1
    assert drawn[first].split()[:2] == ["web-77", "killed"]
    shown = sum(line.startswith("web-") for line in drawn)
    assert f"… {1000 - shown} more, all up" in drawn


def test_nodes_scroll_to_the_last_and_no_farther():
    drawn = text(draw(status(5, 50), EVENTS, 80, 24, skip_nodes=1000))
    assert any(line.startswith("web-49") for line in drawn)
    assert not any(line.startswith("…") for line in drawn)


def firing(number: int) -> dict[str, Any]:
    return {"alert": "EmuNodeDown", "severity": "warning", "summary": f"web-{number} does not run",
            "description": "`emu ps` says why", "fired_s": 70.0}  # fmt: skip


def test_alerts_are_told_with_their_age_and_a_flood_is_counted():
    alerts = [firing(number) for number in range(5)]
    drawn = text(draw(status(alerts=alerts, alerts_left_out=2), EVENTS, 80, 24))
    since = duration(status()["time_s"] - 70.0)
    assert drawn[1] == f"! web-0 does not run  EmuNodeDown for {since}"
    assert drawn[4] == "! and 4 more: emu alerts"


def test_faults_say_how_long_and_how_much_longer_and_a_flood_is_counted():
    faults = [{"number": n, "text": f"kill web-{n}", "since_s": 70.0, "until_s": 80.0}
              for n in range(9)]  # fmt: skip
    drawn = text(draw(status(faults=faults), EVENTS, 80, 24))
    assert drawn[1] == "✗ kill web-0  for 5.0 s, 5.0 s left"
    assert drawn[4] == "✗ and 6 more faults"


def test_who_has_nobody_to_lead_it_is_named_before_what_is_broken():
    led_by_nobody = "kv-shard-1 has no primary: 1 of 3 voters up"
    faults = [{"number": 1, "text": "kill x", "since_s": 70.0, "until_s": None}]
    drawn = text(draw(status(leaderless=[led_by_nobody], faults=faults), EVENTS, 80, 24))
    assert drawn[1:3] == [f"✗ {led_by_nobody}", "✗ kill x  for 5.0 s"]


def test_reads_and_writes_of_clients_have_a_line_each():
    rates = {"rate_per_s": 30.0, "errors_per_s": 0.0, "p50_s": 0.002, "p99_s": 0.004}
    slow = {"rate_per_s": 5.0, "errors_per_s": 1.0, "p50_s": 0.2, "p99_s": 0.4}
    users = tier("users-local", clients=True, effects={"read": rates, "write": slow})
    drawn = text(draw(status(0) | {"tiers": [tier("web"), users]}, EVENTS, 80, 26))
    reads, writes = (line.split() for line in drawn[5:7])
    assert reads == ["reads", "30", "-", "2.0", "ms", "4.0", "ms"]
    assert writes == ["writes", "5", "1", "200.0", "ms", "400.0", "ms"]
    reading = status(0) | {"tiers": [users | {"effects": {"read": rates}}]}
    assert not any("reads" in line for line in text(draw(reading, [], 80, 40)))
    short = text(draw(status(0) | {"tiers": [users]}, EVENTS, 80, 16))
    assert not any("reads" in line for line in short), "there is no room for them"


def test_a_laptop_that_is_too_busy_says_so_instead_of_its_lag():
    drawn = text(draw(status(trustworthy=False, reasons=["the loop was late"]), [], 80, 24))
    assert "not trustworthy: the loop was late" in drawn[0]


def test_a_pipe_gets_everything_without_bars():
    found = text(plain(status(14, 300), EVENTS))
    assert sum(line.startswith("web-") for line in found) == 300
    assert not any("▇" in line for line in found)


def test_an_answer_that_fails_is_told_under_the_latest_that_came():
    drawn = text(draw(status(), EVENTS, 80, 24, trouble="handler failed"))
    assert drawn[-1] == "no news: handler failed"
    assert len(drawn) == 24


def test_keys_that_were_pressed_at_once_are_told_apart():
    assert keys_of("jq") == ["j", "q"]
    assert keys_of("\x1b[A\x1b[Bq\x1b") == ["\x1b[A", "\x1b[B", "q", "\x1b"]
    assert keys_of("") == []
