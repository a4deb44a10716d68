"""SQL text cut into statements, and answers drawn for people. Nothing runs here."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cli import sql_shown, sql_text
from emu.cli.sql_text import Splitter, Statement, opened, place_in
from nodes.sql.rules import MAX_STATEMENT_BYTES
from protocols.errors import RpcError


def split(text: str) -> list[str]:
    splitter = Splitter()
    found = [each.text for line in text.split("\n") for each in splitter.feed(line)]
    rest = splitter.rest()
    return [*found, *([rest.text] if rest else [])]


def drawn(columns: list[str], rows: list[list[object]], width: int = 80, **more: bool) -> list[str]:
    lines = sql_shown.table({"columns": columns, "rows": rows}, width, **more)
    return [line.plain for line in lines]


def foot(**answer: object) -> str:
    whole = {"node": "db-1", "role": "primary", "columns": ["x"], "rows": [[1]], **answer}
    return sql_shown.foot(whole, timing=False, lsn=False)


def test_a_statement_ends_at_its_semicolon_and_at_no_other():
    assert split("select 1; select 2") == ["select 1;", "select 2"]
    assert split("select ';', \";\", `;`, [;];\nselect 'it''s;';") == [
        "select ';', \";\", `;`, [;];",
        "select 'it''s;';",
    ]
    assert split("select 1 -- ; not here\n+ 1;") == ["select 1 -- ; not here\n+ 1;"]
    assert split("/* ; */ select /* ;\n; */ 1;") == ["/* ; */ select /* ;\n; */ 1;"]


def test_empty_statements_and_comments_alone_are_none():
    assert split(";;\n -- only this\n/* and\n this */ ;\n") == []


def test_the_body_of_a_trigger_is_one_statement():
    body = "begin update t set a = 1; update t set b = ';'; end;"
    trigger = f"create trigger x after insert on t {body}"
    assert split(f"{trigger} select 1;") == [trigger, "select 1;"]


TRIGGER = "TRIGGER x AFTER INSERT ON t BEGIN SELECT ';' /* ; */; UPDATE t SET a = 1; END;"


@pytest.mark.parametrize(
    "create",
    [
        "CREATE ",
        "/* x */ CREATE /* ; */ ",
        "-- x\nCREATE\n",
        "\ufeffCREATE ",
        "CREATE\tTEMP ",
        "/* x */\ufeff create temporary ",
        "EXPLAIN CREATE ",
        "EXPLAIN QUERY PLAN CREATE ",
    ],
)
def test_a_trigger_is_one_whatever_stands_before_it(create):
    (one, two) = split(f"{create}{TRIGGER} SELECT 1;")
    assert one.endswith("END;")
    assert two == "SELECT 1;"


@pytest.mark.parametrize(
    "inside",
    ["\r\n", "\r", "\f", "\x85", "\u2028", "\u2029", "\v", "\x1c", "\n", ";\n", "''", "\ufeff"],
)
def test_a_literal_keeps_its_line_ends(inside):
    sql = f"INSERT INTO t VALUES ('a{inside}b');"
    splitter = Splitter()
    lines = f"{sql} SELECT 2;".split("\n")
    assert [each.text for line in lines for each in splitter.feed(line)] == [sql, "SELECT 2;"]


def test_the_prompt_knows_what_is_open():
    for text, mark in [("select 'a", "'"), ("/* x", "/*"), ('"', '"'), ("[a", "["), ("x", "")]:
        splitter = Splitter()
        assert list(splitter.feed(text)) == []
        assert splitter.opened == mark
    assert opened("create trigger x begin select '") == "'"


PIECES = [
    "CREATE ",
    "TRIGGER ",
    "TEMP ",
    "EXPLAIN ",
    "END",
    "; ",
    ";",
    "'",
    '"',
    "`",
    "[",
    "]",
    "--",
]
PIECES += ["/*", "*/", "\n", "x ", " ", "BEGIN ", "\ufeff", "\0"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_long_texts_are_cut_as_short_ones_are(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_text, "_SETTLED_CHARACTERS", 0)
        often = split(text)
    assert split(text) == often


def test_a_long_statement_takes_linear_time():
    began_s = time.thread_time()
    assert len(split("INSERT INTO t VALUES\n" + "(1, 'a;b'),\n" * 15_000 + "(1, 'c');")) == 1
    assert len(split("INSERT INTO t VALUES ('" + "x;" * 100_000 + "');")) == 1
    assert time.thread_time() - began_s < 10


def test_statements_know_where_they_began():
    splitter = Splitter()
    lines = ["-- a comment", "", "select 1;", "  ", "select", "2;"]
    assert [each.line for line in lines for each in splitter.feed(line)] == [3, 5]


def test_a_huge_statement_is_counted_and_not_kept():
    splitter = Splitter()
    line = "x" * 1000
    for _ in range(10_000):
        assert not list(splitter.feed(line))
    (statement,) = splitter.feed(";")
    assert statement.characters > 10_000_000
    assert len(statement.text) <= MAX_STATEMENT_BYTES + 1


@given(st.lists(st.text("ab;'\"-/* \n[]`"), max_size=20))
def test_any_text_is_cut_without_losing_what_is_behind(lines: list[str]):
    splitter = Splitter()
    for line in lines:
        list(splitter.feed(line.replace("\n", " ")))
    splitter.clear()
    assert [each.text for each in splitter.feed("select 1;")] == ["select 1;"]


def test_tables_align_numbers_right_and_show_null():
    assert drawn(["id", "name"], [[1, "ab"], [100, None]]) == [
        " id  │ name",
        "─────┼──────",
        "   1 │ ab",
        " 100 │ NULL",
    ]


def test_a_wide_table_is_cut_to_the_terminal_and_one_wide_row_is_a_block():
    rows = [["x" * 100, 1], ["y", 2]]
    assert max(map(len, drawn(["long", "n"], rows, 40))) <= 40
    assert "x…" in drawn(["long", "n"], rows, 40)[2]
    block = drawn(["long", "n"], rows[:1], 40)
    assert block[1] == f" long │ {'x' * 100}"
    assert drawn(["n"], [[1], [2]], blocks=True)[1] == " n │ 1"
    many = [f"column_{n}" for n in range(30)]
    assert drawn(many, [list(range(30))] * 2, 40)[0].startswith("─[ row 1 ]")


def test_what_would_move_the_cursor_is_escaped():
    (_, _, row) = drawn(["x"], [["a\x1b[2Jb\nc\td"]])
    assert row == r" a\x1b[2Jb\nc\td"


def test_the_foot_says_how_many_rows_are_not_shown():
    assert foot() == "(1 row)  db-1, primary"
    assert foot(more=12_345) == "(1 row)  … 12,345 more rows  db-1, primary"
    assert "at least 20,000 more rows" in foot(more=20_000, more_at_least=True)
    assert foot(columns=[], changes=2) == "(2 rows changed)  db-1, primary"
    assert foot(columns=[], changes=0, did="DROP TABLE t") == "DROP TABLE t  db-1, primary"


def test_a_mistake_is_shown_with_a_caret_under_its_place():
    statement = Statement("select *\nfrm t", 1, 14)
    error = RpcError("bad_request", 'near "frm"', 2, 1)
    lines = [line.plain for line in sql_shown.problem(error, statement, 80)]
    assert lines == ['near "frm"', "  frm t", "  ^"]
    long = "select " + "a, " * 100 + "frm"
    shown, caret = place_in(long, 1, len(long) - 1, 40)
    assert len(shown) == 40
    assert shown[caret:].startswith("rm")


def test_who_asks_for_a_table_that_is_not_there_is_told_what_lists_them():
    error = RpcError("bad_request", "no such table: people", 1, 15)
    lines = sql_shown.problem(error, Statement("select * from people", 1, 21), 80)
    assert lines[-1].plain == r"  \d lists the tables"


def test_an_unknown_outcome_is_called_so():
    (line,) = sql_shown.problem(RpcError("timeout", "no answer"), Statement("x", 1, 1), 80)
    assert line.plain == "it is not known whether this took effect: no answer"


def test_tabs_and_newlines_of_a_value_do_not_break_the_lines_of_a_pipe():
    answer = {"columns": ["a", "b"], "rows": [["x\ty\nz\\", None], [b"\x00\xff", 1.5]]}
    assert sql_shown.tabbed(answer) == ["a\tb", "x\\ty\\nz\\\\\tNULL", "x'00ff'\t1.5"]
