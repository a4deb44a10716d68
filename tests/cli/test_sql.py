"""`emu sql` on a running cluster: statements, scripts, what is too much, and the prompt itself."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Verb
from tests.cli.running import EMU, PATIENCE_S, Up, environment

COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c{}) SELECT {} FROM c"
MILLION = COUNT.format(" LIMIT 1000000", "x")
ENDLESS = COUNT.format("", "sum(x)")


def run(ask: Verb, command: str, *options: str) -> str:
    result = ask("sql", "db", "-c", command, *options)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_an_answer_in_a_pipe_is_tab_separated(ask: Verb) -> None:
    assert run(ask, "SELECT 1 AS one, NULL AS none, 'a' AS a; SELECT 2 AS two") == (
        "one\tnone\ta\n1\tNULL\ta\ntwo\n2\n"
    )


def test_a_script_says_how_many_rows_it_changed_and_where(ask: Verb) -> None:
    made = ask("sql", "db", stdin="CREATE TABLE toys (id INTEGER PRIMARY KEY);")
    many = ask("sql", "db", stdin="INSERT INTO toys VALUES (1), (2); INSERT INTO toys VALUES (3);")
    none = ask("sql", "db", "-c", "DELETE FROM toys WHERE id > 9")
    assert (made.stderr, many.stdout, none.stderr) == ("", "", "")
    assert many.stderr == "(3 rows changed)  db-1, primary\n"
    undone = ask("sql", "db", stdin="BEGIN; DELETE FROM toys; ROLLBACK;")
    done = ask("sql", "db", stdin="BEGIN; DELETE FROM toys; COMMIT; nonsense;")
    assert undone.stderr == ""
    assert "(3 rows changed)  db-1, primary" in done.stderr and done.exit_code == 1


def test_json_has_an_object_for_each_statement_with_who_answered(ask: Verb) -> None:
    first, second = map(json.loads, run(ask, "SELECT 1 AS x; SELECT 2", "--json").splitlines())
    assert (first["columns"], first["rows"]) == (["x"], [[1]])
    assert (first["node"], first["role"]) == ("db-1", "primary")
    assert second["lsn"] >= first["lsn"] > 0


def test_a_script_runs_until_its_first_mistake_which_is_told_with_its_place(ask: Verb) -> None:
    script = """
    CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT);  -- a table; with a comment
    INSERT INTO pets VALUES (1, 'a;b'), (2, 'c');
    SELECT p.name, q.name FROM pets p JOIN pets q
      ON p.id < q.id;
    SELECT * FROM
      nowhere;
    SELECT 'never';
    """
    result = ask("sql", "db", stdin=script)
    assert result.exit_code == 1
    assert result.stdout == "name\tname\na;b\tc\n"
    assert "line 6: no such table: nowhere" in result.stderr
    run(ask, "DROP TABLE pets")


def test_a_mistake_is_shown_with_a_caret(ask: Verb) -> None:
    result = ask("sql", "db", "-c", "SELECT id frm posts")
    assert result.exit_code == 1
    *_, text, caret = result.stderr.splitlines()
    assert text[caret.index("^") :].startswith("posts")
    told = json.loads(ask("sql", "db", "-c", "SELECT id frm posts", "--json").stdout)["error"]
    assert (told["code"], told["line"], told["column"]) == ("bad_request", 1, 15)


def test_a_transaction_of_a_script_is_one(ask: Verb) -> None:
    run(ask, "CREATE TABLE sums (id INTEGER PRIMARY KEY)")
    result = ask("sql", "db", stdin="BEGIN; INSERT INTO sums VALUES (1); SELECT * FROM sums;")
    assert result.exit_code == 1
    assert result.stdout == "id\n1\n"
    assert "rolled back" in result.stderr
    assert run(ask, "SELECT count(*) AS n FROM sums") == "n\n0\n"
    run(ask, "BEGIN; INSERT INTO sums VALUES (1); INSERT INTO sums VALUES (2); COMMIT")
    assert run(ask, "SELECT count(*) AS n FROM sums") == "n\n2\n"
    run(ask, "DROP TABLE sums")


def test_tables_and_their_columns_are_listed(ask: Verb) -> None:
    assert "posts\ttable" in run(ask, "\\d").splitlines()
    head, *columns = run(ask, "\\d posts").splitlines()
    assert head.split("\t")[:2] == ["column", "type"]
    assert any(row.startswith("author\tTEXT") for row in columns)
    assert "there is no table `nope`" in ask("sql", "db", "-c", "\\d nope").stderr


def test_the_text_of_a_literal_arrives_as_it_was_given(ask: Verb) -> None:
    run(ask, "CREATE TABLE ends (id INTEGER PRIMARY KEY, v TEXT)")
    inside = ["\r\n", "\r", "\f", "\x85", "\u2028", "\n"]
    for number, end in enumerate(inside):
        run(ask, f"INSERT INTO ends VALUES ({number}, 'a{end}b')")
    script = "".join(
        f"INSERT INTO ends VALUES ({9 + n}, 'a{each}b');\n" for n, each in enumerate(inside)
    )
    assert ask("sql", "db", stdin="\ufeff" + script).exit_code == 0
    _, *shown = run(ask, "SELECT hex(v) FROM ends").splitlines()
    assert shown == [f"a{each}b".encode().hex().upper() for each in inside] * 2
    run(ask, "DROP TABLE ends")


def test_what_is_too_much_gets_a_clear_answer_and_the_node_goes_on(ask: Verb) -> None:
    huge = ask("sql", "db", stdin="SELECT '" + "x" * 10_000_000 + "';\n")
    assert "10000010 characters is over 256 KiB" in huge.stderr
    million = ask("sql", "db", "-c", MILLION)
    assert "add LIMIT" in million.stderr
    endless = ask("sql", "db", "-c", ENDLESS)
    assert "it took more than" in endless.stderr
    assert {each.exit_code for each in (huge, million, endless)} == {1}
    assert run(ask, "SELECT 1 AS x") == "x\n1\n"
    (database,) = json.loads(ask("ps", "db", "--json").stdout)
    assert (database["state"], database["generation"]) == ("up", 1)


def test_what_is_no_database_is_refused(ask: Verb) -> None:
    assert "`web` is no database tier; there is: db" in ask("sql", "web", "-c", "SELECT 1").stderr
    assert "no replica" in ask("sql", "db", "--replica", "-c", "SELECT 1").stderr
    assert "primary already" in ask("promote", "db").stderr
    assert "no database tier" in ask("promote", "lb").stderr


# --- the prompt --------------------------------------------------------------------------------


class Terminal:
    """`emu sql db` on a terminal of 80 columns; what it says is read as it comes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.said = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, text: str) -> str:
        """Read until `text` comes; all that was said since the last wait."""
        give_up_s = time.monotonic() + PATIENCE_S
        while text not in self.said:
            assert time.monotonic() < give_up_s, self.said
            if select.select([self._fd], [], [], 0.1)[0]:
                self.said += os.read(self._fd, 65536).decode("utf-8", "replace")
        said, self.said = self.said, self.said.partition(text)[2]
        return said


@contextmanager
def prompt(state: Path) -> Iterator[Terminal]:
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable,
            [*EMU, "sql", "db"],
            environment(state, TERM="dumb", COLUMNS="80", INPUTRC="/dev/null"),
        )
    try:
        yield Terminal(fd)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(fd)
        os.waitpid(pid, 0)


@pytest.mark.slow
def test_the_prompt_takes_many_lines_transactions_and_ctrl_c(cluster: Up, ask: Verb) -> None:
    with prompt(cluster.state) as terminal:
        terminal.wait_for("db=> ")
        terminal.type("SELECT 40 +\n")
        terminal.wait_for("db-> ")
        terminal.type("2 AS answer, NULL AS none;\n")
        answer = terminal.wait_for("(1 row)  db-1, primary")
        assert " answer │ none" in answer
        assert "     42 │ NULL" in answer
        terminal.type("SELECT x FROM (" + MILLION + ");\n")
        terminal.wait_for("(100 rows)  … at least 20,000 more rows")
        terminal.type("BEGIN;\n")
        terminal.wait_for("db*=> ")
        with prompt(cluster.state) as other:
            other.wait_for("db=> ")
            other.type("CREATE TABLE late (id INTEGER PRIMARY KEY);\n")
            other.wait_for("KEY);")
            time.sleep(0.2)
            other.type("\x03")  # it waits for the transaction of the first
            other.wait_for("cancelled")
            other.type("\\q\n")
        terminal.type("ROLLBACK;\n")
        terminal.wait_for("db=> ")
        terminal.type("half a statement\x03\\q\n")
        terminal.wait_for("^C")
    assert "late" not in run(ask, "\\d")


@pytest.mark.slow
def test_a_prompt_that_is_killed_inside_a_transaction_holds_nobody(cluster: Up, ask: Verb) -> None:
    run(ask, "CREATE TABLE held (id INTEGER PRIMARY KEY)")
    with prompt(cluster.state) as terminal:
        terminal.wait_for("db=> ")
        terminal.type("BEGIN;\nINSERT INTO held VALUES (100);\n")
        terminal.wait_for("(1 row changed)")
    began_s = time.monotonic()
    run(ask, "INSERT INTO held VALUES (1)")
    assert time.monotonic() - began_s < 20, "a prompt's transaction lasts a minute"
    assert run(ask, "SELECT * FROM held") == "id\n1\n"
    run(ask, "DROP TABLE held")


@pytest.mark.slow
def test_the_prompt_keeps_its_history_in_the_state_folder(cluster: Up) -> None:
    with prompt(cluster.state) as terminal:
        terminal.wait_for("db=> ")
        terminal.type("SELECT 1,\n2 AS remembered;\n")
        terminal.wait_for("(1 row)")
        terminal.type("\\q\n")
        history = cluster.state / "sql_history"
        give_up_s = time.monotonic() + PATIENCE_S
        while not history.exists() or "remembered" not in history.read_text():
            assert time.monotonic() < give_up_s
            time.sleep(0.02)
    assert "SELECT 1, 2 AS remembered;" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600
