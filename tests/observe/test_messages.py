"""Reading a trace's bytes: whatever they are, they become messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.observe.messages import Message, read_messages
from nodes.kinds import KINDS
from nodes.replica.hearing import REPLICATE
from protocols.replication import messages as said
from protocols.replication.log import DATA
from tests.observe.traces import CONNECTION, Wire, answer, http_request, http_response, request

LABELS = {method: tell for kind in KINDS.values() for method, tell in kind.labels.items()}


def told(wire: Wire) -> list[tuple[str, str]]:
    return [(each.kind, each.label) for each in read_messages(wire.events, LABELS)]


def only(wire: Wire) -> Message:
    (message,) = read_messages(wire.events, LABELS)
    return message


def test_a_request_and_its_answer_are_told_by_method_and_trace():
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "get", "ada", trace=9))
    wire.send("db-1", "web-1", answer(1, "Ada"))
    asked, answered = read_messages(wire.events, LABELS)
    assert (asked.label, asked.detail, asked.trace) == ("get ada", '["ada"]', 9)
    assert (answered.label, answered.trace, answered.failed) == ("get: Ada", 9, False)
    assert asked.answered_s == answered.sent_s == 0.002


def test_a_refusal_says_its_code():
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "get", "ada"))
    wire.send("db-1", "web-1", answer(1, error=["not_primary", "ask db-2"]))
    message = read_messages(wire.events, LABELS)[1]
    assert message.label == "get: not_primary" and message.failed


def test_both_sides_may_ask_on_one_connection():
    wire = Wire()
    wire.send("db-1", "db-2", request(1, "ship"))
    wire.send("db-2", "db-1", request(1, "flushed"))
    wire.send("db-1", "db-2", answer(1))
    wire.send("db-2", "db-1", answer(1))
    assert [label for _, label in told(wire)] == ["ship", "flushed", "flushed: ok", "ship: ok"]


def test_frames_may_come_in_pieces_or_several_at_once():
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "get", "ada") + request(2, "get", "alan"), pieces=3)
    assert told(wire) == [("request", "get ada"), ("request", "get alan")]


def test_of_a_large_frame_the_beginning_is_enough():
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "set", "k", "x" * 10_000))
    wire.send("web-1", "db-1", request(2, "get", "k"))
    assert [label for _, label in told(wire)] == ["set", "get k"]


@pytest.mark.parametrize(
    ("sql", "label"),
    [
        ("SELECT p.id, p.text FROM posts p JOIN users", "query SELECT posts"),
        ("insert into posts values (?)", "query INSERT posts"),
        ("UPDATE counter SET number = 1", "query UPDATE counter"),
        ("CREATE TABLE IF NOT EXISTS marks (name)", "query CREATE marks"),
    ],
)
def test_sql_is_told_by_its_table(sql, label):
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "query", sql, [1]))
    assert only(wire).label == label


def test_of_a_transaction_the_changing_statement_is_told():
    wire = Wire()
    statements = [["SELECT name FROM users", []], ["INSERT INTO posts VALUES (1)", []]]
    wire.send("web-1", "db-1", request(1, "write", statements))
    assert only(wire).label == "write INSERT posts"


def test_http_is_told_by_its_first_lines():
    wire = Wire()
    wire.send(
        "users-1", "web-1", http_request("POST", "/api/posts", b"x" * 99, trace=255), pieces=4
    )
    wire.send("web-1", "users-1", http_response(201, b"y" * 20_000))
    wire.send("users-1", "web-1", http_request("GET", "/"))
    wire.send("web-1", "users-1", http_response(404, b"gone"))
    assert told(wire) == [
        ("request", "POST /api/posts"),
        ("response", "201 Created"),
        ("request", "GET /"),
        ("response", "404 Not Found"),
    ]
    messages = read_messages(wire.events, LABELS)
    assert [each.trace for each in messages] == [255, 255, None, None]
    assert [each.failed for each in messages] == [False, False, False, True]


def test_dns_is_told_by_its_question():
    wire = Wire()
    wire.ask_dns("www.example.test")
    assert told(wire) == [
        ("request", "A www.example.test"),
        ("response", "A www.example.test: none"),
    ]


def test_what_never_arrives_is_there_too():
    wire = Wire()
    wire.send("web-1", "db-1", request(1, "get", "ada"), lost=True)
    message = only(wire)
    assert (message.label, message.sent_s, message.arrived_s) == ("get ada", 0.0, None)


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.booleans())
def test_no_bytes_break_the_reader(chunks, begin_well):
    wire = Wire()
    if begin_well:
        wire.send("a", "b", request(1, "get", "ada"))
    for number, chunk in enumerate(chunks):
        wire.send(*(("a", "b"), ("b", "a"))[number % 2], chunk)
    for message in read_messages(wire.events, LABELS):
        assert message.label


def test_replicas_are_told_by_what_they_say():
    wire = Wire()
    entries = [(1, 8, DATA, b"x"), (1, 9, DATA, b"y")]
    append = said.Append("db-1", "db-2", 1, 7, 1, entries, 7, 7, 3, 0, False, 0, (), "db", 9)
    for message in (
        append,
        append._replace(entries=()),
        said.AppendReply("db-2", "db-1", 1, 3, 0, -1, 0, 0, 9, 9, 7, True, 0, False, "db", 9),
        said.AppendReply("db-2", "db-1", 1, 3, 0, 7, 0, 0, 9, 9, 7, True, 0, False, "db", 9),
        said.VoteRequest("db-2", "db-1", 2, False, 1, 9, 0, "db", 9),
        said.VoteReply("db-1", "db-2", 2, False, True, False, "db", 9),
        said.HandOver("db-1", "db-2", 1, "db", 9),
    ):
        data = CONNECTION.send_notify(REPLICATE, [said.to_wire(message)])
        wire.send(message.sender, message.to, data)
    wire.send("db-1", "db-2", CONNECTION.send_notify(REPLICATE, [99]))
    assert [label for _, label in told(wire)] == [
        "append 8..9", "visible 7", "flushed 9", "does not fit 7", "vote? 2", "yes 2", "hand over",
        "replicate",
    ]  # fmt: skip
