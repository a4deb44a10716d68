"""Message diagrams: what is chosen from a trace, and how it is drawn."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emu.observe.diagram import Diagram, NothingToShow, Question, draw
from emu.observe.diagram_layout import Layout
from emu.observe.diagram_svg import as_html, as_svg
from emu.observe.diagram_text import as_text
from nodes.base import ADMIN_PORT
from tests.observe.traces import TIERS, Wire, answer, request
from tests.peers import need


def drawn(wire: Wire, faults=(), **question) -> Diagram:
    return draw(
        wire.events, Question(**question), tiers=TIERS, labels={}, faults=faults, title="a run"
    )


def labels(diagram: Diagram) -> list[str]:
    return [arrow.label for arrow in diagram.arrows]


# --- choosing ----------------------------------------------------------------------------------


def test_one_request_is_followed_through_all_tiers():
    wire = Wire()
    wire.visit(trace=5)
    wire.visit(trace=6, code="not_primary")
    assert labels(drawn(wire, request=1)) == ["GET /u/ada", "get ada", "get: Ada", "200 OK"]
    second = drawn(wire, request=2)
    assert labels(second)[2:] == ["get: not_primary", "503 Service Unavailable"]
    assert [lane.name for lane in second.lanes] == ["users-1", "web-1", "db-1"]


def test_what_replicas_say_meanwhile_is_shown_faintly():
    wire = Wire()
    wire.send("users-1", "web-1", request(1, "post", trace=5))
    wire.send("web-1", "db-1", request(1, "write", trace=5), number=2)
    wire.send("db-1", "db-2", request(1, "ship"), number=3)
    wire.send("db-2", "db-1", answer(1), number=3)
    wire.send("db-1", "web-1", answer(1), number=2)
    wire.send("db-1", "db-2", request(2, "ship"), number=3)
    found = [(arrow.label, arrow.faint) for arrow in drawn(wire, request=1).arrows]
    assert found == [
        ("post", False), ("write", False), ("ship", True), ("ship: ok", True), ("write: ok", False)
    ]  # fmt: skip


def test_one_node_or_one_time_may_be_asked_for():
    wire = Wire()
    wire.visit(trace=5)
    wire.visit(trace=6)
    assert labels(drawn(wire, node="db-1")) == ["get ada", "get: Ada"] * 2
    assert labels(drawn(wire, from_s=0.009)) == ["get ada", "get: Ada", "200 OK"]
    assert labels(drawn(wire, to_s=0.001)) == ["GET /u/ada"]


def test_housekeeping_is_left_out_unless_asked_for():
    wire = Wire()
    wire.send("emu", "db-1", request(1, "metrics"), port=ADMIN_PORT)
    wire.send("web-1", "directory", request(1, "watch", "db"))
    wire.send("web-1", "db-1", request(1, "hello"))
    wire.send("web-1", "db-1", request(2, "get", "ada"))
    assert labels(drawn(wire)) == ["get ada"]
    assert len(drawn(wire, everything=True).arrows) == 4


def test_messages_of_one_packet_share_an_arrow():
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "get", "ada") + request(2, "get", "alan"))
    assert labels(drawn(wire)) == ["get ada +1"]


def test_too_many_messages_are_counted():
    wire = Wire()
    for number in range(10):
        wire.send("web-1", "db-1", request(number, "get", "ada"))
    diagram = drawn(wire, most=4)
    assert (len(diagram.arrows), diagram.left_out) == (4, 6)


def test_nothing_to_show_says_what_there_is():
    wire = Wire()
    wire.visit(trace=5)
    with pytest.raises(NothingToShow, match="no request 3: users made 1 in this run"):
        drawn(wire, request=3)
    with pytest.raises(NothingToShow, match="no message fits; there are 4"):
        drawn(wire, node="db-9")


def test_a_lane_knows_when_its_node_was_down_or_paused():
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "get"))
    wire.note("pause", "db-1")
    wire.note("unpause", "db-1")
    wire.note("kill", "db-1")
    wire.send("web-1", "db-1", request(2, "get"))
    lane = drawn(wire).lanes[1]
    states = [lane.state(time_s) for time_s in (0.001, 0.0025, 0.0035, 0.005)]
    assert states == ["", "paused", "", "down"]


# --- drawing -----------------------------------------------------------------------------------


def test_the_text_is_a_lamport_diagram():
    wire = Wire()
    wire.visit(trace=5)
    wire.visit(trace=6, lost=True)
    wire.note("kill", "db-1")
    wire.send("web-1", "db-1", request(7, "get", "alan"), lost=True)
    lines = [line.text for line in as_text(drawn(wire), width_chars=84)]
    assert lines == [
        "      time       users-1            web-1              db-1             took request",
        "  0.000000          ├── GET /u/ada ──▶│                 │               1 ms      #1",
        "  0.002000          │                 ├──── get ada ───▶│               1 ms      #1",
        "  0.004000          │                 │◀╌╌ get: Ada ╌╌╌╌┤               1 ms      #1",
        "  0.006000          │◀╌╌╌ 200 OK ╌╌╌╌╌┤                 │               1 ms      #1",
        "  0.008000          ├── GET /u/ada ──▶│                 │               1 ms      #2",
        "  0.010000          │                 ├──── get ada ───▶│               1 ms      #2",
        "  0.012000          │                 │╳╌╌ get: Ada ╌╌╌╌┤               lost      #2",
        "  0.013000          │                 │                 ✖ killed",
        "  0.014000          │                 ├─── get alan ───╳                lost",
    ]


def test_a_silence_and_a_fault_have_lines_of_their_own():
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "get"))
    wire.time_s = 3.0
    wire.send("web-1", "db-1", request(2, "get"))
    fault = {"number": 1, "at_s": 1.0, "verb": "partition", "between": ("web", "db"), "mode": ""}
    tones = [line.tone for line in as_text(drawn(wire, faults=[fault]))]
    assert tones == ["head", "request", "gap", "fault", "gap", "request"]
    assert any("══ partition web / db ═" in each.text for each in as_text(drawn(wire, [fault])))


def busy_wire() -> Wire:
    wire = Wire()
    for trace in range(1, 30):
        wire.visit(trace, code="not_primary" if trace % 7 == 0 else "", lost=trace % 11 == 0)
        if trace == 12:
            wire.note("pause", "db-1")
        if trace == 14:
            wire.note("unpause", "db-1")
    return wire


def test_time_runs_downward_and_labels_cover_no_label():
    layout = Layout(drawn(busy_wire()))
    heights = [layout.y(place * 1e-4) for place in range(3000)]
    assert heights == sorted(heights)
    boxes = []
    for arrow in layout.diagram.arrows:
        (stroke,) = layout.strokes(arrow)
        label = stroke.label
        assert label is not None
        half = len(label.text) * 6.65 / 2
        boxes.append((label.x - half, label.y - 12, label.x + half, label.y))
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
            assert apart, (one, other)


def test_what_is_long_under_way_is_told_where_it_leaves_and_where_it_arrives():
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "get", "ada"), number=1, lost=True)
    for number in range(10):
        wire.send("web-1", "db-2", request(number, "get"), number=2)
    wire.trace.message(wire.time_s, b"web-1>db-1:7000/1", request(1, "get", "ada"))
    layout = Layout(drawn(wire))
    strokes = layout.strokes(layout.diagram.arrows[0])
    assert [stroke.kind for stroke in strokes] == ["leaves", "thread", "arrives"]
    assert [stroke.label.text for stroke in strokes if stroke.label] == [
        "get ada (21 ms)",
        "get ada",
    ]


def test_the_picture_is_one_well_formed_file_that_needs_no_other():
    wire = busy_wire()
    wire.send("web-1", "db-1", request(99, "get", "<b>&"))
    for text in (as_svg(drawn(wire)), as_html(drawn(wire))):
        assert "<b>" not in text and "get &lt;b&gt;&amp;" in text
        outside = re.findall(r"(?:src|href)=|@import|url\((?!#)|https?://(?!www\.w3\.org)", text)
        assert outside == []
    root = ElementTree.fromstring(as_svg(drawn(wire)))
    shown = "".join(root.itertext())
    for words in ("users-1", "GET /u/ada", "get: not_primary", "paused", "never arrived"):
        assert words in shown


def test_a_page_tells_what_it_leaves_out():
    assert "113 more messages are not shown" in unescape(as_html(drawn(busy_wire(), most=1)))


@pytest.mark.slow
def test_pointing_at_a_message_shows_its_request(tmp_path: Path):
    playwright = pytest.importorskip("playwright.sync_api")
    page_file = tmp_path / "run.html"
    page_file.write_text(as_html(drawn(busy_wire())))
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(page_file.as_uri())
        told = page.locator(".told")
        assert not told.is_visible()
        page.locator(".diagram .arrow").nth(1).hover(force=True)
        assert "web-1 → db-1" in told.inner_text() and "arrived 1 ms later" in told.inner_text()
        assert page.locator(".diagram .arrow.same").count() == 4
        browser.close()
